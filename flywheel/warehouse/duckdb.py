"""The embedded warehouse: DuckDB over its own file, Parquet or CSV; read only, BigQuery's SQL, BigQuery's types."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
from duckdb.sqltypes import BIGINT, BLOB, VARCHAR
from sqlglot import exp

from flywheel.errors import ConfigError, SQLError
from flywheel.spans import Span
from flywheel.warehouse import Options, ReadAgain, explain, fingerprint, sql, types
from flywheel.warehouse.files import Folder
from flywheel.warehouse.spill import Spill

if TYPE_CHECKING:
    from types import TracebackType

PRELOAD = ("sqlglot.dialects.bigquery", "sqlglot.dialects.duckdb", "sqlglot.optimizer.normalize_identifiers")
ROWS = 128 * 1024
_ANY = datetime(2000, 1, 1)
_ERRORS = (duckdb.Error, pa.ArrowException, OSError)  # Arrow has an OSError for what breaks while rows are read

# DuckDB keeps what it has read of its own file up to its limit, so that memory would grow with the file. What a query
# needs beyond it is spilled to disk, and where that does not do the limit is lifted.
_FILE_MEMORY, _FOLDER_MEMORY = "64MB", "256MB"
_SETTINGS: dict[str, Any] = {
    "threads": 1,  # a query on one thread gives its rows in the same order each time; spans run side by side instead
    "enable_external_file_cache": False,  # each file is read once
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
}


def connect(url: str, options: Options) -> DuckDB:
    """Return the warehouse in the file or files that `url` names; nothing is billed here, so nothing is refused for it.

    Raises:
        ConfigError: There is no such file.
    """
    del options
    kind, _, rest = url.partition("://")
    path = rest.removeprefix("/")
    if kind != "duckdb":
        folder = Folder.find(kind, path)
        return DuckDB(path, lambda query: folder.state(_tables(query)), folder)
    file = Path(path)
    if not file.is_file():
        raise ConfigError(
            f"there is no warehouse at {str(file.absolute())!r}",
            "fill it first (the example has load.py for that), or mend `source.warehouse`.",
        )
    return DuckDB(path, lambda _: _state(file))


class DuckDB:
    """DuckDB, opened read only: several processes may read its file, none while one writes.

    It is opened by the first question about rows, which takes longer than to say what they are like; a question raises
    a ConfigError when the file is no DuckDB, Parquet or CSV file, or someone is writing to it.

    Args:
        path: The database, or the pattern of `folder`.
        state: Says what the rows of a query are like.
        folder: Files to read as tables, in place of a database.
    """

    def __init__(self, path: str, state: Callable[[str], str], folder: Folder | None = None) -> None:
        self._path, self._state, self._folder = path, state, folder
        self._canonical: dict[str, tuple[str, pa.Schema]] = {}
        self._lock, self._roomy = threading.RLock(), False
        self._opened: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> DuckDB:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened:
            self._opened.close()
            self._spill.close()

    def schema(self, query: str) -> pa.Schema:
        """Return the columns that `query` gives, with BigQuery's types."""
        with self._explained(query):
            return self._prepared(query)[1]

    def batches(self, query: str, span: Span, state: str = "") -> Iterator[pa.RecordBatch]:
        """Yield the rows of one span; a cursor of its own for each call, so threads may call it side by side."""
        with self._explained(query):
            _, schema = self._prepared(query)
            roomy, started = self._roomy, False
            try:
                for batch in self._read(query, span):
                    started = True
                    yield types.cast(batch, schema)
            except _ERRORS as error:
                if roomy or not explain.out_of_memory(error):
                    raise
                self._take_more_memory()
                if started:  # with more memory a join may give its rows in another order: not to be mixed
                    raise ReadAgain("the query needs more memory than it had", "read the span again.") from None
                yield from (types.cast(batch, schema) for batch in self._read(query, span))

    def count(self, query: str, span: Span) -> int:
        """Return how many rows a span has."""
        with self._explained(query):
            text = f"SELECT COUNT(*) FROM ({self._translated(query).duckdb})"
            rows = self._connection.cursor().execute(text, self._values(query, span.start, span.end) or None)
            return int(rows.fetchall()[0][0])

    def watermark(self, query: str) -> datetime | None:
        """Return the one time that `query` gives: UTC, without zone; None when it is null."""
        with self._explained(query, bound=False):
            text = self._translated(query, bound=False).duckdb
            rows = self._connection.cursor().execute(text).fetchmany(2)
        return explain.one_time(rows)

    def state(self, query: str) -> str:
        """Return what changes with the rows of `query`: size and time of the database's last change.

        Of Parquet and CSV it is that of all files of the tables that the query reads.
        """
        return self._state(query)

    def extent(self, query: str) -> tuple[datetime, datetime] | None:
        """Return the first and last value of what `query` holds against @start, where that is one plain condition."""
        text = sql.extent(self._translated(query), datasets=self._folder is None)
        try:
            rows = self._rows(text) if text else []
        except duckdb.Error:
            return None  # a nicety for an error message: not worth another error
        first, last = rows[0] if rows else (None, None)
        # A query may compare numbers or texts that it made of times: those are nothing to tell a time from.
        if not (isinstance(first, date) and isinstance(last, date)):
            return None
        return explain.in_utc(first), explain.in_utc(last)

    def tables(self) -> list[str]:
        """Return the names of all tables."""
        return self._names(None)

    @property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._opened is None:
                try:
                    self._opened = self._connect()
                except duckdb.Error as error:
                    self._spill.close()
                    busy = "set lock on file" in str(error).lower()
                    wait, mend = "wait until its writer has closed it.", "make it anew, or mend `source.warehouse`."
                    said = f"the warehouse {self._path!r} does not open: {explain.first_line(error)}"
                    raise ConfigError(said, wait if busy else mend) from None
            return self._opened

    def _connect(self) -> duckdb.DuckDBPyConnection:
        """Return a connection through which a query reads the warehouse and nothing else."""
        self._spill = Spill()
        config = _SETTINGS | {"temp_directory": self._spill.path}
        if self._folder is None:
            connection = duckdb.connect(self._path, read_only=True, config=config | {"memory_limit": _FILE_MEMORY})
        else:
            connection = duckdb.connect(config=config | {"memory_limit": _FOLDER_MEMORY})
            self._folder.create(connection)
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        connection.create_function("farm_fingerprint", fingerprint.of_text, [VARCHAR], BIGINT)
        connection.create_function("farm_fingerprint_of_bytes", fingerprint.of_bytes, [BLOB], BIGINT)
        connection.execute("SET GLOBAL enable_external_access = false")
        return connection

    def _take_more_memory(self) -> None:
        """Lift the limit to DuckDB's own, most of what the machine or container has."""
        with self._lock:
            if not self._roomy:
                self._connection.execute("RESET GLOBAL memory_limit")
                self._roomy = True

    def _translated(self, query: str, *, bound: bool = True) -> sql.Query:
        return sql.translate(query, bound=bound, datasets=self._folder is None)

    def _values(self, query: str, start: datetime, end: datetime) -> dict[str, datetime]:
        taken = self._translated(query).parameters
        return {name: value for name, value in (("start", start), ("end", end)) if name in taken}

    def _prepared(self, query: str) -> tuple[str, pa.Schema]:
        """Return `query` for DuckDB, every column cast to a type that BigQuery has, and those types."""
        if query not in self._canonical:
            translated = self._translated(query)
            values = self._values(query, _ANY, _ANY)
            plain = self._connection.cursor().sql(translated.duckdb, params=values)
            if name := types.twice(plain.columns):
                raise SQLError(f"the query gives two columns named {name!r}", "name one of them otherwise, by AS.")
            products = translated.tree.find(exp.Mul) is not None
            kinds = [
                types.canonical(*each, products=products) for each in zip(plain.columns, plain.dtypes, strict=True)
            ]
            names = [types.quoted(name) for name in plain.columns]
            columns = [types.casted(name, kind) for name, kind in zip(names, kinds, strict=True)]
            schema = pa.schema([(name, type) for name, (_, type) in zip(plain.columns, kinds, strict=True)])
            self._canonical[query] = f"SELECT {', '.join(columns)} FROM ({translated.duckdb})", schema
        return self._canonical[query]

    def _read(self, query: str, span: Span) -> pa.RecordBatchReader:
        """Return the rows of a span as they come; the call has another name before DuckDB 1.5."""
        text, _ = self._prepared(query)
        relation = self._connection.cursor().sql(text, params=self._values(query, span.start, span.end))
        read = relation.to_arrow_reader if hasattr(type(relation), "to_arrow_reader") else relation.fetch_record_batch
        reader: pa.RecordBatchReader = read(ROWS)
        return reader

    @contextmanager
    def _explained(self, query: str, *, bound: bool = True) -> Iterator[None]:
        """Turn DuckDB's errors into ones that speak of the user's query."""
        try:
            yield
        except _ERRORS as error:
            raise explain.explain(error, self._translated(query, bound=bound), self._path, self._names) from None

    def _names(self, tables: list[str] | None) -> list[str]:
        """Return the names of all tables, or of the columns that `tables` have."""
        if tables is None:
            rows = self._rows("SELECT table_name FROM information_schema.tables")
        else:
            known = "SELECT column_name FROM information_schema.columns WHERE list_contains($tables, lower(table_name))"
            rows = self._rows(known, tables=[table.lower() for table in tables])
        return sorted({row[0] for row in rows})

    def _rows(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        return list(self._connection.cursor().execute(query, values or None).fetchall())


def _tables(query: str) -> set[str]:
    return {table.name.lower() for table in sql.translate(query, datasets=False).tables()}


def _state(file: Path) -> str:
    status = file.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"
