"""Features of several values a row: lists, texts that stand for lists, and words of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flywheel.transform import hashing, raw
from flywheel.transform.bad_rows import BadRows
from flywheel.transform.categories import Vocabulary
from flywheel.transform.feature import Feature, fixed
from flywheel.transform.inputs import Input


@dataclass(frozen=True, kw_only=True)
class List(Vocabulary):
    """A list as the indices of its first `length` elements, padded with 0; a missing list is an empty one.

    Attributes:
        length: How many elements the model sees.
        separator: What stands between the elements of a text; empty when the column has lists.
    """

    kind: ClassVar[str] = "list"
    forms: ClassVar[tuple[str, ...]] = ("list", "text")
    length: int = 20
    separator: str = ""

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The indices."""
        return (Input(self.name, "ids", self.cardinality, (self.length,), "int32"),)

    def apply(self, columns: Sequence[pa.Array], bad: BadRows) -> tuple[pa.Array, ...]:
        """Return the indices as int32, `length` a row."""
        return (padded(elements(columns[0], self.separator), self.index, self.length),)


@dataclass(frozen=True, kw_only=True)
class MultiHot(Vocabulary):
    """A list as a vector with a 1 for each value that it holds; first stand the places of values never seen.

    Attributes:
        separator: What stands between the elements of a text; empty when the column has lists.
    """

    kind: ClassVar[str] = "multi_hot"
    forms: ClassVar[tuple[str, ...]] = ("list", "text")
    separator: str = ""

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The vector."""
        return (Input(self.name, "multi_hot", None, (self.cardinality - 1,)),)

    def apply(self, columns: Sequence[pa.Array], bad: BadRows) -> tuple[pa.Array, ...]:
        """Return the places of the ones."""
        found = elements(columns[0], self.separator)
        index = self.index(found.values)
        return (ragged(index[index > 0] - 1, found.rows[index > 0], len(found.lengths)),)


@dataclass(frozen=True, kw_only=True)
class Text(Vocabulary):
    """The words of a text, in lower case, as the indices of the first `length` of them, padded with 0.

    Attributes:
        length: How many words the model sees.
    """

    kind: ClassVar[str] = "text"
    forms: ClassVar[tuple[str, ...]] = ("text",)
    length: int = 20

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The indices."""
        return (Input(self.name, "ids", self.cardinality, (self.length,), "int32"),)

    def apply(self, columns: Sequence[pa.Array], bad: BadRows) -> tuple[pa.Array, ...]:
        """Return the indices as int32, `length` a row."""
        return (padded(words(columns[0]), self.index, self.length),)


@dataclass(frozen=True, kw_only=True)
class Ngrams(Feature):
    """How often each run of 1 to `ngrams` words of a text occurs, in `buckets` places by a hash; learns nothing.

    Attributes:
        ngrams: Longest run.
        buckets: How many places there are.
        missing: Rows of the window without a text.
    """

    kind: ClassVar[str] = "ngrams"
    forms: ClassVar[tuple[str, ...]] = ("text",)
    ngrams: int = 1
    buckets: int = 256
    missing: int = 0

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The counts."""
        return (Input(self.name, "counts", None, (self.buckets,)),)

    def apply(self, columns: Sequence[pa.Array], bad: BadRows) -> tuple[pa.Array, ...]:
        """Return the place of each run, as often as it occurs."""
        found = words(columns[0])
        rows, single = found.rows, hashing.of_texts(found.values)
        places, where = [single % np.uint64(self.buckets)], [rows]
        for size in range(2, self.ngrams + 1):
            runs = np.flatnonzero(rows[: len(rows) - size + 1] == rows[size - 1 :])
            hashed = hashing.of_words(*(single[runs + step] for step in range(size)))
            places.append(hashed % np.uint64(self.buckets))
            where.append(rows[runs])
        order = np.argsort(np.concatenate(where), kind="stable")
        return (ragged(np.concatenate(places)[order], np.concatenate(where)[order], len(found.lengths)),)


def elements(column: pa.Array, separator: str) -> raw.Lists:
    """Return the elements of a column of lists, or of texts that are cut at `separator`; empty pieces are left out."""
    if raw.form(column.type) == "list":
        return raw.lists(column)
    return _filled(raw.lists(pc.split_pattern(raw.texts(column), separator)))


def words(column: pa.Array) -> raw.Lists:
    """Return the words of a column of texts: runs of letters and digits, in lower case."""
    lower = pc.utf8_lower(raw.texts(column))
    return _filled(raw.lists(pc.split_pattern(pc.replace_substring_regex(lower, r"[^\pL\pM\pN]+", " "), " ")))


def padded(found: raw.Lists, index: Any, length: int) -> pa.Array:
    """Return the indices of the first `length` elements of each row, with zeros after the last one."""
    matrix = np.zeros((len(found.lengths), length), np.int32)
    places = found.places
    seen = places < length
    matrix[found.rows[seen], places[seen]] = index(found.values.filter(pa.array(seen)))
    return fixed(matrix, length)


def ragged(values: NDArray[Any], rows: NDArray[np.int64], count: int) -> pa.Array:
    """Return values of ascending rows as one column of lists."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.astype(np.int32)))


def _filled(found: raw.Lists) -> raw.Lists:
    """Return the lists without their empty texts."""
    kept = pc.not_equal(found.values, "").fill_null(True)
    mask = kept.to_numpy(zero_copy_only=False).astype(bool)
    lengths = np.bincount(found.rows[mask], minlength=len(found.lengths)).astype(np.int64)
    return raw.Lists(found.values.filter(kept), lengths, found.missing)
