"""`flywheel export`: the ledger as a Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli.arguments import Folder, Profile


def export(
    folder: Folder = Path(),
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to.")] = Path("ledger.parquet"),
    profile: Profile = None,
) -> None:
    """Write every row of the ledger to a Parquet file, one row a run, typed columns; a file that is there is replaced.

    Read it with anything: `duckdb -c "FROM 'ledger.parquet'"`, pandas, a spreadsheet's importer.
    """
    from flywheel.ledger import Ledger
    from flywheel.ledger import export as table
    from flywheel.ledger.timeline import champions_after
    from flywheel.workspace import Workspace

    workspace = Workspace.open(folder, profile)
    ledger, project = Ledger(workspace.ledger), workspace.project
    rows = ledger.rows(project.name)
    serves = champions_after(rows, ledger.acts(project.name))
    hourly, every = project.hourly_cost, project.source.every
    count = table.export(rows, out, name=project.name, every=every, serves=serves, hourly=hourly)
    typer.echo(f"{count:,} rows of {project.name} in {out}")
