"""Where data comes from: one small protocol, one file a warehouse.

SQL is BigQuery's dialect in every warehouse. `@start` and `@end` are the first instant of a span and the first after
it, in UTC; they may be compared with a TIMESTAMP, a DATETIME or a DATE alike.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from flywheel.errors import ConfigError, MissingExtra, SQLError
from flywheel.spans import Span

if TYPE_CHECKING:
    import pyarrow as pa

PARAMETERS = ("start", "end")
_MODULES = {
    "duckdb": "flywheel.warehouse.duckdb",
    "parquet": "flywheel.warehouse.duckdb",
    "csv": "flywheel.warehouse.duckdb",
    "bigquery": "flywheel.warehouse.bigquery",
}


@dataclass(frozen=True)
class Options:
    """How a warehouse is asked; one that has no use for a setting does not look at it.

    Attributes:
        maximum_bytes_billed: Refuse a query that would read more; None for no limit.
        location: Where jobs run.
        labels: Labels of every job.
        timeout: Seconds that a query may take.
        priority: `interactive` or `batch`.
        storage_api: Whether results come by the Storage Read API rather than by REST.
        export: Folder, as gs://bucket/path, for results too large to stream; empty for none.
        export_over: Bytes from which on results go through `export`.
    """

    maximum_bytes_billed: int | None = None
    location: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 3600.0
    priority: str = "interactive"
    storage_api: bool = True
    export: str = ""
    export_over: int = 20 * 1000**3

    @classmethod
    def of(cls, source: Mapping[str, Any]) -> Options:
        """Return what `source` of flywheel.yaml says, as JSON values."""
        asked = {key: value for key, value in source.get("bigquery", {}).items() if value is not None}
        return cls(maximum_bytes_billed=source.get("maximum_bytes_billed"), **asked)


class ReadAgain(SQLError):
    """Reading broke off for a reason that is gone: what came of the span is to be dropped, and all of it read again."""


class Warehouse(AbstractContextManager["Warehouse"], Protocol):
    """A source of rows that answers BigQuery's SQL; may be read from several threads at once."""

    def schema(self, query: str) -> pa.Schema:
        """Return the columns that `query` gives, without running it.

        Raises:
            SQLError: The query does not parse, cannot be translated, or names what the warehouse does not have.
        """
        ...

    def batches(self, query: str, span: Span, state: str = "") -> Iterator[pa.RecordBatch]:
        """Yield the rows of one span as record batches of `schema(query)`, as they come.

        Args:
            query: SQL with @start and @end.
            span: Which rows.
            state: What `state(query)` was: rows as they were then, where the warehouse keeps its past; empty for now.

        Raises:
            SQLError: As `schema` does, or the query fails while it runs, or would read more than is allowed.
            DataError: The warehouse no longer keeps the rows of `state`.
            ReadAgain: The rows broke off; another call gives them all.
        """
        ...

    def count(self, query: str, span: Span) -> int:
        """Return how many rows `batches` would give; as cheap as the warehouse can."""
        ...

    def watermark(self, query: str) -> datetime | None:
        """Return the one time that `query`, SQL without parameters, gives: UTC, without zone; None when it is null.

        Raises:
            SQLError: It does not run, or does not give one time (TIMESTAMP, DATETIME or DATE).
        """
        ...

    def state(self, query: str) -> str:
        """Return a text that is another one whenever the rows of `query` may have changed; cheap to get."""
        ...

    def extent(self, query: str) -> tuple[datetime, datetime] | None:
        """Return the first and last time for which `query` could find rows; None where that is not cheap to know."""
        ...


def open(url: str, options: Options | None = None) -> Warehouse:
    """Return the warehouse at `url`; a `with` block closes it.

    Args:
        url: As `bigquery://project/dataset`, `duckdb:///folder/file.duckdb`, relative to the working folder,
            `duckdb:////absolute/file.duckdb`, or `parquet:///folder/*.parquet` and `csv:///…` alike.
        options: How it is asked.

    Raises:
        ConfigError: No warehouse is known by that scheme, or there is none at that place.
        MissingExtra: The library that reads it is not installed.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _MODULES:
        known = ", ".join(f"{name}://" for name in _MODULES)
        shown = f"{scheme}://…" if separator else url  # of other databases there may be a password in the rest
        raise ConfigError(f"warehouse {shown!r} is of no known kind", f"known here: {known}")
    try:
        module = importlib.import_module(_MODULES[scheme])
        warehouse: Warehouse = module.connect(url, options or Options())
    except ModuleNotFoundError as error:
        extra = "bigquery" if scheme == "bigquery" else "local"
        raise MissingExtra(
            f"warehouse {url!r} needs {error.name!r}, which is not installed", f"pip install 'ai-flywheel[{extra}]'"
        ) from None
    return warehouse
