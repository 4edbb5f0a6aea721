"""`flywheel trigger`: a run on a Kubeflow cluster, when new data has arrived or monitoring asks for one."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flywheel.cli.arguments import Overrides, Profile

if TYPE_CHECKING:
    from flywheel.trigger import Look

_NOTHING = 3
When = Literal["data", "retrain"]


def trigger(
    folder: Annotated[
        str,
        typer.Argument(
            help="Folder that holds flywheel.yaml, or the address of its archive.", show_default="this folder"
        ),
    ] = ".",
    profile: Profile = None,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    when: Annotated[
        When | None,
        typer.Option(
            help="data: for each new span. retrain: only when `flywheel monitor` asks for a training.",
            show_default="as `trigger` says, else data",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
    listen: Annotated[
        str | None,
        typer.Option("--listen", metavar="[HOST:]PORT", help="Look at each POST, as of Pub/Sub, until stopped."),
    ] = None,
    audience: Annotated[
        str | None,
        typer.Option(help="With --listen: the audience of the push subscription, for which its tokens have to be."),
    ] = None,
    pushers: Annotated[
        list[str],
        typer.Option("--pusher", metavar="EMAIL", help="With --listen: a service account that may post; repeatable."),
    ] = [],  # noqa: B006 - typer copies it
    unverified: Annotated[
        bool,
        typer.Option("--unverified", help="With --listen: ask for no token, since a mesh or gateway before it does."),
    ] = False,
    detailed: Annotated[
        bool, typer.Option("--detailed-exit-code", help="Exit with 3 instead of 0 where no run was started.")
    ] = False,
) -> None:
    """Look whether a run is due, for new data or since monitoring asks, and start it: at most one a span.

    For a CronJob (that of `flywheel compile --kubernetes`), or anything that is told of new data. The newest span is
    that of `source.watermark`, `source.grace` and the clock. To say it again, or twice at once, starts nothing more. A
    run that failed is not started again: `flywheel submit --span` does. With --when retrain a run is started only when
    the newest look of `flywheel monitor` at the model in service asks for a training, as after drift or decay, and none
    has answered it. Whether the model is trained is decided in the run, by `retrain` in flywheel.yaml.

    With --listen, a POST has to bear a token that Google signed for the account of the push subscription (--audience,
    --pusher); others are answered 401 or 403, and told.

    Exit code 0 if a run was started or there was nothing to do, 1 or 2 if that could not be found out.
    """
    from flywheel.trigger import trigger as look

    if listen is not None:
        admit = _admission(audience, pushers, unverified)
        _listen(listen, lambda: look(folder, profile=profile, overrides=overrides, when=when), admit)
        return
    found = look(folder, profile=profile, overrides=overrides, when=when)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        typer.echo(f"{found.name} {found.span}: " + ("started" if found.started else f"nothing to start, {found.why}"))
        if found.link:
            typer.echo(found.link)
    if detailed and not found.started:
        raise typer.Exit(_NOTHING)


def _admission(audience: str | None, pushers: list[str], unverified: bool) -> Callable[[str], None] | None:
    """Return what decides who may post; None for everybody."""
    from flywheel.errors import ConfigError
    from flywheel.pushers import Pushers

    if unverified:
        if audience or pushers:
            raise ConfigError("--unverified asks for no token, --audience and --pusher say which", "give one or other.")
        return None
    if not audience or not pushers:
        raise ConfigError(
            "--listen does not know whose POST to look at",
            "give --audience and --pusher, as the push subscription has them; or --unverified, where a mesh or gateway "
            "lets nobody else through.",
        )
    return Pushers(audience, pushers)


def _listen(where: str, look: Callable[[], Look], admit: Callable[[str], None] | None) -> None:
    """Answer until a signal ends it; a look that goes on is seen through."""
    from flywheel.errors import ConfigError
    from flywheel.listen import server

    host, _, port = where.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--listen is {where!r}", "write a port, as 8080, or an address too, as 0.0.0.0:8080.")
    try:
        listening = server(look, host or "127.0.0.1", int(port), typer.echo, admit)
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
