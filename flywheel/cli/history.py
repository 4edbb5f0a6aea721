"""`flywheel history`: the versions of a model, and when each was in service."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.arguments import Profile

if TYPE_CHECKING:
    from flywheel.ledger.lineage import Version


def history(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="Registered model.", show_default="that of the folder")
    ] = "",
    folder: Annotated[Path, typer.Option("--in", help="Folder that holds flywheel.yaml.")] = Path(),
    profile: Profile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of a table.")] = False,
) -> None:
    """Show each version of MODEL, oldest first: its span, how it scored, when and by whose hand it was champion."""
    import json

    from rich.table import Table

    from flywheel.cli.table import show_whole
    from flywheel.ledger import Ledger
    from flywheel.ledger.lineage import versions
    from flywheel.workspace import Workspace

    workspace = Workspace.open(folder, profile)
    found = versions(Ledger(workspace.ledger), model or workspace.project.name)
    if as_json:
        for version in found:
            typer.echo(json.dumps(version.to_dict()))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    metric = next((version.metric for version in reversed(found) if version.metric), "figure")
    for title in ("version", "span", "registered", metric, "champion", "for", "by", "now"):
        table.add_column(title, justify="right" if title in ("version", metric, "for") else "left", no_wrap=True)
    for version in found:
        figure = "" if version.figure is None else f"{version.figure:.4f}"
        head = [f"v{version.version}", version.span, f"{version.registered:%Y-%m-%d %H:%M}", figure]
        now = ", ".join(version.aliases) or ("rolled back" if version.rolled_back else "")
        for number, line in enumerate(_reigns(version)):
            table.add_row(*(head if number == 0 else [""] * len(head)), *line, now if number == 0 else "")
    console = show_whole(table)
    for version in found:
        if version.rolled_back:
            console.print(f"v{version.version} was rolled back: {version.rolled_back}", markup=False, style="dim")


def _reigns(version: Version) -> list[tuple[str, str, str]]:
    from flywheel.ledger.overview import long

    lines = []
    for since, until, by in version.reigns:
        end = f"{until:%Y-%m-%d %H:%M}" if until else "today"
        lines.append((f"{since:%Y-%m-%d %H:%M} to {end}", long((until or datetime.now(UTC)) - since), by))
    return lines or [("never", "", "")]
