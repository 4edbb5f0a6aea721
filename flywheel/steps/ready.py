"""What `plan` asks the warehouse: which span's data has arrived, and what its rows are like."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from flywheel import warehouse as warehouses
from flywheel.kept import Kept
from flywheel.spans import Every, Span, last_complete
from flywheel.warehouse import Warehouse

_LONGEST, _READABLE = 500, 200  # characters of a state in the ledger


class Data(AbstractContextManager["Data"]):
    """The data of a flywheel; the warehouse is opened by the first question that needs it, and asked each one once.

    Args:
        url: Of the warehouse.
        query: SQL that is going to be extracted.
        source: As `source` in flywheel.yaml.
    """

    def __init__(self, url: str, query: str, source: Mapping[str, Any]) -> None:
        self._url, self._query, self._source = url, query, source
        self._stack = ExitStack()

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def state(self) -> str:
        """What the rows are like now, for caches."""
        return self._warehouse.state(self._query)

    def newest(self, now: datetime) -> Span:
        """Return the last span that is over for longer than `grace`, and up to which all rows have arrived.

        Args:
            now: With its zone.
        """
        every: Every = self._source["every"]
        at = now - timedelta(seconds=float(self._source.get("grace") or 0))
        if self._watched and self._watermark is not None:
            at = min(at, self._watermark.replace(tzinfo=UTC))
        return last_complete(every, at)

    def lacks(self, span: Span) -> str:
        """Return why `span` is not ready in a sentence; empty when its rows are there."""
        if self._watched and self._watermark is None:
            return "the watermark is null: nothing has been loaded yet"
        if self._watched and self._watermark is not None and self._watermark < span.end:
            return f"rows have arrived up to {_minute(self._watermark)}, and span {span} ends at {_minute(span.end)}"
        if self._extracted(span) or self._warehouse.count(self._query, span):
            return ""
        extent = self._warehouse.extent(self._query)
        there = f"; there is data from {_minute(extent[0])} to {_minute(extent[1])}" if extent else ""
        return f"span {span} has no rows yet{there}"

    def _extracted(self, span: Span) -> bool:
        """Whether a run on this machine has extracted rows of `span` already, from what is still there."""
        kept = Kept.here()
        return bool(self.state) and has_rows(kept, span, self._url, self._query, self.state) in kept

    @property
    def _watched(self) -> bool:
        return bool(self._source.get("watermark"))

    @cached_property
    def _watermark(self) -> datetime | None:
        return self._warehouse.watermark(self._source["watermark"])

    @cached_property
    def _warehouse(self) -> Warehouse:
        return self._stack.enter_context(warehouses.open(self._url, warehouses.Options.of(self._source)))


def has_rows(kept: Kept, span: Span, url: str, query: str, state: str) -> str:
    """Return the key of a note that a span has rows in a warehouse of that state: `extract` makes it."""
    return kept.key("has rows", span.name, url, query, state)


def noted(state: str) -> str:
    """Return a state as the ledger keeps it: of a long one the beginning, where a snapshot's time is, and a digest."""
    if len(state) <= _LONGEST:
        return state
    return f"{state[:_READABLE]}… sha256:{hashlib.sha256(state.encode()).hexdigest()}"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
