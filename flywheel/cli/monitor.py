"""`flywheel monitor`: look at what serving sees, and say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli.arguments import Folder, Overrides, Profile

ALERT = 4  # exit code


def monitor(
    folder: Folder = Path(),
    span: Annotated[
        str,
        typer.Option(
            "--span",
            metavar="SPAN",
            help="Span to look at, as 2013-06-01.",
            show_default="the last that is over, or the newest with requests",
        ),
    ] = "",
    profile: Profile = None,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live tree.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One event a line, as JSON.")] = False,
    fail_on_alert: Annotated[bool, typer.Option("--fail-on-alert", help="Exit with 4 when it says alert.")] = False,
) -> None:
    """Hold the requests of a span against training and the days before, and predictions against labels that arrived.

    The verdict is `fine`, `retrain` or `alert`; the report says why, and the ledger keeps it. Requests are those that
    `deploy.log` keeps; labels are what the SQL file of `monitor.labels` gives. It is a pipeline of its own: on a
    cluster `flywheel submit --monitoring` runs it once, and `monitor.schedule` as often as you like.
    """
    from flywheel.cli.interrupts import interruptible
    from flywheel.cli.running import Options
    from flywheel.local import Monitoring
    from flywheel.workspace import Workspace

    options = Options(plain=plain, as_json=as_json)
    looking = Monitoring(Workspace.open(folder, profile, overrides), options.launch)
    with interruptible("the same command begins anew."):
        row = looking.run(span)
    if as_json:
        import json

        typer.echo(json.dumps({"event": "Outcome", **row.to_dict()}))
    else:
        colour = {"fine": "green", "retrain": "yellow", "alert": "red", "failed": "red"}.get(row.outcome or "")
        typer.secho(f"\n{row.span or 'monitor'}: {row.outcome}", fg=colour, bold=True)
        typer.echo(row.unfinished or row.why)
        if row.outcome != "failed":
            typer.echo(f"report: {looking.report(row.span)}")
    if row.failed:
        raise typer.Exit(1)
    if fail_on_alert and row.outcome == "alert":
        raise typer.Exit(ALERT)
