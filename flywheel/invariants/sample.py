"""Rows to look for invariants in: every column as small numbers, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from flywheel.artifacts.examples import joined
from flywheel.invariants.hashing import combined, hashed, ranked

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = 300_000
_BLOCK = 1_000


@dataclass(frozen=True)
class Column:
    """One column of the sample.

    Attributes:
        name: Of it.
        codes: Which distinct value each row has, from 0; -1 for a null.
        distinct: How many distinct values it has.
        numbers: Its values as numbers that compare as they do, NaN or 0 for a null; None where values have no order.
        kind: `whole`, `number`, `time` or `other`.
    """

    name: str
    codes: NDArray[np.int64]
    distinct: int
    numbers: NDArray[Any] | None
    kind: str

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Which rows have a value."""
        return np.asarray(self.codes >= 0)

    @property
    def names_things(self) -> bool:
        """Whether its values may name something: no measurement does, nor what is always the same or mostly missing."""
        return self.kind != "number" and self.distinct > 1 and bool(self.valid.mean() >= 0.5)

    @cached_property
    def alike(self) -> float:
        """The chance that two different rows have the same value."""
        counts = np.bincount(self.codes[self.valid], minlength=1).astype(float)
        rows = counts.sum()
        return float((counts * (counts - 1)).sum() / max(1.0, rows * (rows - 1)))


def columns_of(batches: Iterable[pa.RecordBatch], leave_out: Sequence[str], rows: int = ROWS) -> list[Column]:
    """Return the columns of `batches`; of more than `rows` rows whole blocks of 1,000, evenly spread.

    Blocks stay together, since what repeats (the flights of one hour) stands together in most data. Nested columns are
    left out.
    """
    kept: list[dict[str, tuple[Any, ...]]] = []
    kinds: dict[str, str] = {}
    every, number = 1, 0
    for block in _blocks(batches):
        kinds = kinds or {field.name: _kind(field.type) for field in block.schema if field.name not in leave_out}
        if number % every == 0:
            kept.append({name: _looked_at(block.column(block.schema.get_field_index(name))) for name in kinds})
            if len(kept) * _BLOCK > rows:
                kept, every = kept[::2], every * 2
        number += 1
    return [_column(name, kind, [block[name] for block in kept]) for name, kind in kinds.items() if kind]


def together(columns: Sequence[Column], rows: NDArray[Any] | slice = slice(None)) -> NDArray[np.uint64]:
    """Return one hash a row of what the columns hold there."""
    return combined([column.codes[rows].view(np.uint64) for column in columns])


def filled(columns: Sequence[Column], first: int | None = None) -> NDArray[np.intp]:
    """Return the rows, of the `first` ones if it is given, in which every column has a value."""
    return np.flatnonzero(np.logical_and.reduce([column.codes[:first] >= 0 for column in columns]))


def _blocks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in batches of 1,000, the last one smaller."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= _BLOCK:
            whole = joined(waiting)
            full = rows - rows % _BLOCK
            yield from (whole.slice(start, _BLOCK) for start in range(0, full, _BLOCK))
            waiting, rows = [whole.slice(full)], rows - full
    if rows:
        yield joined(waiting)


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_nested(kind) or pa.types.is_null(kind):
        return ""
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_integer(kind):
        return "whole"
    return "time" if pa.types.is_temporal(kind) else "other"


def _looked_at(array: pa.Array) -> tuple[Any, ...]:
    if not _kind(array.type):
        return ()
    hashes, valid = hashed(array)
    numbers = ranked(array)
    return hashes, valid, numbers[0] if numbers else None


def _column(name: str, kind: str, blocks: Sequence[tuple[Any, ...]]) -> Column:
    hashes, valid = (np.concatenate([block[part] for block in blocks]) for part in (0, 1))
    values, inverse = np.unique(hashes[valid], return_inverse=True)
    codes = np.full(len(hashes), -1, np.int64)
    codes[valid] = inverse
    numbers = None if blocks[0][2] is None else np.concatenate([block[2] for block in blocks])
    return Column(name, codes, len(values), numbers, kind)
