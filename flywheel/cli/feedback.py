"""`flywheel feedback`: requests with the labels that came of them, as a table to train on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.arguments import Folder, Overrides, Profile

if TYPE_CHECKING:
    import pyarrow as pa


def feedback(
    folder: Folder = Path(),
    until: Annotated[
        str,
        typer.Option("--until", metavar="SPAN", help="Last span to look at.", show_default="the newest with requests"),
    ] = "",
    spans: Annotated[int, typer.Option("--spans", min=1, help="How many spans up to it.")] = 28,
    into: Annotated[
        str,
        typer.Option(
            "--into",
            metavar="URL",
            help="duckdb:///file or a folder for Parquet files.",
            show_default="source.warehouse",
        ),
    ] = "",
    table: Annotated[str, typer.Option("--table", help="Table of the warehouse.")] = "feedback",
    profile: Profile = None,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
) -> None:
    """Write logged requests with the labels that came of them to a table that `source.query` can read.

    A span is written once `monitor.delay` has passed, so with all its labels; doing it again changes nothing. Its
    columns are what was asked, `flywheel_request`, `requested` (when) and the label. Predictions never go in, and what
    `deploy.log` redacts was never logged. Mind that who is asked about, and whose label is seen, may depend on the
    model.
    """
    from flywheel.errors import ConfigError
    from flywheel.monitoring import log as logs
    from flywheel.monitoring.feedback import feed
    from flywheel.spans import Span
    from flywheel.warehouse import Options
    from flywheel.warehouse import open as open_warehouse
    from flywheel.workspace import Workspace

    here = Workspace.open(folder, profile, overrides)
    project, labels, requests = here.project, here.labels_query(), here.logged()
    if not labels:
        raise ConfigError("monitor.labels names no SQL file", "without labels there is nothing to learn from requests.")
    if not requests:
        raise ConfigError("no requests are logged on this machine", "give `deploy: {log: {sample: 1.0}}`.")
    every = project.source.every
    last = Span.parse(until, every) if until else logs.newest_span(Path(requests), every)
    target = into or here.warehouse
    if "://" not in target:
        target = f"parquet:///{Path(target).absolute()}"
    if not target.startswith(("duckdb:///", "parquet:///")):
        raise ConfigError(f"{target!r} cannot be written to", "give --into, a folder or duckdb:///file.")
    source = project.source.for_steps()
    settings = project.monitor.model_dump(mode="json")
    spans_of = last.back(spans)

    def arrived() -> Iterator[pa.RecordBatch]:
        with open_warehouse(here.warehouse, Options.of(source)) as warehouse:  # closed before it is written to
            for span in spans_of:
                yield from warehouse.batches(labels, span)

    with logs.Log.of_folder(Path(requests), spans_of) as log:
        found = feed(log, arrived(), settings, project.task, project.label, target, table)
    written = {span: count for span, count in found.rows.items() if count}
    typer.echo(f"{sum(written.values()):,} rows of {len(written)} spans are in {found.where}")
    if found.waiting:
        typer.echo(f"not yet, for labels may still come: {found.waiting[0]} to {found.waiting[-1]}")
