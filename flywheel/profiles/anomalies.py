"""What TFDV finds when statistics are held against a schema, as checks."""

from __future__ import annotations

from typing import Any

from flywheel.artifacts import Check

_WARNINGS = {"SCHEMA_NEW_COLUMN"}
"""Anomalies that are said and do not block: a column that nobody asks for cannot harm a model."""

_REMEDIES = {
    "SCHEMA_NEW_COLUMN": "add it by `flywheel schema accept`, or take it out of the query.",
    "SCHEMA_MISSING_COLUMN": "have the query give it again, or take it out of schema.pbtxt.",
    "ENUM_TYPE_UNEXPECTED_STRING_VALUES": "mend the values at their source, or add them by `flywheel schema accept`.",
    "FEATURE_TYPE_LOW_FRACTION_PRESENT": "find where the values got lost, or lower min_fraction in schema.pbtxt.",
    "FEATURE_TYPE_NOT_PRESENT": "find where the values got lost: not one row has any.",
}


def schema_checks(statistics: Any, schema: Any, span: str = "", environment: str | None = None) -> list[Check]:
    """Return one check a column: does it look as the schema says?

    Args:
        statistics: A `DatasetFeatureStatisticsList`.
        schema: What each column is to be.
        span: Which span the statistics are of; empty for several together.
        environment: `TRAINING` or `SERVING`, where the schema tells them apart.
    """
    import tensorflow_data_validation as tfdv

    environments = list(schema.default_environment)
    anomalies = tfdv.validate_statistics(statistics, schema, environment=environment or (environments or [None])[0])
    rows = statistics.datasets[0].num_examples
    known = [
        feature.name for feature in schema.feature if not environment or environment not in feature.not_in_environment
    ]
    columns = list(dict.fromkeys([*known, *anomalies.anomaly_info]))
    checks = [_check(column, anomalies.anomaly_info.get(column), span, rows) for column in columns]
    if anomalies.HasField("dataset_anomaly_info"):
        checks.append(_check("rows", anomalies.dataset_anomaly_info, span, rows))
    return checks


def _check(column: str, anomaly: Any, span: str, rows: int) -> Check:
    name, where = f"schema of {column}", f"span {span}" if span else ""
    if anomaly is None:
        return Check(name, "pass", slice=where, rows=rows, column=column, span=span)
    kinds = [type(anomaly).Type.Name(reason.type) for reason in anomaly.reason]
    harmless = anomaly.severity == type(anomaly).WARNING or set(kinds) <= _WARNINGS
    return Check(
        name,
        "warn" if harmless else "fail",
        slice=where,
        rows=rows,
        column=column,
        span=span,
        reason=f"{column}: {'; '.join(reason.description.strip() for reason in anomaly.reason)}",
        remedy=_REMEDIES.get(kinds[0], "mend the data at its source, or if this is right from now on, schema.pbtxt."),
    )
