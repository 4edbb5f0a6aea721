"""`flywheel submit`: a run on a Kubeflow cluster."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.arguments import Folder, Overrides, Profile

if TYPE_CHECKING:
    from flywheel.kubeflow.submit import Submission

_NOT_READY = 3


def submit(
    folder: Folder = Path(),
    span: Annotated[
        str, typer.Option("--span", metavar="SPAN", help="Span to run for, as 2013-06-01.", show_default="the newest")
    ] = "",
    profile: Profile = None,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Start a run for a span whose run has succeeded.")] = False,
    monitoring: Annotated[
        bool, typer.Option("--monitoring", help="Look at the model in service, as `flywheel monitor` does here.")
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live tree.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One event a line, as JSON.")] = False,
) -> None:
    """Start a run on a Kubeflow cluster, the same that `flywheel run` makes here.

    Puts the code under kubeflow.pipeline_root, uploads the pipeline unless that version is there, and starts a run in
    the experiment. A span whose run goes on or has succeeded is not run again, so that it is safe to say twice.

    The cluster is that of `kubeflow` in flywheel.yaml, best in a profile:

        profiles: {prod: {kubeflow: {endpoint: https://…, namespace: team-a, pipeline_root: gs://bucket/flywheel}}}

    A token is read from FLYWHEEL_KFP_TOKEN, cookies of Dex from FLYWHEEL_KFP_COOKIES. With --wait the exit code is
    that of `flywheel run`: 0 an outcome was reached, 1 the run failed, 3 the data has not arrived; Ctrl-C, 130, leaves
    the run going, and the same command follows it again.
    """
    from flywheel.cli.interrupts import interruptible
    from flywheel.kubeflow import submit as start
    from flywheel.runner import events as ev
    from flywheel.runner.progress import choose

    draw = choose(plain=plain, as_json=as_json)

    def show(event: ev.Event) -> None:
        if isinstance(event, ev.RunStarted) and not as_json:
            typer.echo(event.folder, err=True)  # its page, where one can look while it runs
        draw(event)

    with interruptible("a run that was started goes on; the same command follows it."):
        run = start(
            folder,
            span,
            profile=profile,
            overrides=overrides,
            again=again,
            wait=wait,
            monitoring=monitoring,
            events=show,
        )
    if as_json:
        typer.echo(json.dumps({"event": "Submission", **asdict(run)}))
    else:
        for line in _told(run, wait):
            typer.echo(line)
    if run.over and (code := {"failed": 1, "not-ready": _NOT_READY}.get(run.outcome, 0)):
        raise typer.Exit(code)


def _told(run: Submission, wait: bool) -> list[str]:
    """Return what became of it, in words."""
    if run.started:
        first = f"started {run.name}"
    else:
        first = f"{run.name} {'has run' if run.over else 'is running'} already"
    lines = [first if run.started or wait or not run.over else f"{first}; --again starts another run", run.link]
    if not run.over:
        return [*lines, "follow it with --wait"]
    if run.outcome:
        version = f" v{run.version}" if run.version else ""
        return [*lines, f"{run.span or run.name}: {run.outcome}{version}" + (f" ({run.why})" if run.why else "")]
    return [*lines, f"{run.state.lower()}; the ledger says what became of it, and cannot tell from here"]
