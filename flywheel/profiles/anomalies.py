"""What TFDV finds when statistics are held against a schema, a span before or logged requests, as checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flywheel import statistics
from flywheel.artifacts import Check, Examples

_WARNINGS = {"SCHEMA_NEW_COLUMN"}
"""Anomalies that are said and do not block: a column that nobody asks for cannot harm a model."""

_REMEDIES = {
    "SCHEMA_NEW_COLUMN": "add it by `flywheel schema accept`, or take it out of the query.",
    "SCHEMA_MISSING_COLUMN": "have the query give it again, or take it out of schema.pbtxt.",
    "ENUM_TYPE_UNEXPECTED_STRING_VALUES": "mend the values at their source, or add them by `flywheel schema accept`.",
    "FEATURE_TYPE_LOW_FRACTION_PRESENT": "find where the values got lost, or lower min_fraction in schema.pbtxt.",
    "FEATURE_TYPE_NOT_PRESENT": "find where the values got lost: not one row has any.",
}


def schema_checks(found: Any, schema: Any, span: str = "", environment: str | None = None) -> list[Check]:
    """Return one check a column: does it look as the schema says?

    Args:
        found: Statistics, a `DatasetFeatureStatisticsList`.
        schema: What each column is to be.
        span: Which span the statistics are of; empty for several together.
        environment: `TRAINING` or `SERVING`, where the schema tells them apart.
    """
    import tensorflow_data_validation as tfdv

    environments = list(schema.default_environment)
    anomalies = tfdv.validate_statistics(found, schema, environment=environment or (environments or [None])[0])
    rows = found.datasets[0].num_examples
    informed = statistics.by_column(anomalies)
    known = [
        feature.name for feature in schema.feature if not environment or environment not in feature.not_in_environment
    ]
    columns = list(dict.fromkeys([*known, *informed]))
    checks = [_check(column, informed.get(column), span, rows) for column in columns]
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


def drift_checks(
    schema: Any, bars: Mapping[str, float], found: Mapping[str, Any], groups: Mapping[str, list[str]]
) -> tuple[list[Check], dict[str, float]]:
    """Return a check for each column whose distance from the span before has a bar, and all distances.

    Args:
        schema: What each column is to be.
        bars: Largest distance accepted, by column.
        found: TFDV's statistics of `newest`, and of `before` if there is such a span.
        groups: Names of the spans of each.
    """
    newest = groups["newest"][0]
    if "before" not in found:
        told = f"no good span before {newest}: drift is not judged"
        return ([Check("drift", "warn", reason=told)] if bars else []), {}
    anomalies, moved = statistics.distances(schema, bars, found["newest"], found["before"])
    where = f"from {groups['before'][0]} to {newest}"
    checks = _distance_checks("drift", anomalies.drift_skew_info, "drift_measurements", where, newest)
    return [*checks, *(_unmeasured("drift", column) for column in bars if column not in moved)], moved


def skew_checks(
    schema: Any, bars: Mapping[str, float], training: Any, serving: Examples, options: statistics.Options
) -> list[Check]:
    """Return what logged requests say: what is served is to be as what is trained on."""
    served = statistics.summarize((rows for _, rows in serving.batches()), "serving", options)
    anomalies, moved = statistics.skew(schema, bars, training, served)
    checks = _distance_checks(
        "skew", anomalies.drift_skew_info, "skew_measurements", "between training and serving", ""
    )
    checks += [_unmeasured("skew", column) for column in bars if column not in moved]
    for check in schema_checks(served, schema, environment=statistics.SERVING):
        if check.result != "pass":
            checks.append(
                Check(f"served {check.name}", "warn", reason=f"logged requests: {check.reason}", remedy=check.remedy)
            )
    return checks


def _distance_checks(kind: str, infos: Iterable[Any], measurements: str, where: str, span: str) -> list[Check]:
    checks = []
    for info in infos:
        column, measured = info.path.step[0], getattr(info, measurements)
        if not measured or measured[0].threshold >= 1:
            continue
        distance, bound = measured[0].value, measured[0].threshold
        failed = distance > bound
        checks.append(
            Check(
                f"{kind} of {column}",
                "fail" if failed else "pass",
                distance,
                bound,
                slice=f"span {span}" if span else "",
                column=column,
                span=span,
                reason=f"{column} moved by {distance:.3g} {where}, at most {bound:g} is accepted" * failed,
                remedy=f"look at its source; if the change is real, raise gates.data.{kind}.{column}." * failed,
            )
        )
    return checks


def _unmeasured(kind: str, column: str) -> Check:
    return Check(
        f"{kind} of {column}",
        "fail",
        column=column,
        reason=f"the {kind} of {column} has a bar and was not measured: the schema does not know the column",
        remedy="add it by `flywheel schema accept`; without schema.pbtxt, the next run infers one with all columns.",
    )
