"""What each span brought in each column, exactly: the evidence for a change of the schema."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_VALUES = 1_000


@dataclass
class Seen:
    """One column in one span.

    Attributes:
        rows: How many rows the span has.
        present: How many of them have a value.
        low: The smallest number; None for what is no number, as words and times.
        high: The largest.
        values: How many rows have each word; None for what is no word, or of which there are more than 1,000.
    """

    rows: int = 0
    present: int = 0
    low: float | None = None
    high: float | None = None
    values: Counter[str] | None = field(default_factory=Counter)

    def add(self, array: pa.Array) -> None:
        """Take the rows of a batch into account."""
        import pyarrow as pa

        self.rows += len(array)
        self.present += len(array) - array.null_count
        kind = array.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            self._add_numbers(array)
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            self.values = None
        elif self.values is not None:
            self._add_words(array)

    def _add_numbers(self, array: pa.Array) -> None:
        import pyarrow.compute as pc

        found = pc.min_max(array.drop_null()).as_py()
        ends = [float(found[end]) for end in ("min", "max") if found[end] is not None]
        if len(ends) == 2 and all(map(math.isfinite, ends)):
            self.low = ends[0] if self.low is None else min(self.low, ends[0])
            self.high = ends[1] if self.high is None else max(self.high, ends[1])

    def _add_words(self, array: pa.Array) -> None:
        import pyarrow.compute as pc

        assert self.values is not None
        for entry in pc.value_counts(array.drop_null()).to_pylist():
            self.values[entry["values"]] += entry["counts"]
            if len(self.values) > _MOST_VALUES:
                self.values = None
                return


@dataclass(frozen=True)
class Past:
    """One column over all spans that were looked at, oldest first.

    Attributes:
        spans: What each span brought, by its name; spans without rows are left out.
    """

    spans: Mapping[str, Seen]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(seen.rows for seen in self.spans.values())

    @property
    def present(self) -> float:
        """The share of rows that have a value."""
        return sum(seen.present for seen in self.spans.values()) / max(1, self.rows)

    @property
    def range(self) -> tuple[float, float] | None:
        """The smallest and largest number; None for what is no number."""
        found = [
            (seen.low, seen.high) for seen in self.spans.values() if seen.low is not None and seen.high is not None
        ]
        return (min(low for low, _ in found), max(high for _, high in found)) if found else None

    @property
    def fewest(self) -> tuple[str, float]:
        """The span with the smallest share of rows that have a value, and that share."""
        return min(((span, seen.present / seen.rows) for span, seen in self.spans.items()), key=lambda each: each[1])

    def beyond(self, low: float, high: float) -> list[str]:
        """Return the spans that have a number below `low` or above `high`."""
        return [
            span
            for span, seen in self.spans.items()
            if seen.low is not None and seen.high is not None and (seen.low < low or seen.high > high)
        ]

    def words(self) -> dict[str, tuple[int, str]] | None:
        """Return each word with how many rows have it, and the first span that does; None for free text or no words."""
        found: dict[str, tuple[int, str]] = {}
        for span, seen in self.spans.items():
            if seen.values is None:
                return None
            for word, rows in seen.values.items():
                before, first = found.get(word, (0, span))
                found[word] = before + rows, first
        return found if len(found) <= _MOST_VALUES else None

    def newcomers(self) -> tuple[str, float] | None:
        """Return the largest share of a span's words that no span before it had, and in which; None without a past.

        The first third of the spans only teaches what there is.
        """
        known: set[str] = set()
        worst: tuple[str, float] | None = None
        for index, (span, seen) in enumerate(self.spans.items()):
            words: Mapping[str, int] = seen.values or {}
            share = sum(rows for word, rows in words.items() if word not in known) / max(1, sum(words.values()))
            if index >= max(1, len(self.spans) // 3) and (worst is None or share > worst[1]):
                worst = span, share
            known.update(words)
        return worst


def look(batches: Iterable[tuple[str, pa.RecordBatch]], columns: Sequence[str]) -> dict[str, Past]:
    """Return what each span brought in each of `columns`.

    Args:
        batches: Rows with the name of their span, oldest first.
        columns: Which columns.
    """
    found: dict[str, dict[str, Seen]] = {column: {} for column in columns}
    for span, batch in batches:
        arrays: dict[str, Any] = dict(zip(batch.schema.names, batch.columns, strict=True))
        for column in columns if batch.num_rows else ():
            if column in arrays:
                found[column].setdefault(span, Seen()).add(arrays[column])
    return {column: Past(spans) for column, spans in found.items()}
