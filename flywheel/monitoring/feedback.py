"""Feedback: logged requests with the labels that came of them, as a table that the next span trains on.

What stands in it was asked of the model and labelled by the world: never a prediction, and nothing that was redacted,
for that was never logged. It is not a sample of the world: what is asked, and what is labelled, may follow from what
the model said (self-selection, as with loans that were refused). Train on it beside other rows, or weigh it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.errors import ConfigError
from flywheel.monitoring.join import LABEL, join
from flywheel.monitoring.log import Log, quoted
from flywheel.serving.request_log import REQUEST, TIME

if TYPE_CHECKING:
    import pyarrow as pa

REQUESTED = "requested"
"""Column of the table that says when a row was asked."""


@dataclass(frozen=True)
class Feedback:
    """What was written.

    Attributes:
        where: The table, in words.
        rows: Rows by span that has all its labels.
        waiting: Spans whose labels may still come: they are not written yet.
    """

    where: str
    rows: Mapping[str, int]
    waiting: tuple[str, ...]


def feed(
    log: Log,
    labels: Iterator[pa.RecordBatch],
    settings: Mapping[str, Any],
    task: str,
    label: str,
    into: str,
    table: str,
) -> Feedback:
    """Write the requests of spans whose labels are all there, with them, to a table; a span that is there is replaced.

    Args:
        log: The requests.
        labels: Rows with `settings["id"]`, the label and when it arrived.
        settings: `monitor` of flywheel.yaml, `delay` in seconds.
        task: `binary`, `multiclass` or `regression`.
        label: Column of `labels`.
        into: `duckdb:///file.duckdb`, whose table it becomes, or a folder of Parquet files, `parquet:///folder`.
        table: Name of the table.

    Raises:
        ConfigError: A column is missing, or the warehouse cannot be written to.
    """
    join(log, labels, settings, label)
    delay = float(settings["delay"])
    end = log.spans[-1].end
    whole = [span for span in log.spans if (end - span.end).total_seconds() >= delay]
    kept = [name for name in log.inputs if name != label]
    columns = ", ".join(quoted(name) for name in kept)
    spans = ", ".join(f"'{span}'" for span in whole) or "''"
    kind = "VARCHAR" if task == "multiclass" else "DOUBLE" if task == "regression" else "BIGINT"
    select = (
        f"SELECT flywheel_span, {TIME} AS {REQUESTED}, {REQUEST if REQUEST in log.columns else 'NULL'} AS {REQUEST}, "
        f"{columns + ', ' if columns else ''}CAST({LABEL} AS {kind}) AS {quoted(label)} "
        f"FROM labelled WHERE {LABEL} IS NOT NULL AND flywheel_span IN ({spans})"
    )
    rows = dict(log.ask(f"SELECT flywheel_span, count(*) FROM ({select}) GROUP BY ALL"))
    where = (
        _into_duckdb(log, select, into, table)
        if into.startswith("duckdb:///")
        else _into_files(log, select, into, rows)
    )
    waiting = tuple(span.name for span in log.spans if span not in whole)
    return Feedback(where, {span.name: int(rows.get(span.name, 0)) for span in whole}, waiting)


def _into_duckdb(log: Log, select: str, url: str, table: str) -> str:
    """Replace the spans in a table of a DuckDB file, in one transaction."""
    import duckdb

    file = url.removeprefix("duckdb:///")
    try:
        log.connection.execute("ATTACH '" + file.replace("'", "''") + "' AS target")
    except duckdb.Error as error:
        said = str(error).splitlines()[0]
        busy = "set lock on file" in said.lower()
        raise ConfigError(
            f"the warehouse {file!r} cannot be written to: {said}",
            "wait until nobody reads it; steps of a run do." if busy else "give --into a file that can be.",
        ) from None
    try:
        log.run(f"CREATE TEMP TABLE fed AS {select}")
        log.trying(lambda: _replaced(log.connection, table, file))
    finally:
        with log.more_memory():  # it writes what was inserted to its place, and the file stays shut if it cannot
            log.run("DETACH target")
    return f"table {table!r} of {file}"


def _replaced(connection: Any, table: str, file: str) -> None:
    """Replace the spans of the table `fed` in another one."""
    import duckdb

    name = f"target.{quoted(table)}"
    try:
        with _transaction(connection):
            _replace(connection, name)
    except (duckdb.ProgrammingError, duckdb.IntegrityError, duckdb.DataError) as error:
        raise ConfigError(
            f"the table {table!r} of {file!r} cannot take feedback: {str(error).splitlines()[0]}",
            "name another one by --table.",
        ) from None


def _replace(connection: Any, name: str) -> None:
    connection.execute(f"CREATE TABLE IF NOT EXISTS {name} AS SELECT * FROM fed LIMIT 0")
    known = {str(row[0]) for row in connection.execute(f"DESCRIBE {name}").fetchall()}
    for column, kind, *_ in connection.execute("DESCRIBE fed").fetchall():
        if column not in known:  # a version that asks for more came into service
            connection.execute(f"ALTER TABLE {name} ADD COLUMN {quoted(column)} {kind}")
    connection.execute(f"DELETE FROM {name} WHERE flywheel_span IN (SELECT flywheel_span FROM fed)")
    connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM fed")


@contextmanager
def _transaction(connection: Any) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _into_files(log: Log, select: str, into: str, spans: Sequence[str] | Mapping[str, int]) -> str:
    folder = Path(into.removeprefix("parquet:///") if "://" in into else into)
    for span in spans:
        file = folder / f"span={span}" / "part.parquet"
        partial = file.with_name(f".{file.name}.{os.getpid()}")
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            log.run(
                f"COPY (SELECT * EXCLUDE (flywheel_span) FROM ({select}) WHERE flywheel_span = '{span}') "
                f"TO '{partial}' (FORMAT parquet, COMPRESSION zstd)"
            )
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
    return str(folder)
