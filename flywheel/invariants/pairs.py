"""How often each pair of key and value was seen, in bounded memory, whatever the order of the rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from flywheel.invariants.hashing import combined

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 200_000
_LAST = np.uint64(2**64 - 1)


def _none() -> NDArray[np.uint64]:
    return np.empty(0, np.uint64)


@dataclass(frozen=True)
class Pairs:
    """Counts of pairs of hashes, sorted; of more than `most`, those whose keys are smallest (a bottom-k sample).

    A pair that is among the smallest of all rows is among those of every part that has it: so nothing is lost by
    merging, and the order of rows does not matter (Cohen & Kaplan 2007).

    Attributes:
        key: Hash of the key, ascending.
        value: Hash of the value, ascending within a key.
        count: How many rows had both.
        most: How many pairs are kept.
    """

    key: NDArray[np.uint64] = field(default_factory=_none)
    value: NDArray[np.uint64] = field(default_factory=_none)
    count: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    most: int = MOST

    @classmethod
    def of(cls, key: NDArray[np.uint64], value: NDArray[np.uint64], most: int = MOST) -> Pairs:
        """Return the pairs of rows that have `key` and `value`."""
        return _compact(key, value, np.ones(len(key), np.int64), most)

    def __len__(self) -> int:
        return len(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pairs) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ("key", "value", "count", "most")
        )

    __hash__ = None  # type: ignore[assignment]

    def merge(self, other: Pairs) -> Pairs:
        """Return the pairs of the rows of both."""
        if not len(other) and other.most >= self.most:
            return self
        parts = [np.concatenate([getattr(each, name) for each in (self, other)]) for name in ("key", "value", "count")]
        return _compact(parts[0], parts[1], parts[2], min(self.most, other.most))

    @property
    def rows(self) -> int:
        """How many rows the kept pairs had."""
        return int(self.count.sum())

    @property
    def bound(self) -> np.uint64:
        """Every pair of a key below it is here; of keys from it on some may be missing."""
        return self.key[-1] if len(self) >= self.most else _LAST

    @property
    def keys(self) -> NDArray[np.uint64]:
        """The distinct keys, ascending."""
        return self.key[self.starts]

    @property
    def starts(self) -> NDArray[np.intp]:
        """Where each distinct key begins."""
        return np.flatnonzero(np.r_[True, self.key[1:] != self.key[:-1]]) if len(self) else np.empty(0, np.intp)

    @property
    def usual(self) -> NDArray[np.bool_]:
        """Whether each pair has the most frequent value of its key; of several alike, all have."""
        if not len(self):
            return np.empty(0, np.bool_)
        starts = self.starts
        largest = np.maximum.reduceat(self.count, starts)
        return np.asarray(self.count == np.repeat(largest, np.diff(np.r_[starts, len(self)])))

    @property
    def minority(self) -> int:
        """How many rows do not have the most frequent value of their key."""
        return self.rows - int(np.maximum.reduceat(self.count, self.starts).sum()) if len(self) else 0

    def where(self, chosen: NDArray[np.bool_]) -> Pairs:
        """Return the pairs that are chosen."""
        return Pairs(self.key[chosen], self.value[chosen], self.count[chosen], self.most)


class Counting:
    """Counts the pairs of many batches, holding no more than a few times what is kept.

    Args:
        most: How many pairs are kept.
    """

    def __init__(self, most: int = MOST) -> None:
        self._kept, self._rows = Pairs(most=most), 0
        self._waiting: list[tuple[NDArray[np.uint64], NDArray[np.uint64]]] = []

    def add(self, key: NDArray[np.uint64], value: NDArray[np.uint64]) -> None:
        """Count rows."""
        if self._kept.bound != _LAST:
            near = key <= self._kept.bound
            key, value = key[near], value[near]
        self._waiting.append((key, value))
        self._rows += len(key)
        if self._rows > self._kept.most:
            self.pairs()

    def pairs(self) -> Pairs:
        """Return what was counted."""
        if self._waiting:
            key, value = (np.concatenate([rows[part] for rows in self._waiting]) for part in (0, 1))
            self._kept = self._kept.merge(Pairs.of(key, value, self._kept.most))
            self._waiting, self._rows = [], 0
        return self._kept


def names(key: NDArray[np.uint64], value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return one hash a pair, to look pairs up by."""
    return combined([key, value])


def _compact(key: NDArray[np.uint64], value: NDArray[np.uint64], count: NDArray[np.int64], most: int) -> Pairs:
    if not len(key):
        return Pairs(most=most)
    order = np.lexsort((value, key))
    key, value, count = key[order], value[order], count[order]
    starts = np.flatnonzero(np.r_[True, (key[1:] != key[:-1]) | (value[1:] != value[:-1])])
    kept = starts[:most]
    return Pairs(key[kept], value[kept], np.add.reduceat(count, starts)[:most], most)
