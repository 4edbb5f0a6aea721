"""What is learned from the training window: summaries that take Arrow columns, merge, and end as features.

Every summary comes out the same in whatever order its rows and parts were taken, so a state is reproducible on any
runner: counts are exact, and means are kept to nine digits, far above what the order of additions changes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flywheel.errors import DataError
from flywheel.transform import raw
from flywheel.transform.features import Bucket, Category, Feature, Numeric
from flywheel.transform.state import State
from flywheel.transform.target import MOST_CLASSES, Target

BINS = 2**16


@dataclass
class Moments:
    """Count, mean, squared deviations and range of a column of numbers.

    Merged by the pairwise update of Chan, Golub and LeVeque (1979), which does not cancel as sums of squares do.
    """

    rows: int = 0
    mean: float = 0.0
    squares: float = 0.0
    minimum: float = np.inf
    maximum: float = -np.inf
    missing: int = 0

    def add(self, column: pa.Array) -> None:
        """Take the rows of `column`."""
        found = raw.numbers(column)
        values = found[~np.isnan(found)]
        other = Moments(missing=len(found) - len(values))
        if len(values):
            mean = float(values.mean())
            squares = float(np.square(values - mean).sum())
            other = Moments(len(values), mean, squares, float(values.min()), float(values.max()), other.missing)
        self.merge(other)

    def merge(self, other: Moments) -> None:
        """Take the rows of another summary."""
        rows = self.rows + other.rows
        if other.rows:
            apart = other.mean - self.mean
            self.squares += other.squares + apart**2 * self.rows * other.rows / rows
            self.mean += apart * other.rows / rows
        self.rows, self.missing = rows, self.missing + other.missing
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)

    def finish(self, spec: dict[str, Any], type: str) -> Numeric:
        """Return the feature."""
        varies = self.minimum < self.maximum
        return Numeric(
            column=spec["column"],
            type=type,
            mean=_nine_digits(self.mean),
            deviation=_nine_digits((self.squares / self.rows) ** 0.5) if varies else 0.0,
            minimum=self.minimum if self.rows else None,
            maximum=self.maximum if self.rows else None,
            missing=self.missing,
        )


@dataclass
class Counts:
    """How often each value of a column occurs, exactly; memory grows with the number of distinct values."""

    counts: Counter[Any] = field(default_factory=Counter)

    def add(self, column: pa.Array) -> None:
        """Take the rows of `column`."""
        values = pa.array(raw.numbers(column), from_pandas=True) if raw.is_number(column.type) else raw.texts(column)
        found = values.value_counts()
        self.counts.update(dict(zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True)))

    def merge(self, other: Counts) -> None:
        """Take the rows of another summary."""
        self.counts.update(other.counts)

    def finish(self, spec: dict[str, Any], type: str) -> Category:
        """Return the feature."""
        counts = {value: count for value, count in self.counts.items() if value is not None}
        ranked = sorted(counts, key=lambda value: (-counts[value], value))
        top = ranked[: spec["top"]]
        return Category(
            column=spec["column"],
            type=type,
            top=spec["top"],
            vocabulary=tuple(int(value) if isinstance(value, float) and value.is_integer() else value for value in top),
            unknown=sum(counts[value] for value in ranked[spec["top"] :]),
            missing=self.counts.get(None, 0),
        )


@dataclass
class Histogram:
    """How many rows fall in each bin of the number line: exact while there are at most `bins` distinct values.

    A float64's bits, read as an integer, sort as the number does. When more than `bins` different ones were seen, the
    lowest bit is dropped, of all of them, until they fit. How many bits go depends on the set of values only and never
    on the order in which they came, so unlike a randomised sketch (KLL) this one is mergeable *and* reproducible.

    Attributes:
        bins: Most bins that are kept, 16 bytes each.
        dropped: How many low bits are dropped.
        keys: The bins that have rows, ascending.
        counts: How many rows each has.
        missing: Rows without a value.
    """

    bins: int = BINS
    dropped: int = 0
    keys: NDArray[Any] = field(default_factory=lambda: np.empty(0, np.int64))
    counts: NDArray[Any] = field(default_factory=lambda: np.empty(0, np.int64))
    missing: int = 0

    def add(self, column: pa.Array) -> None:
        """Take the rows of `column`."""
        found = raw.numbers(column)
        values = found[~np.isnan(found)]
        keys, counts = np.unique(_key(values), return_counts=True)
        self.merge(Histogram(self.bins, 0, keys, counts, len(found) - len(values)))

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

    def finish(self, spec: dict[str, Any], type: str) -> Bucket:
        """Return the feature; its boundaries cut the rows into `quantiles` ranges as equal as its bins allow."""
        quantiles, boundaries = spec["quantiles"], np.empty(0)
        if len(self.keys):
            below = np.cumsum(self.counts)
            ranks = np.arange(1, quantiles) * int(below[-1]) // quantiles
            cuts = np.unique(np.searchsorted(below, ranks, side="right"))
            boundaries = _value(self.keys[cuts[cuts > 0]] << self.dropped)
        return Bucket(spec["column"], type, quantiles, tuple(boundaries.tolist()), self.missing)


@dataclass
class Labels:
    """What the label's column holds: how often each of its classes occurs, or what its numbers are like.

    Attributes:
        task: `binary`, `multiclass` or `regression`.
        counts: Rows of each class; of too many classes only some.
        moments: Of a regression's label.
        missing: Rows without a label.
    """

    task: str = "binary"
    counts: Counter[Any] = field(default_factory=Counter)
    moments: Moments = field(default_factory=Moments)
    missing: int = 0

    def add(self, column: pa.Array) -> None:
        """Take the rows of `column`."""
        if self.task == "regression":
            self.moments.add(column)
            self.missing = self.moments.missing
            return
        if self.task == "binary":
            column = pa.array(raw.numbers(column), from_pandas=True)
        else:
            column = raw.texts(column) if raw.is_text(column.type) else column.cast(pa.int64())
        found = column.drop_null().value_counts()
        counts = dict(zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True))
        self.merge(Labels(self.task, Counter(counts), missing=column.null_count))

    def merge(self, other: Labels) -> None:
        """Take the rows of another summary."""
        self.missing += other.missing
        self.moments.merge(other.moments)
        self.counts.update(other.counts)
        # More say nothing new: they are too many, or no label of 0 and 1
        if len(self.counts) > 2 * MOST_CLASSES:
            self.counts = Counter({value: self.counts[value] for value in sorted(self.counts)[: MOST_CLASSES + 1]})

    def finish(self, label: str) -> Target:
        """Return what is predicted.

        Raises:
            DataError: A label is missing, is none of the task's, or all are the same.
        """
        rows = sum(self.counts.values()) + self.moments.rows + self.missing
        if self.missing:
            what = "missing or no finite number" if self.task == "regression" else "missing"
            raise DataError(
                f"label {label!r} is {what} in {self.missing} of {rows} rows",
                f"leave such rows out: `WHERE {label} IS NOT NULL` in the query.",
            )
        if self.task == "regression":
            return self._number(label)
        classes = (0, 1) if self.task == "binary" else tuple(sorted(self.counts))
        others = sorted(set(self.counts) - set(classes))
        if others:
            raise DataError(
                f"label {label!r} is {others[0]!r} in some rows",
                "make it 0 or 1 in the query, or set `task: multiclass` or `task: regression`.",
            )
        if len(classes) > MOST_CLASSES:
            raise DataError(
                f"label {label!r} has more than {MOST_CLASSES} classes, as {classes[0]!r} and {classes[1]!r}",
                "put rare ones together in the query, or set `task: regression` if it is a quantity.",
            )
        if len(self.counts) < 2:
            value = next(iter(self.counts))
            raise _constant(label, int(value) if self.task == "binary" else value, rows)
        return Target(label, self.task, classes, tuple(self.counts[value] for value in classes))

    def _number(self, label: str) -> Target:
        moments = self.moments
        if moments.minimum >= moments.maximum:
            raise _constant(label, moments.mean, moments.rows)
        deviation = (moments.squares / moments.rows) ** 0.5
        return Target(label, self.task, (), (), _nine_digits(moments.mean), _nine_digits(deviation))


SUMMARIES: dict[str, type[Moments] | type[Counts] | type[Histogram]] = {
    "numeric": Moments,
    "category": Counts,
    "bucket": Histogram,
}


class Analysis:
    """The summaries of all features and of the label, as one.

    Args:
        features: As `features` in flywheel.yaml.
        label: Column to predict.
        task: `binary`, `multiclass` or `regression`.
    """

    def __init__(self, features: list[dict[str, Any]], label: str, task: str = "binary") -> None:
        self.features, self.label = features, label
        self.summaries: list[Any] = [SUMMARIES[spec["as"]]() for spec in features]
        self.labels, self.rows = Labels(task), 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Take the rows of `batch`."""
        self.rows += batch.num_rows
        for spec, summary in zip(self.features, self.summaries, strict=True):
            summary.add(batch.column(batch.schema.get_field_index(spec["column"])))
        self.labels.add(batch.column(batch.schema.get_field_index(self.label)))

    def merge(self, other: Analysis) -> None:
        """Take the rows of another analysis of the same features."""
        self.rows += other.rows
        for mine, others in zip(self.summaries, other.summaries, strict=True):
            mine.merge(others)
        self.labels.merge(other.labels)

    def finish(self, schema: pa.Schema) -> State:
        """Return what was learned from rows of `schema`.

        Raises:
            DataError: There are no rows, or the label is none of the task's.
        """
        if not self.rows:
            raise DataError("the training window has no rows", "widen source.window, or look at the query's WHERE.")
        target = self.labels.finish(self.label)
        learned: list[Feature] = [
            summary.finish(spec, raw.type_name(schema.field(spec["column"]).type))
            for spec, summary in zip(self.features, self.summaries, strict=True)
        ]
        return State(target, self.rows, tuple(learned))


def _constant(label: str, value: Any, rows: int) -> DataError:
    return DataError(
        f"label {label!r} is {value!r} in all {rows} rows of the training window: there is nothing to learn",
        "widen source.window, or mend the query's definition of the label.",
    )


def _nine_digits(value: float) -> float:
    return float(f"{value:.9g}")


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
