"""`flywheel init`: a first flywheel.yaml and query for a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

if TYPE_CHECKING:
    from flywheel.warehouse.duckdb import DuckDB


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to write to; it need not be there.")],
    data: Annotated[
        str, typer.Option("--data", metavar="FILE", help="Parquet, CSV or DuckDB file, a folder of them, or its URL.")
    ],
    labels: Annotated[
        list[str],
        typer.Option("--label", metavar="COLUMN", help="Column to predict; several of 0 and 1, if it is repeated."),
    ] = [],  # noqa: B006 - typer copies it
    table: Annotated[str, typer.Option("--table", help="Which table.", show_default="the only one")] = "",
    time: Annotated[
        str, typer.Option("--time", metavar="COLUMN", help="When a row is from.", show_default="the only one of dates")
    ] = "",
    every: Annotated[str, typer.Option("--every", help="How long a span is: hour, day, week or month.")] = "day",
    name: Annotated[str, typer.Option("--name", help="Of the flywheel.", show_default="that of FOLDER")] = "",
) -> None:
    """Write flywheel.yaml and a query for a table, from what its columns look like; both are yours to change.

    Numbers and words become features, what is another value in each row is left out, and the first bar that a model has
    to clear is to be better than the same answer for every row. Nothing that is there is overwritten.
    """
    import re

    from flywheel import config, warehouse
    from flywheel.errors import ConfigError
    from flywheel.local import Flywheel
    from flywheel.spans import Every
    from flywheel.starter import draft, url_of
    from flywheel.workspace import Workspace

    if every not in get_args(Every):
        raise ConfigError(f"--every is {every!r}", f"use one of {', '.join(get_args(Every))}.")
    url = url_of(data, folder)
    if url.startswith("bigquery:"):
        raise ConfigError(
            f"init does not look into {url!r}, where each look is paid for",
            "begin with a sample in a Parquet file, then set source.warehouse to the URL.",
        )
    named = name or re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    with warehouse.open(config.absolute(url, folder.absolute())) as opened:
        made = draft(cast("DuckDB", opened), url, named, labels, table, time, cast(Every, every))
    there = [file for file in made.files if (folder / file).exists()]
    if there:
        raise ConfigError(f"{folder} has {' and '.join(there)} already", "give another folder, or remove them first.")
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in made.files.items():
        (folder / file).write_text(text)
    Flywheel(Workspace.open(folder)).check([made.newest.name])
    for line in made.said:
        typer.echo(line)
    typer.echo(f"wrote {', '.join(str(folder / file) for file in made.files)}")
    typer.echo("read them, take out what is known only after the label, and try it:")
    typer.echo(f"  flywheel run {folder} --span {made.newest}")
