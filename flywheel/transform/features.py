"""The kinds of feature, each with what was learned for it, and how it turns a raw column into a model input.

Index 0 always means a missing value. Every input depends on its own row alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flywheel.transform import raw


@dataclass(frozen=True)
class Numeric:
    """A number scaled to mean 0 and deviation 1; a missing one becomes the mean, a constant column becomes 0.

    Attributes:
        column: Name of the raw column.
        type: Its Arrow type.
        mean: Mean of the training window.
        deviation: Standard deviation of the training window (of the population); 0 when the column is constant.
        minimum: Smallest value of the window.
        maximum: Largest value of the window.
        missing: Rows of the window without a value.
    """

    kind: ClassVar[str] = "numeric"
    dtype: ClassVar[type] = np.float32
    column: str
    type: str
    mean: float
    deviation: float
    minimum: float | None
    maximum: float | None
    missing: int

    @property
    def cardinality(self) -> int | None:
        """None: it is no index."""
        return None

    def apply(self, column: pa.Array) -> NDArray[Any]:
        """Return the scaled values as float32."""
        values = raw.numbers(column)
        if self.deviation == 0:
            return np.zeros(len(values), np.float32)
        with np.errstate(over="ignore"):
            scaled = (values - self.mean) / self.deviation
        scaled = np.clip(np.nan_to_num(scaled, nan=0.0), -raw.LARGEST, raw.LARGEST)
        return scaled.astype(np.float32)


@dataclass(frozen=True)
class Category:
    """A value as its index in a vocabulary: 0 is missing, 1 is any value not in it, 2 the most frequent value.

    Attributes:
        column: Name of the raw column, text or number.
        type: Its Arrow type.
        top: The vocabulary holds at most this many values.
        vocabulary: Values of the training window, the most frequent first; of equal frequency, the smaller first.
        unknown: Rows of the window whose value is not in the vocabulary.
        missing: Rows of the window without a value.
    """

    kind: ClassVar[str] = "category"
    dtype: ClassVar[type] = np.int32
    column: str
    type: str
    top: int
    vocabulary: tuple[str | float, ...]
    unknown: int
    missing: int

    @property
    def cardinality(self) -> int:
        """One more than the largest index: size of an embedding's table."""
        return len(self.vocabulary) + 2

    def apply(self, column: pa.Array) -> NDArray[Any]:
        """Return the indices as int32."""
        if self.type == "string":
            values, known = raw.texts(column), pa.array(self.vocabulary, pa.string())
            empty = raw.missing(values)
        else:
            found = raw.numbers(column)
            values, known, empty = pa.array(found), pa.array(self.vocabulary, pa.float64()), np.isnan(found)
        index = pc.index_in(values, value_set=known).fill_null(-1).to_numpy(zero_copy_only=False)
        return np.where(empty, 0, index + 2).astype(np.int32)


@dataclass(frozen=True)
class Bucket:
    """A number as the index of the quantile range that it falls in: 0 is missing, 1 is below the first boundary.

    Attributes:
        column: Name of the raw column.
        type: Its Arrow type.
        quantiles: How many ranges were asked for; there are fewer when many rows have the same value.
        boundaries: Lowest value of each range but the first, ascending.
        missing: Rows of the window without a value.
    """

    kind: ClassVar[str] = "bucket"
    dtype: ClassVar[type] = np.int32
    column: str
    type: str
    quantiles: int
    boundaries: tuple[float, ...]
    missing: int

    @property
    def cardinality(self) -> int:
        """One more than the largest index: size of an embedding's table."""
        return len(self.boundaries) + 2

    def apply(self, column: pa.Array) -> NDArray[Any]:
        """Return the indices as int32."""
        values = raw.numbers(column)
        index = np.searchsorted(np.asarray(self.boundaries, dtype=np.float64), values, side="right") + 1
        return np.where(np.isnan(values), 0, index).astype(np.int32)


Feature = Numeric | Category | Bucket
KINDS: dict[str, type[Numeric] | type[Category] | type[Bucket]] = {
    kind.kind: kind for kind in (Numeric, Category, Bucket)
}
