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
    """Show every run of the ledger, oldest first, what was waived and done by hand, and the champion.

    Of each run: rows (all that the data gate looked at, spans that it passed over among them), what the data gate said,
    whether a model was trained, what its gate said, its figure and that of champion and baseline on the same rows, the
    outcome, which version was in service afterwards, seconds, and what it cost when `hourly_cost` in flywheel.yaml says
    what an hour does.
    """
    import json

    from flywheel.cli.table import show
    from flywheel.ledger import Ledger
    from flywheel.ledger.timeline import champions_after
    from flywheel.workspace import Workspace

    workspace = Workspace.open(folder, profile)
    ledger = Ledger(workspace.ledger)
    rows = ledger.rows(workspace.project.name)
    acts, hourly = ledger.acts(workspace.project.name), workspace.project.hourly_cost
    serves = champions_after(rows, acts)
    if as_json:
        for row in rows:
            more = {"trained": row.trained, "champion_after": serves.get(row.run) or None}
            spent = None if hourly is None or row.seconds is None else row.seconds / 3600 * hourly
            typer.echo(json.dumps(row.to_dict() | more | {"cost": spent}))
        return
    if rows:
        show(rows, serves, hourly)
    else:
        typer.echo(f"{workspace.project.name} has not run yet: `flywheel run {folder}`")
    for waiver in ledger.waivers(workspace.project.name).values():
        typer.echo(f"waived: {waiver.span} by {waiver.who}, {waiver.at:%Y-%m-%d}: {waiver.reason}")
    for act in acts:
        typer.echo(f"by hand: {act}" if act.finished else f"by hand, and not finished: {act}")
    if not rows:
        return
    champion = ledger.champion(workspace.project.name)
    typer.echo(f"\nchampion: version {champion.version} of span {champion.span}" if champion else "\nno champion yet")
    if challenger := ledger.challenger(workspace.project.name):
        typer.echo(f"challenger: {challenger}")
    if frozen := ledger.frozen(workspace.project.name):
        typer.echo(f"no run promotes: {frozen}")
