"""DuckDB for what is logged: in little memory, more where that does not do; errors that a user can mend."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from flywheel.errors import DataError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Found = TypeVar("Found")

MEMORY, MOST = "256MB", "80%"
"""A join sorts all requests, and DuckDB spills only what is beyond its limit; a row group has to fit in any case."""

_ROWS = 64 * 1024


class Database:
    """A database of its own, which goes when it is closed with all that was spilled.

    Attributes:
        scratch: Its folder.
        connection: For what `ask`, `run` and `read` do not do; to be used in `trying`.
    """

    def __init__(self) -> None:
        import duckdb

        self._own = tempfile.TemporaryDirectory(prefix="flywheel-monitor-")
        self.scratch = Path(self._own.name)
        settings: dict[str, Any] = {
            "memory_limit": MEMORY,
            "threads": 2,
            "preserve_insertion_order": False,
            "enable_external_file_cache": False,  # it would fill whatever limit there is
            "temp_directory": str(self.scratch / "spill"),
        }
        self.connection: duckdb.DuckDBPyConnection = duckdb.connect(str(self.scratch / "log.duckdb"), config=settings)
        self.connection.execute("SET TimeZone = 'UTC'")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all that it holds."""
        self.connection.close()
        self._own.cleanup()

    def ask(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows that DuckDB answers `sql` with.

        Raises:
            DataError: As `trying`.
        """
        return self.trying(lambda: self.connection.execute(sql, parameters).fetchall())

    def run(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Have DuckDB do what `sql` says.

        Raises:
            DataError: As `trying`.
        """
        self.trying(lambda: self.connection.execute(sql, parameters))

    def read(self, sql: str, parameters: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a plain scan: it takes no more memory than its row groups do, whatever the limit.

        Raises:
            DataError: As `trying`.
        """
        with _explained(), self.more_memory():
            reader: Any = self.connection.cursor().sql(sql, params=parameters).to_arrow_reader(_ROWS)
            yield from reader

    def trying(self, work: Callable[[], Found]) -> Found:
        """Return what `work` returns, done once more with more memory where it needs that.

        Raises:
            DataError: The memory or the temporary folder does not do, or values are not of the type that is needed.
        """
        import duckdb

        with _explained():
            try:
                return work()
            except duckdb.OutOfMemoryException:
                with self.more_memory():
                    return work()

    @contextmanager
    def more_memory(self) -> Iterator[None]:
        """Let DuckDB have its own limit meanwhile, most of what the machine or container has."""
        import duckdb

        self.connection.execute(f"SET memory_limit = '{MOST}'")
        try:
            yield
        finally:
            with suppress(duckdb.Error):  # it holds more just now, or is closed
                self.connection.execute(f"SET memory_limit = '{MEMORY}'")


@contextmanager
def _explained() -> Iterator[None]:
    """Turn DuckDB's errors that come of data, memory or disk into ones that a user can mend."""
    import duckdb
    import pyarrow as pa

    ours = (duckdb.OperationalError, duckdb.DataError, duckdb.InvalidInputException, duckdb.NotSupportedError)
    try:
        yield
    except (*ours, pa.ArrowException, OSError) as error:  # Arrow's is what breaks while rows are read
        raise _told(str(error).strip().splitlines()[0]) from None


def _told(said: str) -> DataError:
    if "failed to offload" in said or "No space left" in said:
        return DataError(
            f"there is no room on the disk: {said}",
            f"make room, or let TMPDIR name another folder than {tempfile.gettempdir()} for what memory does not hold.",
        )
    if "out of memory" in said.lower():
        return DataError(
            f"the log needs more memory than there is: {said}",
            "give it more memory, look at fewer spans, or have `deploy.log` keep less.",
        )
    if said.startswith("IO Error"):
        return DataError(f"the log cannot be read: {said}", "see that nobody removes files of it meanwhile.")
    return DataError(
        f"the log, or its labels, cannot be used as they are: {said}",
        "mend what that names (flywheel_label is the label): times have to be timestamps, and but for classes "
        "predictions and labels numbers.",
    )
