"""How far the columns of one data set are from another's, as TFDV measures it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flywheel.statistics.reading import features


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
