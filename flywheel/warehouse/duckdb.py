"""The embedded warehouse: a DuckDB file, read only, that answers BigQuery's SQL with BigQuery's types."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from flywheel.errors import ConfigError, SQLError
from flywheel.spans import Span
from flywheel.warehouse import Options, sql

if TYPE_CHECKING:
    from types import TracebackType

ROWS = 128 * 1024
_ANY = datetime(2000, 1, 1)
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT")
_CANONICAL = dict.fromkeys(_WHOLE, "BIGINT") | {
    "FLOAT": "DOUBLE", "ENUM": "VARCHAR", "UUID": "VARCHAR", "JSON": "VARCHAR", "BIT": "VARCHAR",
    "TIMESTAMP_S": "TIMESTAMP", "TIMESTAMP_MS": "TIMESTAMP", "TIMESTAMP_NS": "TIMESTAMP",
}  # fmt: skip
"""Types that BigQuery does not have, and those that it gives for the same SQL: its only whole number is INT64."""

_SETTINGS: dict[str, Any] = {
    "threads": 1,  # a query on one thread gives its rows in the same order each time; spans run side by side instead
    "enable_external_access": False,  # a query reads this database and nothing else
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
}


def connect(url: str, options: Options) -> DuckDB:
    """Return the warehouse in the file that `url` names; nothing is billed here, so nothing is refused for it.

    Raises:
        ConfigError: There is no such file, it is no DuckDB file, or someone is writing to it.
    """
    del options
    return DuckDB(Path(url.removeprefix("duckdb://").removeprefix("/")))


class DuckDB:
    """A DuckDB file, opened read only: several processes may read it, none while one writes.

    Args:
        file: The database.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._canonical: dict[str, str] = {}
        if not file.is_file():
            raise ConfigError(
                f"there is no warehouse at {str(file.absolute())!r}",
                "fill it first (the example has load.py for that), or mend `source.warehouse`.",
            )
        try:
            self._connection = duckdb.connect(str(file), read_only=True, config=_SETTINGS)
            self._connection.execute("SET GLOBAL TimeZone = 'UTC'")
        except duckdb.Error as error:
            busy = "lock" in str(error).lower()
            remedy = "wait until its writer has closed it." if busy else "make it anew, or mend `source.warehouse`."
            raise ConfigError(f"the warehouse {str(file)!r} does not open: {_first_line(error)}", remedy) from None

    def __enter__(self) -> DuckDB:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def schema(self, query: str) -> pa.Schema:
        """Return the columns that `query` gives, with BigQuery's types."""
        with self._explained(query):
            reader = _reader(self._relation(query, _ANY, _ANY).limit(0))
        return reader.schema

    def batches(self, query: str, span: Span, state: str = "") -> Iterator[pa.RecordBatch]:
        """Yield the rows of one span; a cursor of its own for each call, so threads may call it side by side."""
        with self._explained(query):
            yield from _reader(self._relation(query, span.start, span.end))

    def state(self, query: str) -> str:
        """Return size and time of change of the file, whatever the query reads of it."""
        status = self._file.stat()
        return f"{status.st_size}-{status.st_mtime_ns}"

    def extent(self, query: str) -> tuple[datetime, datetime] | None:
        """Return the first and last value of what `query` holds against @start, where that is one plain condition."""
        text = sql.extent(sql.translate(query))
        try:
            rows = self._rows(text) if text else []
        except duckdb.Error:
            return None  # a nicety for an error message: not worth another error
        return (rows[0][0], rows[0][1]) if rows and rows[0][0] is not None else None

    def _relation(self, query: str, start: datetime, end: datetime) -> Any:
        """Return what `query` gives for a span, every column cast to a type that BigQuery has."""
        cursor = self._connection.cursor()
        parameters = sql.translate(query).parameters
        values = {name: value for name, value in (("start", start), ("end", end)) if name in parameters}
        if query not in self._canonical:
            self._canonical[query] = _with_casts(cursor, sql.translate(query).duckdb, values)
        return cursor.sql(self._canonical[query], params=values)

    @contextmanager
    def _explained(self, query: str) -> Iterator[None]:
        """Turn DuckDB's errors into ones that speak of the user's query."""
        try:
            yield
        except (duckdb.Error, pa.ArrowException) as error:
            raise self._explain(error, sql.translate(query)) from None

    def _explain(self, error: Exception, query: sql.Query) -> SQLError:
        text = str(error)
        if missing := re.search(r"Table with name \"?(?P<name>[^\s\"]+)\"? does not exist", text):
            return self._no_table(missing["name"], query)
        if missing := re.search(r"(?:Referenced column|does not have a column named) \"(?P<name>[^\"]+)\"", text):
            return self._no_column(missing["name"], query)
        if missing := re.search(r"Function with name \"?(?P<name>\w+)\"? (?:does not exist|is not in)", text):
            name = missing["name"].upper()
            return SQLError(
                f"{query.written(name)}{query.place(name)} cannot be translated: DuckDB has no such function",
                "write it with functions that both have, or compute it in the trainer.",
            )
        return SQLError(f"the query does not run on DuckDB: {_first_line(error)}", "mend it; it is BigQuery's dialect.")

    def _no_table(self, name: str, query: sql.Query) -> SQLError:
        tables = self._names("SELECT table_name FROM information_schema.tables")
        place = query.place(name.split(".")[-1])
        found = f"the warehouse {str(self._file)!r} has no table {name!r}" + (f", read{place}" if place else "")
        return SQLError(found, _suggest(name.split(".")[-1], tables))

    def _no_column(self, name: str, query: sql.Query) -> SQLError:
        tables = sorted({table.name for table in query.tables()})
        known = "SELECT column_name FROM information_schema.columns WHERE list_contains($tables, table_name)"
        found = f"there is no column {name!r}{query.place(name)} in {', '.join(tables) or 'what the query reads'}"
        return SQLError(found, _suggest(name, self._names(known, tables=tables)))

    def _names(self, query: str, **values: object) -> list[str]:
        return sorted({row[0] for row in self._rows(query, **values)})

    def _rows(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        return list(self._connection.cursor().execute(query, values or None).fetchall())


def _reader(relation: Any) -> pa.RecordBatchReader:
    """Return the rows of a relation as they come; the call has another name before DuckDB 1.5."""
    read = relation.to_arrow_reader if hasattr(type(relation), "to_arrow_reader") else relation.fetch_record_batch
    reader: pa.RecordBatchReader = read(ROWS)
    return reader


def _with_casts(cursor: duckdb.DuckDBPyConnection, query: str, values: dict[str, datetime]) -> str:
    """Return `query` with its columns cast where BigQuery does not have their type."""
    plain = cursor.sql(query, params=values)
    names: list[str] = plain.columns
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SQLError(f"the query gives two columns named {twice[0]!r}", "name one of them otherwise, by AS.")
    kinds = [_CANONICAL.get(str(kind).split("(")[0]) for kind in plain.dtypes]
    if not any(kinds):
        return query
    columns = ", ".join(_cast(name, kind) for name, kind in zip(names, kinds, strict=True))
    return f"SELECT {columns} FROM ({query})"


def _suggest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.lower(), [each.lower() for each in known], n=1)
    there = f"it has {', '.join(known)}." if known else "it has none."
    return f"did you mean {near[0]!r}? {there}" if near else there


def _cast(name: str, kind: str | None) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    return f"CAST({quoted} AS {kind}) AS {quoted}" if kind else quoted


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
