"""What is learned of a column: summaries that take Arrow columns, merge, and end as a few numbers.

Each comes out the same in whatever order its rows and parts were taken, so that a state is reproducible on any runner:
counts and quantiles are exact while there are not too many different values, distinct counts are sketched by maxima,
and means come from exact sums. Past its limit a vocabulary is within
a bound that it states (decision 0012).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flywheel.transform import raw
from flywheel.transform.categories import crossed, hashes
from flywheel.transform.distinct import Distinct
from flywheel.transform.numbers import clipped
from flywheel.transform.sequences import elements, words

BINS = 2**16
LIMIT = 2**18
_UNIT = -1074
_LIMB = 2**18 - 1
_BLOCK = 2**15


@dataclass
class Missing:
    """How many rows have no value: all that some kinds learn."""

    missing: int = 0

    def add(self, columns: Sequence[pa.Array]) -> None:
        """Take the rows of `columns`."""
        column = columns[0]
        numbers = raw.is_number(column.type)
        self.missing += int(np.isnan(raw.numbers(column)).sum()) if numbers else column.null_count

    def merge(self, other: Missing) -> None:
        """Take the rows of another summary."""
        self.missing += other.missing

    def finish(self) -> dict[str, Any]:
        """Return what was learned."""
        return {"missing": self.missing}


class Nothing:
    """What is learned for features that need nothing."""

    def add(self, columns: Sequence[pa.Array]) -> None:
        """Leave them."""

    def merge(self, other: Nothing) -> None:
        """Leave it."""

    def finish(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


@dataclass
class Moments:
    """Count, mean, standard deviation and range of a column of numbers.

    From the exact sums of the values and of their squares: whole numbers of any length, in the smallest unit that a
    float64 has. So nothing cancels, nothing overflows, and the order of the rows cannot change a bit.

    Attributes:
        clip: Bounds that are put on the values first.
        rows: Values that are not missing.
        total: Their sum, in units of 2**-1074.
        squares: The sum of their squares, in units of 2**-2148.
        minimum: The least of them.
        maximum: The greatest.
        missing: Rows without a value.
    """

    clip: tuple[float | None, ...] = ()
    rows: int = 0
    total: int = 0
    squares: int = 0
    minimum: float = np.inf
    maximum: float = -np.inf
    missing: int = 0

    def add(self, columns: Sequence[pa.Array]) -> None:
        """Take the rows of `columns`."""
        found = clipped(raw.numbers(columns[0]), self.clip)
        values = found[~np.isnan(found)]
        other = Moments(missing=len(found) - len(values))
        if len(values):
            low, high = float(values.min()), float(values.max())
            other = Moments((), len(values), *_sums(values), low, high, other.missing)
        self.merge(other)

    def merge(self, other: Moments) -> None:
        """Take the rows of another summary."""
        self.rows, self.missing = self.rows + other.rows, self.missing + other.missing
        self.total, self.squares = self.total + other.total, self.squares + other.squares
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)

    def finish(self) -> dict[str, Any]:
        """Return what was learned."""
        unit = max(self.rows, 1) << -_UNIT
        apart = self.rows * self.squares - self.total**2
        return {
            "mean": self.total / unit,
            "deviation": math.isqrt(apart << 128) / (unit << 64),
            "minimum": self.minimum if self.rows else None,
            "maximum": self.maximum if self.rows else None,
            "missing": self.missing,
        }


@dataclass
class Counts:
    """How often each value occurs: exactly while there are at most `limit` different ones.

    Past that, all counts are lowered by that of the (limit/2)th and those below it go, as in Misra and Gries (1982),
    merged as in Agarwal and others, Mergeable Summaries (2012): a count is then too small by `error` at most, which is
    at most 2/limit of all values, and a value that occurs more often than that is never lost.

    Attributes:
        top: Size of the vocabulary, at most.
        minimum: How often a value of the vocabulary stands there, at least.
        limit: Most values that are kept.
        counts: Values and how often they occur, less `error` at most.
        error: 0 while every value is counted.
        total: All values that are not missing.
        missing: Values that are.
        sketch: About how many different ones there are, for when they are not all kept.
    """

    top: int
    minimum: int = 1
    limit: int = LIMIT
    counts: Counter[Any] = field(default_factory=Counter)
    error: int = 0
    total: int = 0
    missing: int = 0
    sketch: Distinct = field(default_factory=Distinct)

    def add(self, columns: Sequence[pa.Array]) -> None:
        """Take the rows of `columns`."""
        column = columns[0]
        values = pa.array(raw.numbers(column), from_pandas=True) if raw.is_number(column.type) else raw.texts(column)
        found = values.drop_null().value_counts()
        different, counts = found.field(0), found.field(1)
        self.counts.update(dict(zip(different.to_pylist(), counts.to_pylist(), strict=True)))
        self.total, self.missing = self.total + len(values) - values.null_count, self.missing + values.null_count
        self.sketch.add(hashes(different)[0])
        self._shrink()

    def merge(self, other: Counts) -> None:
        """Take the rows of another summary."""
        self.counts.update(other.counts)
        self.error, self.total = self.error + other.error, self.total + other.total
        self.missing += other.missing
        self.sketch.merge(other.sketch)
        self._shrink()

    def finish(self) -> dict[str, Any]:
        """Return what was learned."""
        frequent = [value for value, count in self.counts.items() if count >= self.minimum]
        ranked = sorted(frequent, key=lambda value: (-self.counts[value], value))[: self.top]
        return {
            "vocabulary": tuple(
                int(each) if isinstance(each, float) and each.is_integer() else each for each in ranked
            ),
            "unknown": self.total - sum(self.counts[value] for value in ranked),
            "missing": self.missing,
            "distinct": self.sketch.estimate() if self.error else len(self.counts),
            "error": self.error,
        }

    def _shrink(self) -> None:
        if len(self.counts) <= self.limit:
            return
        cut = int(np.partition(np.fromiter(self.counts.values(), np.int64), -(self.limit // 2))[-(self.limit // 2)])
        self.error += cut
        self.counts = Counter({value: count - cut for value, count in self.counts.items() if count > cut})


@dataclass
class Elements(Counts):
    """How often each element of the lists of a column occurs.

    Attributes:
        separator: What stands between the elements of a text.
        words: Whether the elements are the words of a text.
    """

    separator: str = ""
    words: bool = False

    def add(self, columns: Sequence[pa.Array]) -> None:
        """Take the rows of `columns`."""
        found = words(columns[0]) if self.words else elements(columns[0], self.separator)
        super().add([found.values])


@dataclass
class Hashes:
    """About how many different values, or combinations of values, there are."""

    sketch: Distinct = field(default_factory=Distinct)
    missing: int = 0

    def add(self, columns: Sequence[pa.Array]) -> None:
        """Take the rows of `columns`."""
        found, missing = crossed(columns)
        self.sketch.add(found[~missing])
        self.missing += int(np.count_nonzero(missing))

    def merge(self, other: Hashes) -> None:
        """Take the rows of another summary."""
        self.sketch.merge(other.sketch)
        self.missing += other.missing

    def finish(self) -> dict[str, Any]:
        """Return what was learned."""
        return {"distinct": self.sketch.estimate(), "missing": self.missing}


@dataclass
class Histogram:
    """How many rows fall in each bin of the number line: exact while there are at most `bins` distinct values.

    A float64's bits, read as an integer, sort as the number does. When more than `bins` different ones were seen, the
    lowest bit is dropped, of all of them, until they fit. How many bits go depends on the set of values only and never
    on the order in which they came, so unlike a randomised sketch (KLL) this one is mergeable *and* reproducible.

    Attributes:
        quantiles: How many ranges are asked for.
        bins: Most bins that are kept, 16 bytes each.
        dropped: How many low bits are dropped.
        keys: The bins that have rows, ascending.
        counts: How many rows each has.
        missing: Rows without a value.
    """

    quantiles: int
    bins: int = BINS
    dropped: int = 0
    keys: NDArray[Any] = field(default_factory=lambda: np.empty(0, np.int64))
    counts: NDArray[Any] = field(default_factory=lambda: np.empty(0, np.int64))
    missing: int = 0

    def add(self, columns: Sequence[pa.Array]) -> None:
        """Take the rows of `columns`."""
        found = raw.numbers(columns[0])
        values = found[~np.isnan(found)]
        keys, counts = np.unique(_key(values), return_counts=True)
        self.merge(Histogram(self.quantiles, self.bins, 0, keys, counts, len(found) - len(values)))

    def merge(self, other: Histogram) -> None:
        """Take the rows of another summary."""
        self.missing += other.missing
        dropped = max(self.dropped, other.dropped)
        mine, others = self.keys >> (dropped - self.dropped), other.keys >> (dropped - other.dropped)
        keys, counts = np.concatenate([mine, others]), np.concatenate([self.counts, other.counts])
        keys, counts = _grouped(keys, counts)
        while len(keys) > self.bins:
            dropped += 1
            keys, counts = _grouped(keys >> 1, counts)
        self.dropped, self.keys, self.counts = dropped, keys, counts

    def finish(self) -> dict[str, Any]:
        """Return what was learned; the boundaries cut the rows into ranges as equal as the bins allow."""
        boundaries = np.empty(0)
        if len(self.keys):
            below = np.cumsum(self.counts)
            ranks = np.arange(1, self.quantiles) * int(below[-1]) // self.quantiles
            cuts = np.unique(np.searchsorted(below, ranks, side="right"))
            boundaries = _value(self.keys[cuts[cuts > 0]] << self.dropped)
        return {"boundaries": tuple(boundaries.tolist()), "exact": self.dropped == 0, "missing": self.missing}


def _sums(values: NDArray[Any]) -> tuple[int, int]:
    """Return the exact sum of finite `values` and of their squares, in Moments' units.

    Each value is a whole number of 53 bits times a power of two. By powers, three limbs of 18 bits and their products
    are added as int64, which holds such sums exactly. By blocks that stay in a processor's cache.
    """
    if len(values) > _BLOCK:
        blocks = [_sums(values[start : start + _BLOCK]) for start in range(0, len(values), _BLOCK)]
        return sum(total for total, _ in blocks), sum(squares for _, squares in blocks)
    fractions, powers = np.frexp(values)
    order = np.argsort(powers.astype(np.int16), kind="stable")
    whole, powers = np.ldexp(fractions[order], 53).astype(np.int64), powers[order]
    starts = np.flatnonzero(np.r_[True, powers[1:] != powers[:-1]])
    high, middle, low = whole >> 36, whole >> 18 & _LIMB, whole & _LIMB
    of_squares = (low * low, 2 * low * middle, 2 * low * high + middle * middle, 2 * middle * high, high * high)
    added = [[np.add.reduceat(limb, starts).tolist() for limb in limbs] for limbs in ((low, middle, high), of_squares)]
    sums = []
    for degree, limbs in enumerate(added, start=1):
        each = [sum(limb << 18 * place for place, limb in enumerate(parts)) for parts in zip(*limbs, strict=True)]
        shifts = [degree * (int(power) - 53 - _UNIT) for power in powers[starts]]
        sums.append(sum(_shifted(total, shift) for total, shift in zip(each, shifts, strict=True)))
    return sums[0], sums[1]


def _shifted(number: int, places: int) -> int:
    return number << places if places >= 0 else number >> -places


def _key(values: NDArray[Any]) -> NDArray[Any]:
    """Return integers that sort as the numbers do: a negative number's other bits are turned round."""
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    keys: NDArray[Any] = bits ^ ((bits >> 63) & np.int64(0x7FFFFFFFFFFFFFFF))
    return keys


def _value(keys: NDArray[Any]) -> NDArray[Any]:
    bits: NDArray[Any] = keys ^ ((keys >> 63) & np.int64(0x7FFFFFFFFFFFFFFF))
    return bits.view(np.float64)


def _grouped(keys: NDArray[Any], counts: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    if not len(keys):
        return keys, counts
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    return keys[starts], np.add.reduceat(counts, starts)
