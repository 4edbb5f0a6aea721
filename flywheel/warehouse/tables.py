"""Tables that Flywheel writes: the rows of a span are put in the place of those that the span had, whole or not at all.

Each row says of which span it is, `flywheel_span`, the span's first instant, and which model's version it is of,
`flywheel_version`: so the table itself says what is done.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flywheel.errors import ConfigError
from flywheel.spans import Span

if TYPE_CHECKING:
    import duckdb

SPAN, VERSION = "flywheel_span", "flywheel_version"


class Table(Protocol):
    """A table, in one of the warehouses."""

    @property
    def where(self) -> str:
        """The table, in words."""

    def versions(self, span: Span) -> dict[str, int]:
        """Return how many rows of a span there are, by the version that they are of."""

    def newest(self) -> str:
        """Return a version that the rows of the newest span are of; empty when there are none."""

    def replace(self, span: Span, file: Path) -> None:
        """Put the rows of a Parquet file in the place of a span's, at once; a column that is new is added.

        Raises:
            ConfigError: The warehouse cannot be written to.
        """


def open_table(url: str, name: str) -> Table:
    """Return a table, which need not be there yet.

    Args:
        url: As `duckdb:///file`, `parquet:///folder` or `bigquery://project/dataset`; a file that is not there is made.
        name: Of the table.

    Raises:
        ConfigError: It is none of these.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "duckdb" and rest.startswith("/"):
        return DuckDBTable(Path(rest.removeprefix("/")), name)
    if scheme == "parquet" and rest.startswith("/"):
        return ParquetTable(Path(rest.removeprefix("/")), name)
    if scheme == "bigquery":
        from flywheel.warehouse.bigquery.load import BigQueryTable

        table: Table = BigQueryTable.of(url, name)
        return table
    raise ConfigError(
        f"{url!r} cannot be written to", "give duckdb:///file, bigquery://project/dataset or parquet:///folder."
    )


@dataclass(frozen=True)
class ParquetTable:
    """A folder with a file a span: `parquet:///<folder>` reads it as the table `name`.

    Attributes:
        folder: Where tables are.
        name: Of the table.
    """

    folder: Path
    name: str

    @property
    def where(self) -> str:
        """The folder."""
        return str(self.folder / self.name)

    def versions(self, span: Span) -> dict[str, int]:
        """Return how many rows of each version the span's file has."""
        import pyarrow.parquet as pq

        file = self._file(span.name)
        if not file.is_file():
            return {}
        counted = pq.read_table(file, columns=[VERSION])[VERSION].value_counts()
        return {each["values"]: each["counts"] for each in counted.to_pylist()}

    def newest(self) -> str:
        """Return a version that the last file's rows are of."""
        import pyarrow.parquet as pq

        files = sorted((self.folder / self.name).glob("[!.]*.parquet"))
        rows = pq.read_table(files[-1], columns=[VERSION])[VERSION] if files else []
        return str(rows[0].as_py()) if len(rows) else ""

    def replace(self, span: Span, file: Path) -> None:
        """Copy the file beside the others and rename it."""
        target = self._file(span.name)
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, partial)
            partial.replace(target)
        except OSError as error:
            raise ConfigError(
                f"{self.where!r} cannot be written to: {error}", "give a folder with room that you may write to."
            ) from error
        finally:
            partial.unlink(missing_ok=True)

    def _file(self, span: str) -> Path:
        return self.folder / self.name / f"{span}.parquet"


@dataclass(frozen=True)
class DuckDBTable:
    """A table of a DuckDB file.

    Attributes:
        file: The database.
        name: Of the table.
    """

    file: Path
    name: str

    @property
    def where(self) -> str:
        """The table and its file."""
        return f"table {self.name} of {self.file}"

    def versions(self, span: Span) -> dict[str, int]:
        """Return how many rows of each version a span has."""
        counted = f"SELECT {VERSION}, count(*) FROM {_quoted(self.name)} WHERE {SPAN} = $span GROUP BY ALL"
        return {str(version): int(rows) for version, rows in self._ask(counted, {"span": _instant(span)})}

    def newest(self) -> str:
        """Return a version that rows of the newest span are of."""
        rows = self._ask(f"SELECT {VERSION} FROM {_quoted(self.name)} ORDER BY {SPAN} DESC LIMIT 1")
        return str(rows[0][0]) if rows else ""

    def replace(self, span: Span, file: Path) -> None:
        """Delete and insert in one transaction."""
        import duckdb

        name, rows = _quoted(self.name), "read_parquet($file)"
        given = {"file": str(file)}
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self._connected(read_only=False) as connection:
                connection.execute("BEGIN")
                connection.execute(f"CREATE TABLE IF NOT EXISTS {name} AS SELECT * FROM {rows} LIMIT 0", given)
                known = {str(row[0]) for row in connection.execute(f"DESCRIBE {name}").fetchall()}
                for column, kind, *_ in connection.execute(f"DESCRIBE SELECT * FROM {rows}", given).fetchall():
                    if column not in known:
                        connection.execute(f"ALTER TABLE {name} ADD COLUMN {_quoted(column)} {kind}")
                connection.execute(f"DELETE FROM {name} WHERE {SPAN} = $span", {"span": _instant(span)})
                connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM {rows}", given)
                connection.execute("COMMIT")  # a connection that is closed before takes everything back
        except (duckdb.Error, OSError) as error:
            raise self._closed(error) from error

    def _ask(self, query: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        import duckdb

        if not self.file.exists():
            return []
        try:
            with self._connected(read_only=True) as connection:
                return list(connection.execute(query, values).fetchall())
        except duckdb.CatalogException:  # there is no such table yet
            return []
        except duckdb.Error as error:
            raise self._closed(error) from error

    def _connected(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        import duckdb

        return duckdb.connect(str(self.file), read_only=read_only)

    def _closed(self, error: Exception) -> ConfigError:
        said = str(error).splitlines()[0]
        busy = "set lock on file" in said.lower()
        remedy = "wait until nobody reads or writes it; steps of a run do." if busy else "mend that, or name another."
        return ConfigError(f"{self.where} cannot be written to: {said}", remedy)


def _instant(span: Span) -> datetime:
    return span.start.replace(tzinfo=UTC)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
