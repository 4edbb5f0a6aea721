"""TFDV statistics of record batches, in process and streamed: memory stays flat, the files are TFDV's own."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_FILE = "schema.pbtxt"
_BATCH_ROWS = 64 * 1024
_LEAST_MASS = 0.99
_LEAST_PRESENT = 0.9


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


def infer_schema(statistics: Any) -> Any:
    """Return the schema that `statistics` suggest, with room for what a normal day brings.

    TFDV's own inference, and then: a category may be new in up to 1% of the rows that have one (a new destination is
    no alarm, a renamed carrier is), and a column may lack a tenth of the values that it had. Both stand in the schema,
    for people to tighten.

    Args:
        statistics: A `DatasetFeatureStatisticsList` of many spans together.
    """
    import tensorflow_data_validation as tfdv

    schema = tfdv.infer_schema(statistics, infer_feature_shape=False)  # a fixed shape forbids any missing value
    rows = statistics.datasets[0].num_examples
    present = {feature.path.step[0]: common(feature).num_non_missing / rows for feature in features(statistics)}
    for feature in schema.feature:
        feature.presence.min_fraction = round(present[feature.name] * _LEAST_PRESENT, 3)
        if feature.WhichOneof("domain_info") in ("domain", "string_domain"):
            feature.distribution_constraints.min_domain_mass = _LEAST_MASS
    return schema


def for_one_span(schema: Any) -> Any:
    """Return `schema` with the bars for a single span: ten times as many new categories, half the values present.

    One day varies more than the window that the schema is for: its weather may be half missing where the month lacks a
    fifth.
    """
    loose = type(schema).FromString(schema.SerializeToString())
    for feature in loose.feature:
        feature.presence.min_fraction *= 0.5
        if feature.HasField("distribution_constraints"):
            mass = feature.distribution_constraints.min_domain_mass
            feature.distribution_constraints.min_domain_mass = max(0.0, 1 - 10 * (1 - mass))
    return loose


def read_schema(archive: Path) -> Any:
    """Return the schema at the root of a project's archive; None when the project has none yet.

    Raises:
        ConfigError: The file is no schema.
    """
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    with zipfile.ZipFile(archive) as source:
        if SCHEMA_FILE not in source.namelist():
            return None
        text = source.read(SCHEMA_FILE).decode("utf-8", "replace")
    try:
        return text_format.Parse(text, schema_pb2.Schema())
    except text_format.ParseError as error:
        raise ConfigError(
            f"{SCHEMA_FILE} is no schema: {error} (line:column)", "mend it there, or delete it to have it inferred."
        ) from None


def features(statistics: Any) -> list[Any]:
    """Return the statistics of each feature, in the order of the columns."""
    return list(statistics.datasets[0].features)


def common(feature: Any) -> Any:
    """Return what TFDV counts for every kind of feature."""
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def shares(feature: Any) -> dict[str, float]:
    """Return the share of each category among the rows that have one, most frequent first; empty for a number."""
    if feature.WhichOneof("stats") != "string_stats":
        return {}
    total = common(feature).tot_num_values or 1
    buckets = feature.string_stats.rank_histogram.buckets
    return {bucket.label: bucket.sample_count / total for bucket in buckets}


def bins(feature: Any) -> list[tuple[float, float, float]]:
    """Return (lower edge, upper edge, share of rows) of a number's equal-width bins; empty for a category."""
    if feature.WhichOneof("stats") != "num_stats":
        return []
    standard = next((each for each in feature.num_stats.histograms if not each.type), None)
    buckets = standard.buckets if standard else ()
    total = sum(bucket.sample_count for bucket in buckets) or 1
    return [(bucket.low_value, bucket.high_value, bucket.sample_count / total) for bucket in buckets]


def distances(schema: Any, columns: Mapping[str, float], newest: Any, before: Any) -> tuple[Any, dict[str, float]]:
    """Return TFDV's anomalies of drift, and how far each column has moved from `before` to `newest`.

    Categories by L-infinity, numbers by Jensen-Shannon divergence, both from 0 (same) to 1.

    Args:
        schema: What the columns are; its own drift comparators hold where `columns` says nothing.
        columns: The largest distance that is accepted of a column.
        newest: Statistics of the newest span.
        before: Statistics of the span that it is held against.
    """
    import tensorflow_data_validation as tfdv

    measured = type(schema).FromString(schema.SerializeToString())
    kinds = {feature.path.step[0]: feature.WhichOneof("stats") for feature in features(newest)}
    for feature in measured.feature:
        name = "infinity_norm" if kinds.get(feature.name) == "string_stats" else "jensen_shannon_divergence"
        comparator = getattr(feature.drift_comparator, name)
        if feature.name in columns or not comparator.threshold:
            comparator.threshold = columns.get(feature.name, 1.0)  # no distance is above 1: measured, never an alarm
    anomalies = tfdv.validate_statistics(newest, measured, previous_statistics=before)
    moved = {info.path.step[0]: info.drift_measurements for info in anomalies.drift_skew_info}
    return anomalies, {column: measurements[0].value for column, measurements in moved.items() if measurements}


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
