"""Validate: may this data train a model?"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flywheel import statistics as stats
from flywheel.artifacts import Check, Examples, Schema, Statistics, Verdict
from flywheel.errors import ConfigError, DataError
from flywheel.say import say

PRELOAD = (
    "tensorflow_data_validation",
    "tensorflow_data_validation.statistics.stats_impl",
    "tfx_bsl.arrow.table_util",
    "pyarrow.parquet",
    "pyarrow.compute",
    "vl_convert",
    "jinja2",
)
_WARNINGS = {"SCHEMA_NEW_COLUMN"}
"""Anomalies that are said and do not block: a column that nobody asks for cannot harm a model."""
_MOST_CLASSES = 10


def validate(
    examples: Examples,
    code: Path,
    settings: Mapping[str, Any],
    *,
    statistics: Path,
    schema: Path,
    report: Path,
) -> Verdict:
    """Return whether the data is fit to train on, every check told; the report is written whatever the answer.

    All rows are held against the schema; so is the newest span, with looser bars, since a day varies more; and the
    newest span's distributions against those of the span before.

    Args:
        examples: Rows of training window and judge, the newest span last.
        code: The project's archive; its schema.pbtxt is what the data is held against. Inferred when it has none.
        settings: `label`, the column to predict, and `drift`, the largest distance accepted of a column: L-infinity
            for categories, Jensen-Shannon divergence for numbers, both from 0 (same) to 1.
        statistics: Where to write TFDV statistics of all rows, the newest span and the span before.
        schema: Where to write the schema that was used.
        report: Where to write the HTML report.

    Raises:
        DataError: The label is not there, or has nulls or other values than 0 and 1, or one of them only.
        ConfigError: Drift is asked of a column that is not there, or schema.pbtxt is no schema.
    """
    drift: dict[str, float] = dict(settings.get("drift") or {})
    _check_label(examples, settings["label"])
    _check_columns(drift, examples.schema.names)
    groups = _groups(examples)
    found = {group: _summarize(examples, group, spans) for group, spans in groups.items()}
    _write_statistics(statistics, found, groups)
    given = stats.read_schema(code)
    expected = stats.infer_schema(found["all"]) if given is None else given
    _write_schema(schema, expected, examples.spans, inferred=given is None)

    newest = groups["newest"][0]
    moved: dict[str, float] = {}
    checks = _schema_checks(found["all"], expected, "")
    checks += _schema_checks(found["newest"], stats.for_one_span(expected), f"span {newest}")
    checks += _span_checks(examples)
    if "before" in found:
        anomalies, moved = stats.distances(expected, drift, found["newest"], found["before"])
        checks += _drift_checks(anomalies, moved, newest, groups["before"][0])
        checks += [_unmeasured(column) for column in drift if column not in moved]
    elif drift:
        checks.append(Check("drift", "warn", reason=f"no span before {newest} has rows: drift is not judged"))
    facts = {"rows": examples.rows, "schema": "inferred" if given is None else "schema.pbtxt", "drift": moved}
    verdict = Verdict("data", tuple(checks), facts)
    _write_report(report, verdict, found, groups, examples)
    say(f"data up to {newest}: {verdict.why}")
    return verdict


def _check_label(examples: Examples, label: str) -> None:
    """Refuse a label that no model can be trained on."""
    import pyarrow.compute as pc

    if label not in examples.schema.names:
        raise DataError(
            f"the rows have no label column {label!r}, only {', '.join(examples.schema.names)}",
            f"have the query give {label!r}, or mend `label` in flywheel.yaml.",
        )
    values: Counter[object] = Counter()
    nulls: Counter[str] = Counter()
    for span, batch in examples.batches(columns=[label]):
        nulls[span] += batch.column(0).null_count
        counted = pc.value_counts(batch.column(0).drop_null())
        for entry in counted.to_pylist()[: _MOST_CLASSES + 1]:
            values[entry["values"]] += entry["counts"]
    total = sum(nulls.values())
    if total:
        worst = max(nulls, key=lambda span: nulls[span])
        raise DataError(
            f"the label {label!r} is null in {total:,} of {examples.rows:,} rows, most of them in span {worst}",
            f"leave such rows out in the query: `WHERE {label} IS NOT NULL`, or wait until their labels have arrived.",
        )
    if set(values) - {0, 1}:
        shown = ", ".join(repr(value) for value, _ in values.most_common(5))
        raise DataError(
            f"the label {label!r} has values such as {shown}", "have the query give 0 or 1, as by IF(condition, 1, 0)."
        )
    if len(values) == 1:
        raise DataError(
            f"the label {label!r} is {next(iter(values))!r} in all {examples.rows:,} rows: there is nothing to learn",
            "mend its definition in the query, or take a longer window.",
        )


def _check_columns(drift: Mapping[str, float], columns: list[str]) -> None:
    for column in drift:
        if column not in columns:
            near = difflib.get_close_matches(column, columns, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"gates.data.drift names the column {column!r}, which the query does not give",
                f"{hint}it gives {', '.join(columns)}.",
            )


def _groups(examples: Examples) -> dict[str, list[str]]:
    """Return which spans are looked at together: all, the newest, and the newest before it that has rows."""
    groups = {"all": list(examples.spans), "newest": [examples.spans[-1]]}
    before = [span for span in examples.spans[:-1] if examples.rows_of([span])]
    return groups | ({"before": before[-1:]} if before else {})


def _summarize(examples: Examples, group: str, spans: list[str]) -> Any:
    return stats.summarize((rows for _, rows in examples.batches(spans)), group)


def _write_statistics(path: Path, found: Mapping[str, Any], groups: Mapping[str, list[str]]) -> None:
    with Statistics.create(path, producer="validate", spans=groups["all"]) as draft:
        for group, statistics in found.items():
            (draft.path / f"{group}.pb").write_bytes(statistics.SerializeToString(deterministic=True))
            draft.counts[group] = statistics.datasets[0].num_examples
        draft.facts["groups"] = dict(groups)


def _write_schema(path: Path, schema: Any, spans: Iterable[str], *, inferred: bool) -> None:
    from google.protobuf import text_format

    with Schema.create(path, producer="validate", spans=spans) as draft:
        (draft.path / stats.SCHEMA_FILE).write_text(text_format.MessageToString(schema), encoding="utf-8")
        draft.facts["inferred"] = inferred


def _schema_checks(statistics: Any, schema: Any, where: str) -> list[Check]:
    """Return one check a column: does it look as the schema says?"""
    import tensorflow_data_validation as tfdv

    anomalies = tfdv.validate_statistics(statistics, schema)
    rows = statistics.datasets[0].num_examples
    known = [feature.name for feature in schema.feature]
    columns = list(dict.fromkeys([*known, *anomalies.anomaly_info]))
    checks = [_schema_check(column, anomalies.anomaly_info.get(column), where, rows) for column in columns]
    if anomalies.HasField("dataset_anomaly_info"):
        checks.append(_schema_check("rows", anomalies.dataset_anomaly_info, where, rows))
    return checks


def _schema_check(column: str, anomaly: Any, where: str, rows: int) -> Check:
    name = f"schema of {column}"
    if anomaly is None:
        return Check(name, "pass", slice=where, rows=rows)
    kinds = [type(anomaly).Type.Name(reason.type) for reason in anomaly.reason]
    harmless = anomaly.severity == type(anomaly).WARNING or set(kinds) <= _WARNINGS
    return Check(
        name,
        "warn" if harmless else "fail",
        slice=where,
        rows=rows,
        reason=f"{column}: {'; '.join(reason.description.strip() for reason in anomaly.reason)}",
        remedy=_REMEDIES.get(kinds[0], "mend the data at its source, or if this is right from now on, schema.pbtxt."),
    )


_REMEDIES = {
    "SCHEMA_NEW_COLUMN": "add it to schema.pbtxt, or take it out of the query.",
    "SCHEMA_MISSING_COLUMN": "have the query give it again, or take it out of schema.pbtxt.",
    "ENUM_TYPE_UNEXPECTED_STRING_VALUES": "mend the values at their source, or add them to the domain in schema.pbtxt.",
    "FEATURE_TYPE_LOW_FRACTION_PRESENT": "find where the values got lost, or lower min_fraction in schema.pbtxt.",
    "FEATURE_TYPE_NOT_PRESENT": "find where the values got lost: not one row has any.",
}


def _unmeasured(column: str) -> Check:
    return Check(
        f"drift of {column}",
        "fail",
        reason=f"the drift of {column} has a bar and was not measured: the schema does not know the column",
        remedy="add it to schema.pbtxt; without that file, the next run infers one with all columns.",
    )


def _drift_checks(anomalies: Any, moved: Mapping[str, float], newest: str, before: str) -> list[Check]:
    """Return one check for each column whose distance has a bar."""
    checks = []
    for info in anomalies.drift_skew_info:
        column = info.path.step[0]
        bound = info.drift_measurements[0].threshold if info.drift_measurements else 1.0
        if bound >= 1:
            continue
        distance = moved[column]
        failed = distance > bound
        checks.append(
            Check(
                f"drift of {column}",
                "fail" if failed else "pass",
                distance,
                bound,
                slice=f"span {newest}",
                reason=f"{column} moved by {distance:.3g} from {before} to {newest}, at most {bound:g} is accepted"
                * failed,
                remedy=f"look at its source; if the change is real, raise gates.data.drift.{column}." * failed,
            )
        )
    return checks


def _span_checks(examples: Examples) -> list[Check]:
    empty = [span for span in examples.spans if not examples.rows_of([span])]
    if not empty:
        return [Check("rows in every span", "pass", rows=examples.rows)]
    shown = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
    return [
        Check(
            "rows in every span",
            "warn",
            reason=f"{len(empty)} of {len(examples.spans)} spans have no rows: {shown}",
            remedy="load them if they are missing at the source.",
        )
    ]


def _write_report(
    path: Path, verdict: Verdict, found: Mapping[str, Any], groups: Mapping[str, list[str]], examples: Examples
) -> None:
    from flywheel.reports.data import data_page

    newest = groups["newest"][0]
    facts = {
        "rows": examples.rows,
        "spans": f"{examples.spans[0]} to {newest}",
        f"rows of {newest}": examples.rows_of([newest]),
        "schema": verdict.facts["schema"],
    }
    shown = {group: spans[0] for group, spans in groups.items() if group != "all"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data_page(verdict, found, shown, facts), encoding="utf-8")
