"""Counts of some rows: they take further rows, merge with others, and end as TFDV's statistics."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from tensorflow_data_validation import constants
from tensorflow_data_validation.statistics import stats_impl, stats_options
from tfx_bsl.arrow import array_util

from flywheel.errors import DataError
from flywheel.statistics.columns import canonical
from flywheel.statistics.histograms import finished
from flywheel.statistics.options import DEFAULT, Options

ALL = constants.DEFAULT_SLICE_KEY
"""What TFDV calls the slice of all rows, so that its tools find it among the others."""
MOST_SLICES = 500


class Partial:
    """TFDV's accumulators of some rows, one list of them a slice.

    Pickling one keeps all that it counted, in some 200 kB however many rows there were.
    """

    def __init__(self, options: Options = DEFAULT) -> None:
        self.options = options
        self.rows = 0
        self._slices: dict[str, list[Any]] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Take the rows of `batch`; each call costs some 6 ms and 0.1 ms for a thousand values, and so does each slice.

        Raises:
            DataError: A column of the options is not there, a weight is missing or negative, or there are too many
                slices.
        """
        if not batch.num_rows:
            return
        rows = canonical(batch)
        if self.options.weight is not None:
            _check_weights(rows, self.options.weight)
        for name, part in self._sliced(rows):
            counted = self._slices.get(name) or [each.create_accumulator() for each in _generators(self.options)]
            pairs = zip(_generators(self.options), counted, strict=True)
            with np.errstate(all="ignore"):  # means of infinities are no numbers, and no news
                self._slices[name] = [generator.add_input(counts, part) for generator, counts in pairs]
        self.rows += rows.num_rows

    def check(self, schema: pa.Schema) -> None:
        """Raise a DataError unless rows of `schema` can be counted, and have the columns that the options name."""
        rows = canonical(pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema))
        if self.options.weight is not None:
            _check_weights(rows, self.options.weight)
        for column in self.options.slices:
            _find(rows, column, "statistics.slices")

    def merge(self, other: Partial) -> None:
        """Take the rows that another one of the same options counted; the other stays as it is."""
        for name, theirs in other._slices.items():
            mine = self._slices.get(name)
            if mine is None:  # TFDV's accumulators share what they take over from each other: a copy does not
                self._slices[name] = pickle.loads(pickle.dumps(theirs))
                continue
            triples = zip(_generators(self.options), mine, theirs, strict=True)
            with np.errstate(all="ignore"):
                self._slices[name] = [generator.merge_accumulators([one, two]) for generator, one, two in triples]
        self._check_slices()
        self.rows += other.rows

    def statistics(self, name: str = "") -> Any:
        """Return TFDV's `DatasetFeatureStatisticsList`: all rows first, and then the slices by name.

        Args:
            name: What TFDV shall call the data set. With slices, it has its own name for all rows.

        Raises:
            DataError: There are no rows.
        """
        if not self.rows:
            raise DataError(f"{name or 'the data'} has no rows to make statistics of", "extract a span that has rows.")
        generators = _generators(self.options)
        counts = pickle.loads(pickle.dumps(self._slices))  # sketches that were read from take no more values
        with np.errstate(all="ignore"):
            found = finished(generators, counts.pop(ALL))
            found.datasets[0].name = ALL if self.options.slices else name
            for key in sorted(counts):
                dataset = found.datasets.add()
                dataset.CopyFrom(finished(generators, counts[key]).datasets[0])
                dataset.name = key
        return found

    def _sliced(self, rows: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
        yield ALL, rows
        for column in self.options.slices:
            yield from _slices(rows, column)
            self._check_slices()

    def _check_slices(self) -> None:
        if len(self._slices) > MOST_SLICES:
            shown = ", ".join(sorted(self._slices)[1:4])
            raise DataError(
                f"there are more than {MOST_SLICES} slices to make statistics of: {shown}, …",
                "name columns with few values in statistics.slices of flywheel.yaml.",
            )


def _slices(rows: pa.RecordBatch, column: str) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yield (slice, its rows) for each value of `column`, named as TFDV does; a list is in those of all its values.

    Not by TFDV's own slicer: the function by which it takes rows crashes where a column is null in a whole batch.
    """
    values, owners = array_util.flatten_nested(rows.column(rows.schema.get_field_index(column)), True)
    encoded = values.dictionary_encode()
    pairs = np.unique(np.stack([np.asarray(encoded.indices, np.int64), np.asarray(owners, np.int64)]), axis=1)
    starts = np.flatnonzero(np.diff(pairs[0], prepend=-1))
    for value, chosen in zip(encoded.dictionary.to_pylist(), np.split(pairs[1], starts[1:]), strict=True):
        shown = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        yield f"{column}_{shown}", rows.take(pa.array(chosen))


def merged(partials: Iterable[Partial], options: Options) -> Partial:
    """Return one of all rows of `partials`, which stay as they are."""
    whole = Partial(options)
    for partial in partials:
        whole.merge(partial)
    return whole


@lru_cache(maxsize=8)
def _generators(options: Options) -> list[Any]:
    found: list[Any] = stats_impl.get_generators(_tfdv(options), in_memory=True)
    return found


def _tfdv(options: Options) -> stats_options.StatsOptions:
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = text_format.Parse(options.schema, schema_pb2.Schema()) if options.schema else None
    return stats_options.StatsOptions(schema=schema, weight_feature=options.weight)


def _find(rows: pa.RecordBatch, column: str, key: str) -> pa.Array:
    index = rows.schema.get_field_index(column)
    if index < 0:
        raise DataError(
            f"{key} names the column {column!r}, which the rows do not have, only {', '.join(rows.schema.names)}",
            f"have the query give it, or mend {key} in flywheel.yaml.",
        )
    return rows.column(index)


def _check_weights(rows: pa.RecordBatch, column: str) -> None:
    found = _find(rows, column, "statistics.weight")
    values, _ = array_util.flatten_nested(found)
    if pa.types.is_large_binary(values.type):
        raise DataError(f"the weight {column!r} is no number", "name a column of numbers in statistics.weight.")
    weights = np.asarray(values, np.float64)
    wrong = int(np.sum(~np.isfinite(weights) | (weights < 0)))
    missing = int(np.sum(np.asarray(array_util.ListLengthsFromListArray(found)) != 1))
    if wrong or missing:
        raise DataError(
            f"{missing} of {rows.num_rows} rows have no single weight {column!r}, and in {wrong} it is not 0 or more",
            f"give every row a weight in the query, as by COALESCE({column}, 1).",
        )
