"""`flywheel status`: what happened in every span, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli.arguments import Folder, Profile


def status(
    folder: Folder = Path(),
    profile: Profile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of a table.")] = False,
) -> None:
    """Show every run of the ledger, oldest first, what was waived and done by hand, and the champion."""
    import json

    from flywheel.cli.table import show
    from flywheel.ledger import Ledger
    from flywheel.workspace import Workspace

    workspace = Workspace.open(folder, profile)
    ledger = Ledger(workspace.ledger)
    rows = ledger.rows(workspace.project.name)
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row.to_dict()))
        return
    if rows:
        show(rows)
    else:
        typer.echo(f"{workspace.project.name} has not run yet: `flywheel run {folder}`")
    for waiver in ledger.waivers(workspace.project.name).values():
        typer.echo(f"waived: {waiver.span} by {waiver.who}, {waiver.at:%Y-%m-%d}: {waiver.reason}")
    for act in ledger.acts(workspace.project.name):
        typer.echo(f"by hand: {act}" if act.finished else f"by hand, and not finished: {act}")
    if not rows:
        return
    champion = ledger.champion(workspace.project.name)
    typer.echo(f"\nchampion: version {champion.version} of span {champion.span}" if champion else "\nno champion yet")
    if frozen := ledger.frozen(workspace.project.name):
        typer.echo(f"no run promotes: {frozen}")
