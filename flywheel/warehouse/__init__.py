"""Where data comes from: one small protocol, one file a warehouse.

SQL is BigQuery's dialect in every warehouse. `@start` and `@end` are the first instant of a span and the first after
it, in UTC; they may be compared with a TIMESTAMP, a DATETIME or a DATE alike.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from flywheel.errors import ConfigError, MissingExtra
from flywheel.spans import Span

if TYPE_CHECKING:
    import pyarrow as pa

PARAMETERS = ("start", "end")
_MODULES = {"duckdb": "flywheel.warehouse.duckdb"}


class Warehouse(AbstractContextManager["Warehouse"], Protocol):
    """A source of rows that answers BigQuery's SQL; may be read from several threads at once."""

    def schema(self, query: str) -> pa.Schema:
        """Return the columns that `query` gives, without running it.

        Raises:
            SQLError: The query does not parse, cannot be translated, or names what the warehouse does not have.
        """
        ...

    def batches(self, query: str, span: Span) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one span as record batches of `schema(query)`, as they come.

        Raises:
            SQLError: As `schema` does, or the query fails while it runs.
        """
        ...

    def state(self, query: str) -> str:
        """Return a text that is another one whenever the rows of `query` may have changed; cheap to get."""
        ...

    def extent(self, query: str) -> tuple[datetime, datetime] | None:
        """Return the first and last time for which `query` could find rows; None where that is not cheap to know."""
        ...


def open(url: str, maximum_bytes_billed: int | None = None) -> Warehouse:
    """Return the warehouse at `url`; a `with` block closes it.

    Args:
        url: As `duckdb:///folder/file.duckdb`, relative to the working folder, or `duckdb:////absolute/file.duckdb`.
        maximum_bytes_billed: Refuse a query that would read more, in warehouses that bill what they read.

    Raises:
        ConfigError: No warehouse is known by that scheme, or there is none at that place.
        MissingExtra: The library that reads it is not installed.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _MODULES:
        known = ", ".join(f"{name}://" for name in _MODULES)
        raise ConfigError(f"warehouse {url!r} is of no known kind", f"known here: {known}")
    try:
        module = importlib.import_module(_MODULES[scheme])
        warehouse: Warehouse = module.connect(url, maximum_bytes_billed)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"warehouse {url!r} needs {error.name!r}, which is not installed", "pip install 'ai-flywheel[local]'"
        ) from None
    return warehouse
