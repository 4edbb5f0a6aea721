"""Features that are one index: a place in a vocabulary, or a hash of one or several columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flywheel.transform import hashing, raw
from flywheel.transform.bad_rows import BadRows
from flywheel.transform.feature import Feature
from flywheel.transform.inputs import Input


@dataclass(frozen=True, kw_only=True)
class Vocabulary(Feature):
    """What all kinds with a vocabulary learn: 0 is missing, then come the values not in it, then its own.

    Attributes:
        top: The vocabulary holds at most this many values.
        minimum: Each of them stands in the window at least this often.
        oov: Values that are not in it share so many indices, by their hash.
        vocabulary: Values of the training window, the most frequent first; of equal frequency, the smaller first.
        unknown: How many values of the window are not in the vocabulary.
        missing: How many are missing.
        distinct: How many different values the window has; about as many when counts are not exact.
        error: How much too small a count may be; 0 when all were counted exactly.
    """

    top: int = 1000
    minimum: int = 1
    oov: int = 1
    vocabulary: tuple[str | float, ...] = ()
    unknown: int = 0
    missing: int = 0
    distinct: int = 0
    error: int = 0

    @property
    def cardinality(self) -> int:
        """One more than the largest index."""
        return 1 + self.oov + len(self.vocabulary)

    def index(self, column: pa.Array) -> NDArray[np.int32]:
        """Return the index of each value of a column of texts or numbers."""
        values, missing = plain(column)
        known = pa.array(self.vocabulary, values.type)
        place = pc.index_in(values, value_set=known).fill_null(-1).to_numpy(zero_copy_only=False)
        index = place + 1 + self.oov
        unknown = (place < 0) & ~missing
        if self.oov == 1:
            index[unknown] = 1
        elif unknown.any():
            index[unknown] = 1 + hashes(values.filter(pa.array(unknown)))[0] % np.uint64(self.oov)
        return np.where(missing, 0, index).astype(np.int32)


@dataclass(frozen=True, kw_only=True)
class Category(Vocabulary):
    """A value as its index in a vocabulary."""

    kind: ClassVar[str] = "category"
    forms: ClassVar[tuple[str, ...]] = ("number", "text")

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The index."""
        return (Input(self.name, "category", self.cardinality, dtype="int32"),)

    def apply(self, columns: Sequence[pa.Array], bad: BadRows) -> tuple[pa.Array, ...]:
        """Return the indices as int32."""
        return (pa.array(self.index(columns[0])),)


@dataclass(frozen=True, kw_only=True)
class Hash(Feature):
    """A value, or several columns' values crossed, as one of `buckets` indices by a hash; 0 when all are missing.

    Attributes:
        buckets: How many indices there are beside 0.
        distinct: About how many different values (or combinations) the window has.
        missing: Rows of the window in which all are missing.
    """

    kind: ClassVar[str] = "hash"
    forms: ClassVar[tuple[str, ...]] = ("number", "text")
    buckets: int = 1000
    distinct: int = 0
    missing: int = 0

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The index."""
        return (Input(self.name, "category", self.buckets + 1, dtype="int32"),)

    def apply(self, columns: Sequence[pa.Array], bad: BadRows) -> tuple[pa.Array, ...]:
        """Return the indices as int32."""
        hashed, missing = crossed(columns)
        index = np.where(missing, 0, 1 + (hashed % np.uint64(self.buckets)).astype(np.int64))
        return (pa.array(index.astype(np.int32)),)


@dataclass(frozen=True, kw_only=True)
class Cross(Hash):
    """The combination of several columns' values, hashed; a missing one of them is a value like any other."""

    kind: ClassVar[str] = "cross"


def plain(column: pa.Array) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Return a column of texts or numbers in its one form, and where it is missing."""
    if raw.is_number(column.type):
        found = raw.numbers(column)
        return pa.array(found), np.isnan(found)
    values = raw.texts(column)
    return values, raw.nulls(values)


def hashes(column: pa.Array) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the hash of each value of a column of texts or numbers, and where it is missing."""
    values, missing = plain(column)
    if pa.types.is_floating(values.type):
        return hashing.of_numbers(values.to_numpy(zero_copy_only=False)), missing
    return hashing.of_texts(values), missing


def crossed(columns: Sequence[pa.Array]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return one hash a row of all columns, and where all are missing."""
    parts = [hashes(column) for column in columns]
    if len(parts) == 1:
        return parts[0]
    words = [np.where(missing, np.uint64(0), found) for found, missing in parts]
    return hashing.of_words(*words), np.logical_and.reduce([missing for _, missing in parts])
