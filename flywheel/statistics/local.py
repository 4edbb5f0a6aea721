"""TFDV statistics of record batches, in process and streamed: memory stays flat, the files are TFDV's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import TYPE_CHECKING, Any

from flywheel.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 64 * 1024


def summarize(batches: Iterable[pa.RecordBatch], name: str = "") -> Any:
    """Return TFDV's statistics of all rows, a `DatasetFeatureStatisticsList`; never more than 64k rows in memory.

    Args:
        batches: Rows; times and dates count as whole numbers, exact decimals as floating ones.
        name: What TFDV shall call the data set.

    Raises:
        DataError: There are no rows.
    """
    from tensorflow_data_validation.statistics import stats_impl, stats_options
    from tfx_bsl.arrow.table_util import CanonicalizeRecordBatch

    options = stats_options.StatsOptions()
    generators = stats_impl.get_generators(options, in_memory=True)

    def summarized(batch: pa.RecordBatch) -> list[Any]:
        canonical = CanonicalizeRecordBatch(_supported(batch))
        partial: list[Any] = stats_impl.generate_partial_statistics_in_memory(canonical, options, generators)
        return partial

    def merged(left: list[Any], right: list[Any]) -> list[Any]:
        return [one.merge_accumulators(pair) for one, *pair in zip(generators, left, right, strict=True)]

    partials = (summarized(batch) for batch in _together(batches))
    first = next(partials, None)
    if first is None:
        raise DataError(f"{name or 'the data'} has no rows to make statistics of", "extract a span that has rows.")
    found = stats_impl.extract_statistics_output(reduce(merged, partials, first), generators)
    found.datasets[0].name = name
    return found


def _together(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in batches of about 64k: each costs TFDV some 20 ms, however few rows it has."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        if waiting and sum(each.num_rows for each in waiting) + batch.num_rows > _BATCH_ROWS:
            yield pa.Table.from_batches(waiting).combine_chunks().to_batches()[0]
            waiting = []
        if batch.num_rows:
            waiting.append(batch)
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks().to_batches()[0]


def _supported(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return `batch` with types that TFDV knows."""
    import pyarrow as pa

    arrays = []
    for array in batch.columns:
        if pa.types.is_temporal(array.type):
            width = pa.int32() if array.type in (pa.date32(), pa.time32("s"), pa.time32("ms")) else pa.int64()
            array = array.cast(width).cast(pa.int64())
        elif pa.types.is_boolean(array.type):
            array = array.cast(pa.int64())
        elif pa.types.is_decimal(array.type):
            array = array.cast(pa.float64())
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
