"""The columns of one batch, each hashed or turned into numbers once however many invariants ask for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from flywheel.errors import ConfigError, meant
from flywheel.invariants.hashing import combined, hashed, ranked
from flywheel.invariants.rules import Determines, Invariant, Ordered, Unique

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

FILE = "invariants.yaml"
_ROUNDING = 1e-9


class Columns:
    """A batch's columns as invariants look at them.

    Args:
        batch: The rows.
    """

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch
        self._hashed: dict[str, tuple[NDArray[np.uint64], NDArray[np.bool_]]] = {}
        self._ranked: dict[str, tuple[NDArray[Any], NDArray[np.bool_]]] = {}

    def pairs(self, rule: Unique | Determines) -> tuple[NDArray[np.intp], NDArray[np.uint64], NDArray[np.uint64]]:
        """Return the rows that have no null in the rule's columns, and the hashes of their keys and values."""
        by = rule.columns if isinstance(rule, Unique) else rule.by
        rows = np.flatnonzero(reduce(np.logical_and, [self.hashes(column, rule)[1] for column in rule.columns]))
        key = combined([self.hashes(column, rule)[0][rows] for column in by])
        value = self.hashes(rule.column, rule)[0][rows] if isinstance(rule, Determines) else np.zeros_like(key)
        return rows, key, value

    def rowwise(self, rule: Invariant) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return the rows that have no null in the columns of an order or a sum, and which of them violate it."""
        rows = np.flatnonzero(reduce(np.logical_and, [self.numbers(column, rule)[1] for column in rule.columns]))
        first, *others = [self.numbers(column, rule)[0][rows] for column in rule.columns]
        if isinstance(rule, Ordered):
            return rows, first > others[0]
        return rows, ~adds_up(others, first)

    def hashes(self, column: str, rule: object) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
        """Return the hash of each value of `column`, and whether there is one."""
        found: tuple[NDArray[np.uint64], NDArray[np.bool_]] = self._cached(self._hashed, column, rule, hashed)
        return found

    def numbers(self, column: str, rule: object) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return each value of `column` as a number, and whether there is one.

        Raises:
            ConfigError: Its values are no numbers or times.
        """
        found: tuple[NDArray[Any], NDArray[np.bool_]] | None = self._cached(self._ranked, column, rule, ranked)
        if found is None:
            raise ConfigError(
                f"{FILE}: {rule} compares {column!r}, which is of type {self._batch.schema.field(column).type}",
                "an order or a sum is of numbers or times: cast it in the query, or take the invariant out.",
            )
        return found

    def shown(self, row: int, columns: Sequence[str]) -> str:
        """Return the values of a row in words, as `origin=JFK, dest=LAX`."""
        return ", ".join(f"{column}={self.value(row, column)}" for column in columns)

    def value(self, row: int, column: str) -> str:
        """Return one value as text of at most 40 characters."""
        return str(self._batch.column(self._batch.schema.get_field_index(column))[int(row)].as_py())[:40]

    def _cached(self, cache: dict[str, Any], column: str, rule: object, make: Callable[[pa.Array], Any]) -> Any:
        if column not in cache:
            names = self._batch.schema.names
            if column not in names:
                raise ConfigError(
                    f"{FILE}: {rule} names the column {column!r}, which the query does not give",
                    f"{meant(column, names)}it gives {', '.join(names)}.",
                )
            cache[column] = make(self._batch.column(names.index(column)))
        return cache[column]


def adds_up(parts: Sequence[NDArray[Any]], total: NDArray[Any]) -> NDArray[np.bool_]:
    """Return whether the parts add up to the total; whole numbers exactly, others to within rounding."""
    found = reduce(np.add, parts)
    if all(each.dtype == np.int64 for each in (*parts, total)):
        return np.asarray(found == total)
    size = reduce(np.add, [np.abs(each) for each in parts]) + np.abs(total)
    return np.asarray(np.abs(found - total) <= _ROUNDING * size)
