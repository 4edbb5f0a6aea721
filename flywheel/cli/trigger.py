"""`flywheel trigger`: a run on a Kubeflow cluster, when new data has arrived."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.arguments import Overrides, Profile

if TYPE_CHECKING:
    from flywheel.trigger import Look

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
    listen: Annotated[
        str | None,
        typer.Option("--listen", metavar="[HOST:]PORT", help="Look at each POST, as of Pub/Sub, until stopped."),
    ] = None,
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

    if listen is not None:
        _listen(listen, lambda: look(folder, profile=profile, overrides=overrides))
        return
    found = look(folder, profile=profile, overrides=overrides)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        typer.echo(f"{found.name} {found.span}: " + ("started" if found.started else f"nothing to start, {found.why}"))
        if found.link:
            typer.echo(found.link)
    if detailed and not found.started:
        raise typer.Exit(_NOTHING)


def _listen(where: str, look: Callable[[], Look]) -> None:
    """Answer until a signal ends it; a look that goes on is seen through."""
    from flywheel.errors import ConfigError
    from flywheel.listen import server

    host, _, port = where.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--listen is {where!r}", "write a port, as 8080, or an address too, as 0.0.0.0:8080.")
    try:
        listening = server(look, host or "127.0.0.1", int(port), typer.echo)
    except OSError as error:
        raise ConfigError(f"cannot listen at {where}: {error.strerror or error}", "give another port.") from None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    typer.echo("listening at http://{}:{}".format(*listening.server_address[:2]))
    try:
        listening.serve_forever()
    except KeyboardInterrupt:
        typer.echo("stopped")
    finally:
        listening.server_close()
