"""Profiles of record batches: counts are exact, distributions and links are those of a sample chosen by hash.

Streamed: besides counts of words, never more than a few tens of thousands of rows are held. A span with fewer rows than
that is its own sample, so everything about it is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flywheel.profiles.keys import Keys
from flywheel.profiles.links import links
from flywheel.profiles.profile import Column, Floats, Hashes, Profile

if TYPE_CHECKING:
    import pyarrow as pa

_SAMPLE = 32 * 1024
_HASHES = 8192
_ROWS = 1000
_WORDS = 512
_POINTS = 128
_LAST_DIGITS = 10


@dataclass(frozen=True)
class Rows:
    """Some rows of a span, the same ones each time: numbers with NaN for nulls, words as objects with None.

    Attributes:
        columns: Values by column, all of one length.
        time: The first column of times that are not all the same; empty when there is none.
    """

    columns: Mapping[str, NDArray[Any]]
    time: str = ""

    @property
    def times(self) -> Floats | None:
        """When each row was, NaN for nulls; None when no column says so."""
        return self.columns[self.time] if self.time else None


def hash_values(values: NDArray[Any]) -> Hashes:
    """Return a hash of each value, the same in every process; nulls have one of their own."""
    from pandas.util import hash_array

    return np.asarray(hash_array(values if values.dtype == object else values + 0.0))  # -0.0 is 0.0


def profile_of(
    batches: Iterable[pa.RecordBatch],
    start: datetime,
    label: str = "",
    leave_out: Sequence[str] = (),
    key: Sequence[str] = (),
) -> tuple[Profile, Rows]:
    """Return the profile of one span's rows, and a thousand of them; of no rows, one without columns.

    Args:
        batches: The rows, all of one schema.
        start: When the span begins (UTC, without zone): times are counted from there.
        label: Column to predict; none, and the profile has no label rate.
        leave_out: Columns not to look at.
        key: Columns that together name a row.
    """
    sample, keys = _Sample(), Keys(key)
    counts: dict[str, _Counts] = {}
    rows = 0
    for size, plain in _plain_batches(batches, start, leave_out):
        for name, values in plain.items():
            counts.setdefault(name, _Counts(values.kind)).add(values)
        sample.add(plain)
        keys.add(plain)
        rows += size
    return _summed(rows, counts, sample, keys, label), sample.rows()


def rows_of(batches: Iterable[pa.RecordBatch], start: datetime, leave_out: Sequence[str] = ()) -> Rows:
    """Return the same rows as `profile_of`, without the profile."""
    sample = _Sample()
    for _, plain in _plain_batches(batches, start, leave_out):
        sample.add(plain)
    return sample.rows()


def _plain_batches(
    batches: Iterable[pa.RecordBatch], start: datetime, leave_out: Sequence[str]
) -> Iterator[tuple[int, dict[str, Values]]]:
    for batch in batches:
        given = [item for item in zip(batch.schema.names, batch.columns, strict=True) if item[0] not in leave_out]
        yield batch.num_rows, {name: _plain(array, start) for column in given for name, array in _fields(*column)}


class Values:
    """A column of a batch as NumPy sees it: numbers with NaN for nulls, or words with codes (-1 for null)."""

    def __init__(self, kind: str, numbers: Floats | None = None, codes: Any = None, words: Any = None) -> None:
        self.kind = kind
        self.numbers = numbers if numbers is not None else np.empty(0)
        self.codes: NDArray[np.int64] = codes if codes is not None else np.empty(0, np.int64)
        self.words: NDArray[Any] = words if words is not None else np.empty(0, object)

    def hashes(self) -> Hashes:
        """Return a hash of each value, the same in every process."""
        if self.kind != "word":
            return hash_values(self.numbers)
        return hash_values(np.append(self.words, np.array([None], object)))[self.codes]


def _fields(name: str, array: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """Yield a column, or the fields of a struct as `name/field`, as its statistics have them."""
    import pyarrow as pa

    if not pa.types.is_struct(array.type):
        yield name, array
        return
    for field, part in zip(array.type, array.flatten(), strict=True):
        yield from _fields(f"{name}/{field.name}", part)


def _plain(array: pa.Array, start: datetime) -> Values:
    """Return a column as numbers or words; a list counts by its length."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_dictionary(kind):
        array, kind = array.dictionary_decode(), kind.value_type
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        return Values("time", _seconds(array, start))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        array, kind = pc.list_value_length(array), pa.int32()
    if pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        array, kind = array.cast(pa.int8() if pa.types.is_boolean(kind) else pa.float64()), pa.float64()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return Values("number", np.where(np.isfinite(numbers), numbers, np.nan))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        array = pc.binary_length(array)
        return Values("number", array.cast(pa.float64()).to_numpy(zero_copy_only=False))
    encoded = array.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Values("word", codes=codes, words=encoded.dictionary.to_numpy(zero_copy_only=False))


def _seconds(array: pa.Array, start: datetime) -> Floats:
    """Return times as seconds since `start`, times of day as seconds since midnight."""
    import pyarrow as pa

    if pa.types.is_time(array.type):
        whole = array.cast(pa.int32() if pa.types.is_time32(array.type) else pa.int64())
        unit = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[array.type.unit]
        return np.asarray(whole.cast(pa.float64()).to_numpy(zero_copy_only=False) / unit)
    stamps = array.cast(pa.timestamp("us")) if pa.types.is_date(array.type) else array
    unit = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[stamps.type.unit]
    epoch = (start - datetime(1970, 1, 1)).total_seconds()
    seconds = stamps.cast(pa.int64()).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) / unit
    return np.asarray(seconds - epoch)


class _Counts:
    """What is counted of a column in every row, however many there are."""

    def __init__(self, kind: str) -> None:
        self.kind, self.rows, self.nulls, self.zeros, self.whole, self.length = kind, 0, 0, 0, 0, 0
        self.words: dict[str, int] = {}
        self.mark = np.uint64(0)

    def add(self, values: Values) -> None:
        with np.errstate(over="ignore"):
            self.mark += (values.hashes() * np.uint64(0xFF51AFD7ED558CCD)).sum(dtype=np.uint64)
        if values.kind != "word":
            present = values.numbers[~np.isnan(values.numbers)]
            self.rows += len(values.numbers)
            self.nulls += len(values.numbers) - len(present)
            self.zeros += int(np.count_nonzero(present == 0))
            self.whole += int(np.count_nonzero(present == np.floor(present)))
            return
        counted = np.bincount(values.codes + 1, minlength=len(values.words) + 1)
        self.rows += len(values.codes)
        self.nulls += int(counted[0])
        for word, count in zip(values.words.tolist(), counted[1:].tolist(), strict=True):
            self.words[word] = self.words.get(word, 0) + count
            self.length += count * len(word)
            self.zeros += count * (not word.strip())
            self.whole += count * (word.isascii() and word == word.strip())


class _Sample:
    """The rows with the smallest hashes: the same ones whatever the order and the batches."""

    def __init__(self) -> None:
        self.hashes: Hashes = np.empty(0, np.uint64)
        self.numbers: dict[str, Floats] = {}
        self.words: dict[str, NDArray[Any]] = {}
        self._hashed: list[str] | None = None
        self._times: list[str] = []

    def add(self, columns: Mapping[str, Values]) -> None:
        each = {name: values.hashes() for name, values in columns.items()}
        if self._hashed is None:  # a weekday says nothing about a row of a day, and hides that it is yesterday's
            told = [name for name, values in columns.items() if values.kind != "time" and np.ptp(each[name]) > 0]
            self._hashed = told or list(columns)
            self._times = [name for name, values in columns.items() if values.kind == "time"]
        size = len(next(iter(each.values()), ()))
        hashes = np.zeros(size, np.uint64)
        with np.errstate(over="ignore"):
            for name in self._hashed:
                hashes = (hashes ^ each[name]) * np.uint64(0x9E3779B97F4A7C15)
                hashes ^= hashes >> np.uint64(29)
        self.hashes = np.concatenate([self.hashes, hashes])
        for name, values in columns.items():
            store: dict[str, Any] = self.words if values.kind == "word" else self.numbers
            given = np.append(values.words, np.array([None]))[values.codes] if values.kind == "word" else values.numbers
            store[name] = np.concatenate([store[name], given]) if name in store else given
        if len(self.hashes) > 2 * _SAMPLE:
            self.shrink()

    def shrink(self) -> None:
        """Keep the smallest hashes, every row of each."""
        if len(self.hashes) > _SAMPLE:
            kept = np.flatnonzero(self.hashes <= np.partition(self.hashes, _SAMPLE)[_SAMPLE])
            self.hashes = self.hashes[kept]
            for store in (self.numbers, self.words):
                for name, values in store.items():
                    store[name] = values[kept]  # type: ignore[index]

    def rows(self) -> Rows:
        """Return those with the thousand smallest hashes."""
        chosen = np.argsort(self.hashes, kind="stable")[:_ROWS]
        columns = {name: values[chosen] for name, values in {**self.numbers, **self.words}.items()}
        varied = (name for name in self._times if len(np.unique(columns[name][~np.isnan(columns[name])])) > 1)
        return Rows(columns, next(varied, ""))


def _summed(rows: int, counts: Mapping[str, _Counts], sample: _Sample, keys: Keys, label: str) -> Profile:
    sample.shrink()
    names = list(counts) if rows else []
    columns = {name: _column(counts[name], rows, sample.numbers.get(name)) for name in names}
    distinct = np.unique(sample.hashes)
    labels = sample.numbers.get(label, np.empty(0))
    seen = labels[~np.isnan(labels)]
    codes = {name: _codes(words) for name, words in sample.words.items()}
    return Profile(
        rows=rows,
        columns=columns,
        label_rate=float(seen.mean()) if len(seen) else np.nan,
        links=links(sample.numbers, codes, names),
        repeated=1 - len(distinct) / len(sample.hashes) if rows else 0.0,
        hashes=distinct[:_HASHES],
        keys=keys.hashes,
        keyed=keys.columns,
    )


def _codes(words: NDArray[Any]) -> NDArray[np.int64]:
    from pandas import factorize

    codes: NDArray[np.int64] = factorize(words)[0].astype(np.int64)
    return codes


def _column(counts: _Counts, rows: int, sampled: Floats | None) -> Column:
    present = max(counts.rows - counts.nulls, 1)
    missing = 1 - (counts.rows - counts.nulls) / rows
    told: dict[str, Any] = {"nulls": missing, "zeros": counts.zeros / present, "whole": counts.whole / present}
    if counts.kind == "word":
        frequent = sorted(counts.words.items(), key=lambda item: (-item[1], item[0]))[:_WORDS]
        values = {word: count / present for word, count in frequent if count}
        length = counts.length / present
        distinct = sum(count > 0 for count in counts.words.values())
        return Column("word", **told, length=length, distinct=distinct, values=values, mark=int(counts.mark))
    numbers = sampled if sampled is not None else np.empty(0)
    told["points"], told["masses"], distinct = _distribution(numbers)
    if counts.kind == "number" and told["whole"] == 1.0:
        told["digits"] = _digits(numbers)
    return Column(counts.kind, **told, distinct=distinct, mark=int(counts.mark))


def _digits(values: Floats) -> Floats:
    """Return the share of whole numbers that end with each digit; nothing for fewer than ten different ones."""
    present = values[~np.isnan(values)]
    if len(np.unique(present)) < _LAST_DIGITS:
        return np.empty(0)
    last = (np.abs(present) % _LAST_DIGITS).astype(int)
    return np.asarray(np.bincount(last, minlength=_LAST_DIGITS) / len(last))


def _distribution(values: Floats) -> tuple[Floats, Floats, int]:
    """Return points and their masses, every value while there are few, else quantiles; and how many values."""
    present = values[~np.isnan(values)]
    found, counts = np.unique(present, return_counts=True)
    if len(found) <= _POINTS:
        return found, counts / max(counts.sum(), 1), len(found)
    # Of each 1/128 of the rows the value in its middle, and both ends
    points = np.quantile(present, (np.arange(_POINTS) + 0.5) / _POINTS, method="nearest")
    points[0], points[-1] = present.min(), present.max()
    return points, np.full(_POINTS, 1 / _POINTS), len(found)
