"""`flywheel trigger`: a run on a Kubeflow cluster, when new data has arrived."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from flywheel.cli.arguments import Overrides, Profile

_NOTHING = 3


def trigger(
    folder: Annotated[
        str,
        typer.Argument(
            help="Folder that holds flywheel.yaml, or the address of its archive.", show_default="this folder"
        ),
    ] = ".",
    profile: Profile = None,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
    detailed: Annotated[
        bool, typer.Option("--detailed-exit-code", help="Exit with 3 instead of 0 where no run was started.")
    ] = False,
) -> None:
    """Look whether a new span's data has arrived, and start its run on the cluster: at most one a span.

    For a CronJob (that of `flywheel compile --kubernetes`), or anything that is told of new data. The newest span is
    that of `source.watermark`, `source.grace` and the clock. To say it again, or twice at once, starts nothing more. A
    run that failed is not started again: `flywheel submit --span` does. Whether the model is trained at all is decided
    in the run, by `plan`.

    Exit code 0 if a run was started or there was nothing to do, 1 or 2 if that could not be found out.
    """
    from flywheel.trigger import trigger as look

    found = look(folder, profile=profile, overrides=overrides)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        typer.echo(f"{found.name} {found.span}: " + ("started" if found.started else f"nothing to start, {found.why}"))
        if found.link:
            typer.echo(found.link)
    if detailed and not found.started:
        raise typer.Exit(_NOTHING)
