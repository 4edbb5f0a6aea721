"""`flywheel batch`: score a table with the champion."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.arguments import Folder, Overrides, Profile

if TYPE_CHECKING:
    from flywheel.config import Batch
    from flywheel.workspace import Workspace


def batch(
    folder: Folder = Path(),
    spans: Annotated[
        list[str],
        typer.Option(
            "--span",
            metavar="SPAN",
            help="Span to score, as 2013-06-01; again for more, in that order.",
            show_default="the last whose data has arrived",
        ),
    ] = [],  # noqa: B006 - typer copies it
    into: Annotated[
        str,
        typer.Option(
            "--into",
            metavar="URL",
            help="duckdb:///file, bigquery://project/dataset, or a folder for Parquet files.",
            show_default="deploy.into",
        ),
    ] = "",
    table: Annotated[
        str, typer.Option("--table", help="Table in it, or folder.", show_default="deploy.table, or predictions")
    ] = "",
    query: Annotated[
        str,
        typer.Option(
            "--query",
            metavar="FILE",
            help="SQL file that gives the rows to score.",
            show_default="deploy.query, or source.query",
        ),
    ] = "",
    columns: Annotated[
        list[str],
        typer.Option(
            "--column",
            metavar="NAME",
            help="Column kept beside the predictions; again for more.",
            show_default="deploy.columns, or all",
        ),
    ] = [],  # noqa: B006
    again: Annotated[
        bool, typer.Option("--again", help="Score a span again that this version has scored: rows came late.")
    ] = False,
    profile: Profile = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Score the rows of a query with the champion and write them to a table, by Beam.

    The rows of a span take the place of those that the table has of it, all at once: doing it twice changes nothing. A
    row that cannot be scored goes to <table>_dead_letters with the reason; too many of them, and the table stays as it
    was. Everything can stand in flywheel.yaml as `deploy: {target: batch, …}`: then each promoted version scores its
    span by itself, and this command scores the spans after it, from a scheduler of yours say. Exit code 3: the span has
    no rows yet.
    """
    from datetime import UTC, datetime

    from flywheel.cli.interrupts import interruptible
    from flywheel.cli.quietly import import_quietly
    from flywheel.workspace import Workspace

    here = Workspace.open(folder, profile, overrides)
    settings = _settings(here, into, table, query, columns)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # the model may bring TensorFlow
    import_quietly("flywheel.serving.targets.batch", "Beam")
    from flywheel.steps.batch import batch as score
    from flywheel.steps.ready import Data

    if not spans:
        with Data(here.warehouse, settings.query, here.project.source.for_steps()) as data:
            spans = [data.newest(datetime.now(UTC)).name]
    for span in spans:
        report = here.state / "reports" / span / "batch.html"
        with interruptible(f"{span} is as it was; run the same command again."):
            placed = score(here.project.name, span, settings.text(), here.ledger, report, again=again)
        rows = int(placed.facts["rows scored"])
        how = "scored" if placed.changed else "were scored already (--again scores them once more)"
        typer.echo(f"{span}: {rows:,} rows {how}, in {placed.endpoint}")


def _settings(here: Workspace, into: str, table: str, query: str, columns: list[str]) -> Batch:
    """Return the target that flywheel.yaml declares, or one of this command's options alone."""
    from pydantic import ValidationError

    from flywheel.config import Batch
    from flywheel.errors import ConfigError

    declared = here.project.deploy
    given = declared.model_dump() if isinstance(declared, Batch) else {"target": "batch"}
    asked = {"into": into, "table": table, "columns": tuple(columns)}
    given |= {key: value for key, value in asked.items() if value}
    if "into" not in given:
        raise ConfigError(
            "nothing says where predictions go", "give --into, or `deploy: {target: batch, into: …}` in flywheel.yaml."
        )
    try:
        settings = Batch.model_validate(given)
    except ValidationError as error:
        said = "; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())
        raise ConfigError(f"--into or --table is wrong: {said}", "see `flywheel batch --help`.") from None
    text = here.sql(query) if query else settings.query or here.query()
    return settings.of(here.project.source, text).within(here.folder)
