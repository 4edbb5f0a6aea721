"""`flywheel dashboard`: one page over all flywheels below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.arguments import Profile

if TYPE_CHECKING:
    from flywheel.ledger.overview import Overview


def dashboard(
    folder: Annotated[
        Path, typer.Argument(help="Folder with flywheels in it, at any depth.", show_default="this folder")
    ] = Path(),
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to.")] = Path("dashboard.html"),
    profile: Profile = None,
) -> None:
    """Write one HTML page on every flywheel below FOLDER: a line each, those that need a person on top.

    Health, freshness, what became of the last runs, the champion and its age, how it scores on the newest rows, how
    much the data moved, and what 30 days of runs took, or cost where flywheel.yaml has `hourly_cost`. One file, no
    network. A flywheel whose ledger cannot be read is a line too.
    """
    from flywheel.errors import ConfigError
    from flywheel.reports.dashboard import dashboard_page
    from flywheel.runner.folder import write_atomically

    found = [_looked_at(each, folder, profile) for each in _flywheels(folder)]
    if not found:
        raise ConfigError(f"no flywheel.yaml below {str(folder)!r}", "name a folder that has flywheels in it.")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, dashboard_page(found, datetime.now(UTC), str(folder.resolve())))
    typer.echo(f"{len(found)} flywheels in {out}")


def _flywheels(folder: Path) -> Iterator[Path]:
    """Yield the folders below `folder` that hold a flywheel.yaml; hidden ones are not looked into."""
    from flywheel.config import FILE

    for base, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "node_modules")
        if FILE in files:
            yield Path(base)


def _looked_at(folder: Path, root: Path, profile: str | None) -> Overview:
    from flywheel.errors import FlywheelError
    from flywheel.ledger import Ledger
    from flywheel.ledger.overview import Overview, overview
    from flywheel.ledger.store import sqlite_file
    from flywheel.workspace import Workspace

    shown, now = str(folder.relative_to(root)), datetime.now(UTC)
    name = folder.resolve().name
    try:
        workspace = Workspace.open(folder, profile)
        name = workspace.project.name
        if workspace.ledger.startswith("sqlite:") and not sqlite_file(workspace.ledger).exists():
            return Overview(name, shown, "warn", "it has not run yet")  # looking at it makes no ledger
        return overview(Ledger(workspace.ledger), name, shown, now, workspace.project.hourly_cost)
    except FlywheelError as error:
        return Overview(name, shown, "fail", error.message)
