"""`flywheel schedule`: when flywheels run by themselves on a cluster, as flywheel.yaml declares it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.app import App
from flywheel.cli.arguments import Overrides, Profile

if TYPE_CHECKING:
    from flywheel.kubeflow.declared import Change
    from flywheel.kubeflow.schedules import Schedules

app = App(
    help="""When flywheels run by themselves on a Kubeflow cluster, as `schedule` in flywheel.yaml declares it.

    schedule: {cron: "0 6 * * mon", time_zone: Europe/Berlin, catch_up: latest}

    `diff` shows what `apply` would do; `apply` makes it true, and may be said again, or killed and said again, at any
    time. Only schedules that `apply` has made are looked at.""",
)
Folders = Annotated[
    list[Path],
    typer.Argument(
        metavar="[FOLDER]...", help="Folders of flywheels, or folders that hold some.", show_default="this folder"
    ),
]
Refresh = Annotated[
    bool, typer.Option("--refresh", help="Make anew what is as declared, too: after an upgrade of Kubeflow.")
]
_SIGNS = {"create": ("+", "green"), "replace": ("~", "yellow"), "delete": ("-", "red"), "none": ("=", "bright_black")}
_DONE = {"create": "created", "replace": "replaced", "delete": "deleted", "resume": "resumed", "pause": "paused"}
_TO_DO = {"create": "to create", "replace": "to replace", "delete": "to delete", "resume": "to resume",
          "pause": "to pause"}  # fmt: skip


@app.command()
def diff(
    folders: Folders = [],  # noqa: B006 - typer copies it
    profile: Profile = None,
    overrides: Overrides = [],  # noqa: B006
    refresh: Refresh = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if anything would change.")] = False,
) -> None:
    """Show what `apply` would change on the cluster; nothing is sent."""
    changes = _open(folders, profile, overrides).diff(refresh=refresh)
    for change in changes:
        _show(change, _TO_DO, full=True)
    if check and any(change.kind != "none" for change in changes):
        raise typer.Exit(1)


@app.command()
def apply(
    folders: Folders = [],  # noqa: B006
    profile: Profile = None,
    overrides: Overrides = [],  # noqa: B006
    refresh: Refresh = False,
) -> None:
    """Make the schedules on the cluster what flywheel.yaml declares.

    Code and pipeline are sent, unless they are there. A schedule that has to change is replaced: the new one counts
    from the last time that the old one has seen to. One whose `schedule` is gone from flywheel.yaml is deleted; its
    runs stay.
    """
    _open(folders, profile, overrides).apply(refresh=refresh, tell=lambda change: _show(change, _DONE))


@app.command()
def pause(folders: Folders = [], profile: Profile = None) -> None:  # noqa: B006
    """Let the schedules stand without running; `apply` resumes them, unless `paused: true` is declared."""
    for change in _open(folders, profile).pause():
        _show(change, _DONE | {"none": "is paused already"})


@app.command()
def resume(folders: Folders = [], profile: Profile = None) -> None:  # noqa: B006
    """Let paused schedules go on; what they missed is run as `catch_up` says."""
    for change in _open(folders, profile).resume():
        _show(change, _DONE | {"none": "is not paused"})


@app.command()
def delete(folders: Folders = [], profile: Profile = None) -> None:  # noqa: B006
    """Remove the schedules from the cluster; their runs stay, and `apply` makes them again."""
    for change in _open(folders, profile).delete():
        _show(change, _DONE | {"none": "has no schedule"})


@app.command("list")
def list_(
    folders: Folders = [],  # noqa: B006
    profile: Profile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of a table.")] = False,
) -> None:
    """Show every schedule that `apply` has made in the namespaces of these flywheels."""
    rows = [_row(recurring, link) for recurring, link in _open(folders, profile).standing()]
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
    elif rows:
        _table(rows)
    else:
        typer.echo("no schedules: declare `schedule` in flywheel.yaml, then `flywheel schedule apply`")


def _open(folders: list[Path], profile: str | None, overrides: list[str] | tuple[str, ...] = ()) -> Schedules:
    from flywheel.kubeflow import schedules

    return schedules(*folders, profile=profile, overrides=overrides)


def _show(change: Change, words: dict[str, str], *, full: bool = False) -> None:
    """Print a change, and what it consists of."""
    sign, colour = _SIGNS.get(change.kind, ("~", "yellow"))
    why_none = "".join(change.details) or "as declared"
    typer.secho(f"{sign} {change}: {words.get(change.kind, why_none)}", fg=colour)
    for detail in change.details if change.kind == "replace" or (full and change.kind != "none") else ():
        typer.echo(f"    {detail}")


def _row(recurring: Any, link: str) -> dict[str, Any]:
    """Return what is known of a schedule, as JSON values."""
    from datetime import UTC, datetime

    from flywheel.config import Schedule

    schedule = Schedule.read(recurring.about)
    following = next(schedule.ticks().after(datetime.now(UTC)), None) if recurring.enabled else None
    told = {"name": recurring.name, "profile": recurring.profile, "enabled": recurring.enabled}
    told |= {"schedule": str(schedule), "next": following.isoformat() if following else None, "link": link}
    return told | {"about": dict(recurring.about)}


def _table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console, table = Console(highlight=False, soft_wrap=True), Table(box=None, pad_edge=False, header_style="bold")
    for title in ("flywheel", "profile", "schedule", "next (UTC)", "page"):
        table.add_column(title, no_wrap=True)
    for row in rows:
        state = (row["next"] or "ended")[:16].replace("T", " ") if row["enabled"] else "paused"
        table.add_row(row["name"], row["profile"], row["schedule"], state, row["link"])
    console.width = max(console.width, console.measure(table, options=console.options.update(width=500)).maximum)
    console.print(table)
