"""How far the columns of one data set are from another's, as TFDV measures it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flywheel.statistics.reading import features
from flywheel.statistics.schema import SERVING, TRAINING


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

    measured = _with_bars(schema, columns, newest, "drift_comparator")
    anomalies = tfdv.validate_statistics(newest, measured, previous_statistics=before)
    return anomalies, _measured(anomalies, "drift_measurements")


def skew(schema: Any, columns: Mapping[str, float], training: Any, serving: Any) -> tuple[Any, dict[str, float]]:
    """Return TFDV's anomalies of skew, and how far each column that is served is from what was trained on.

    Distances as in `distances`. A column that `schema` keeps out of serving, as the label, is not measured.

    Args:
        schema: What the columns are; its own skew comparators hold where `columns` says nothing.
        columns: The largest distance that is accepted of a column.
        training: Statistics of what was, or will be, trained on.
        serving: Statistics of requests that were logged.
    """
    import tensorflow_data_validation as tfdv

    measured = _with_bars(schema, columns, training, "skew_comparator")
    served = {feature.path.step[0] for feature in features(serving)}
    for feature in measured.feature:
        if SERVING in feature.not_in_environment or feature.name not in served:
            feature.ClearField("skew_comparator")
    environment = TRAINING if TRAINING in measured.default_environment else None
    anomalies = tfdv.validate_statistics(training, measured, environment, serving_statistics=serving)
    return anomalies, _measured(anomalies, "skew_measurements")


def _with_bars(schema: Any, columns: Mapping[str, float], statistics: Any, comparator: str) -> Any:
    """Return `schema` with a comparator for every column, by the distance for its kind."""
    measured = type(schema).FromString(schema.SerializeToString())
    kinds = {feature.path.step[0]: feature.WhichOneof("stats") for feature in features(statistics)}
    for feature in measured.feature:
        name = "infinity_norm" if kinds.get(feature.name) == "string_stats" else "jensen_shannon_divergence"
        bar = getattr(getattr(feature, comparator), name)
        if feature.name in columns or not bar.threshold:
            bar.threshold = columns.get(feature.name, 1.0)  # no distance is above 1: measured, never an alarm
    return measured


def _measured(anomalies: Any, measurements: str) -> dict[str, float]:
    found = {info.path.step[0]: getattr(info, measurements) for info in anomalies.drift_skew_info}
    return {column: values[0].value for column, values in found.items() if values}
