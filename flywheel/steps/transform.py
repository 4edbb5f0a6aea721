"""Transform: learn from the training window how raw columns become model inputs, and write its rows so."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import ADDED, Draft, Examples, ExamplesWriter, TransformState
from flywheel.errors import DataError, meant
from flywheel.labels import MULTILABEL, columns_of

if TYPE_CHECKING:
    import pyarrow as pa

    from flywheel.transform.shards import ShardResult
    from flywheel.transform.state import State

PRELOAD = (
    "apache_beam",
    "apache_beam.runners.direct.direct_runner",
    "apache_beam.runners.portability.fn_api_runner.fn_runner",
    "pyarrow.parquet",
    "pyarrow.compute",
    "pyarrow.pandas_compat",
    "flywheel.transform.analysis",
    "flywheel.transform.beam",
    "flywheel.transform.distinct",
    "flywheel.transform.functions",
    "flywheel.transform.runners",
)
_LABELS = {
    "binary": ("a number", "make it 0 or 1 in the query, or set `task: multiclass`."),
    "multiclass": ("text or an integer", "CAST it to STRING or INT64 in the query, or set `task: regression`."),
    MULTILABEL: ("a number", "make it 0, 1 or null in the query, for each of the labels."),
    "regression": ("a number", "CAST it to a number in the query, or set `task: multiclass`."),
}
_REASONS = 3


def transform(
    examples: Examples,
    features: list[dict[str, Any]],
    label: str,
    window: list[str],
    state: Path,
    transformed: Path,
    code: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    task: str = "binary",
) -> tuple[TransformState, Examples]:
    """Analyse the spans of `window` with Beam and write them as the model will see them.

    Args:
        examples: Raw rows; only the spans of `window` are read.
        features: As `features` in flywheel.yaml: `{"column": "carrier", "as": "category", "top": 100}`.
        label: Column to predict, or columns as `flywheel.labels` joins them.
        window: Names of the spans to learn from, oldest first.
        state: Where the TransformState goes.
        transformed: Where the rows go: one column an input, the label (float32 0 or 1, int64 index of the class, a list
            of float32 with NaN for null, float32 value), and what `source.split` and `train.weight` say of each row.
            Rows that cannot be transformed go to `dead_letters` in it, with the reason.
        code: The project's archive, for feature functions.
        settings: As `transform` in flywheel.yaml.
        task: `binary`: the label is 0 or 1; `multiclass`: text or integers; `multilabel`: each is 0, 1 or null;
            `regression`: numbers.

    Raises:
        DataError: A column is missing or of a type that its kind of feature cannot read, the window has no rows, the
            label is missing, constant, or none of the task's in some of them, a feature function is wrong, or too many
            rows cannot be transformed.
    """
    from flywheel.config import Transform
    from flywheel.transform import beam, runners
    from flywheel.transform.shards import shards_of
    from flywheel.transform.state import State

    asked = Transform.model_validate(dict(settings or {}))
    specs = checked(features, label, examples.schema, task)
    shards = shards_of(examples, window)
    with tempfile.TemporaryDirectory(prefix="flywheel-transform-") as folder:
        uses_code = any(spec.get("function") for spec in specs)
        with runners.job(asked.beam, Path(folder), code if uses_code else None) as job:
            with (
                TransformState.create(state, producer="transform", spans=window) as kept,
                Examples.create(transformed, producer="transform") as rows,
            ):
                added = tuple(field for field in examples.schema if field.name in ADDED)
                target = job.scratch if job.remote else str(rows.path)
                text, done = beam.learn_and_apply(shards, specs, label, examples.schema, target, added, job, task)
                file = kept.path / "state.json"
                file.write_text(text, encoding="utf-8")
                # Read back, so that training sees the very numbers that serving will read.
                learned = State.read(file)
                if job.remote:
                    runners.fetch(target, [name for each in done for name in each.files], rows.path)
                dead = _dead(done, asked.bad_rows_at_most)
                kept.counts |= {"rows": learned.rows, "features": len(learned.features)}
                _describe(rows, done, window, learned, added, dead)
    return TransformState.open(state), Examples.open(transformed)


def checked(
    features: list[dict[str, Any]], label: str, schema: pa.Schema, task: str = "binary"
) -> list[dict[str, Any]]:
    """Return `features` with their defaults, each held against the types of its columns.

    Raises:
        DataError: A column is missing or of a type that its kind of feature cannot read.
    """
    from flywheel.transform import raw, target
    from flywheel.transform.analysis import SPECS
    from flywheel.transform.features import KINDS

    parsed = SPECS.validate_python(features)
    labels = columns_of(label)
    for name in (*(column for feature in parsed for column in feature.sources), *labels):
        if name not in schema.names:
            raise DataError(
                f"the query gives no column {name!r}, only {', '.join(schema.names)}",
                meant(name, schema.names).rstrip() or "select it in the query, or take it out of features.",
            )
    for feature in parsed:
        for column in feature.sources:
            form = raw.form(schema.field(column).type)
            if form not in KINDS[feature.kind].forms and not (feature.function and form):
                raise _unreadable(column, schema.field(column).type, feature.kind)
    for name in labels:
        if not target.fits(schema.field(name).type, task):
            wanted, remedy = _LABELS[task]
            raise DataError(f"label {name!r} is {str(schema.field(name).type)!r}, not {wanted}", remedy)
    return [feature.model_dump(mode="json", by_alias=True, exclude_none=True) for feature in parsed]


def _unreadable(column: str, type: pa.DataType, kind: str) -> DataError:
    from flywheel.transform import raw
    from flywheel.transform.features import KINDS

    form = raw.form(type)
    fitting = [name for name, each in KINDS.items() if form and form in each.forms]
    remedies = {
        "text": "use `as: category`, or CAST it to a number in the query.",
        "time": "use `as: timestamp`, or make a number of it in the query, as EXTRACT(HOUR FROM …).",
        "": "make a number or a text of it in the query, as EXTRACT(HOUR FROM …) or CAST(… AS STRING).",
    }
    remedy = remedies.get(form) or f"use `as: {'`, `as: '.join(fitting)}`."
    return DataError(f"column {column!r} is {str(type)!r}, which {kind!r} cannot read", remedy)


def _dead(done: list[ShardResult], bad_rows_at_most: float) -> dict[str, Any]:
    """Return how many rows were left out and why.

    Raises:
        DataError: They are more than `transform.bad_rows_at_most`.
    """
    reasons: Counter[tuple[str, str]] = Counter()
    for each in done:
        reasons.update(each.bad)
    bad, rows = reasons.total(), reasons.total() + sum(each.rows for each in done)
    ranked = sorted(reasons.items(), key=lambda each: (-each[1], each[0]))
    if rows and bad / rows > bad_rows_at_most:
        shown = "; ".join(f"{feature!r}: {why} ({count} rows)" for (feature, why), count in ranked[:_REASONS])
        raise DataError(
            f"{bad} of {rows} rows cannot be transformed, {bad_rows_at_most:.2%} are accepted: {shown}",
            "mend them in the query, or set transform.bad_rows_at_most.",
        )
    said = [{"feature": feature, "reason": why, "rows": count} for (feature, why), count in ranked[:100]]
    return {"rows": bad, "of": rows, "reasons": said}


def _describe(
    rows: Draft,
    done: list[ShardResult],
    window: list[str],
    learned: State,
    added: Sequence[pa.Field],
    dead: dict[str, Any],
) -> None:
    """Say in the manifest what the workers wrote."""
    from flywheel.transform.shards import written

    with ExamplesWriter(rows, written(learned, added)) as writer:
        for span in window:
            writer.write(span, [])
    counts = {span: sum(each.rows for each in done if each.span == span) for span in window}
    rows.facts["rows"] = counts
    rows.counts |= {"rows": sum(counts.values()), "dead_letters": dead["rows"]}
    rows.facts |= {"inputs": [each.to_json() for each in learned.inputs], "dead_letters": dead}
