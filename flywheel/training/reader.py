"""Which rows of examples are read, and where reading begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flywheel.artifacts import VALIDATION, Examples

_ROWS = 64 * 1024


class Reader:
    """Some rows of some spans.

    Args:
        examples: The examples.
        spans: Which spans, oldest first.
        start: First row, counted over all spans.
        stop: Row to stop before; None for all.
        held: Only those that `source.split` holds back for validation, or only the others; None for both.
    """

    def __init__(
        self,
        examples: Examples,
        spans: Sequence[str],
        start: int = 0,
        stop: int | None = None,
        held: bool | None = None,
    ) -> None:
        self._examples, self._spans, self.held = examples, tuple(spans), held
        every = examples.rows_of(spans) if held is None else self._count()
        self._start, self._stop = start, every if stop is None else min(stop, every)

    def __len__(self) -> int:
        return max(0, self._stop - self._start)

    @staticmethod
    def by_key(examples: Examples) -> bool:
        """Return whether `source.split` chose the rows to validate on."""
        return VALIDATION in examples.schema.names

    def batches(self, columns: Sequence[str], skip: int = 0) -> Iterator[pa.RecordBatch]:
        """Yield record batches, oldest span first, without the first `skip` rows."""
        start = self._start + skip
        position, batches = self._read(list(columns), start)
        for batch in batches:
            if position >= self._stop:
                return
            first, last = max(start - position, 0), min(self._stop - position, batch.num_rows)
            position += batch.num_rows
            if first < last:
                yield batch.slice(first, last - first)

    def tables(self, columns: Sequence[str], rows: int, skip: int = 0) -> Iterator[pa.Table]:
        """Yield tables of `rows` rows, the last of fewer, without the first `skip` tables."""
        held: list[pa.RecordBatch] = []
        there = 0
        for batch in self.batches(columns, skip * rows):
            held.append(batch)
            there += batch.num_rows
            while there >= rows:
                table = pa.Table.from_batches(held)
                yield table.slice(0, rows)
                held, there = table.slice(rows).to_batches(), there - rows
        if there:
            yield pa.Table.from_batches(held)

    def _read(self, columns: list[str], start: int) -> tuple[int, Iterator[pa.RecordBatch]]:
        """Return record batches and the number of the first row in them, which is at most `start`."""
        if self.held is not None:
            return 0, self._chosen(columns)
        position, shards = 0, [shard for _, shard in self._examples.shards(self._spans)]
        if start:
            while shards and position + (rows := pq.read_metadata(shards[0]).num_rows) <= start:
                position, shards = position + rows, shards[1:]
        return position, self._of_shards(shards, columns)

    def _of_shards(self, shards: list[Path], columns: list[str]) -> Iterator[pa.RecordBatch]:
        for shard in shards:
            self._examples.check(shard)
            with pq.ParquetFile(shard) as file:
                yield from file.iter_batches(_ROWS, columns=columns)

    def _chosen(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of all spans that are held back, or the others."""
        for _, batch in self._examples.batches(self._spans, [*columns, VALIDATION]):
            table = pa.Table.from_batches([batch]).select(columns).filter(pa.array(self._mask(batch)))
            yield from table.to_batches()

    def _count(self) -> int:
        masks = (self._mask(batch) for _, batch in self._examples.batches(self._spans, [VALIDATION]))
        return sum(int(np.count_nonzero(mask)) for mask in masks)

    def _mask(self, batch: pa.RecordBatch) -> NDArray[np.bool_]:
        held = batch.column(batch.schema.get_field_index(VALIDATION)).to_numpy(zero_copy_only=False)
        return np.asarray(held == self.held)
