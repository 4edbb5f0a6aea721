"""Transform: learn from the training window how raw columns become model inputs, and write its rows so."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Examples, ExamplesWriter, TransformState
from flywheel.errors import DataError, meant

if TYPE_CHECKING:
    import pyarrow as pa

PRELOAD = ("apache_beam", "pyarrow.parquet", "pyarrow.compute")
_LABELS = {
    "binary": ("a number", "make it 0 or 1 in the query, or set `task: multiclass`."),
    "multiclass": ("text or an integer", "CAST it to STRING or INT64 in the query, or set `task: regression`."),
    "regression": ("a number", "CAST it to a number in the query, or set `task: multiclass`."),
}


def transform(
    examples: Examples,
    features: list[dict[str, Any]],
    label: str,
    window: list[str],
    state: Path,
    transformed: Path,
    task: str = "binary",
) -> tuple[TransformState, Examples]:
    """Analyse the spans of `window` with Beam and write them as the model will see them.

    Args:
        examples: Raw rows; only the spans of `window` are read.
        features: As `features` in flywheel.yaml: `{"column": "carrier", "as": "category", "top": 100}`.
        label: Column to predict.
        window: Names of the spans to learn from, oldest first.
        state: Where the TransformState goes.
        transformed: Where the rows go: one column a feature (float32 or int32), the label (float32 0 or 1, int64 index
            of the class, float32 value), and the column of `source.split` if there is one.
        task: `binary`: the label is 0 or 1; `multiclass`: text or integers; `regression`: numbers.

    Raises:
        DataError: A column is missing or of a type that its kind of feature cannot read, the window has no rows, or the
            label is missing, constant, or none of the task's in some of them.
    """
    from flywheel.transform import beam
    from flywheel.transform.state import State

    specs = _checked(features, label, task, examples.schema)
    with tempfile.TemporaryDirectory(prefix="flywheel-transform-") as scratch:
        learned = beam.analyse(examples.path, window, specs, label, Path(scratch), task).finish(examples.schema)
    with (
        TransformState.create(state, producer="transform", spans=window) as kept,
        Examples.create(transformed, producer="transform") as rows,
    ):
        file = kept.path / "state.json"
        learned.write(file)
        # Read back, so that training sees the very numbers that serving will read.
        learned = State.read(file)
        kept.counts |= {"rows": learned.rows, "features": len(learned.features)}
        beam.apply(examples.path, window, file, rows.path)
        with ExamplesWriter(rows, beam.written(learned, examples)) as writer:
            for span in window:
                writer.write(span, [])
        # The shards were written by Beam's workers, row for row: the counts are those of the raw rows.
        rows.facts["rows"] = {span: examples.rows_of([span]) for span in window}
        rows.counts["rows"] = examples.rows_of(window)
    return TransformState.open(state), Examples.open(transformed)


def _checked(features: list[dict[str, Any]], label: str, task: str, schema: pa.Schema) -> list[dict[str, Any]]:
    """Return `features` with their defaults, each held against the type of its column."""
    from pydantic import TypeAdapter

    from flywheel.config import Feature
    from flywheel.transform import raw, target

    parsed = TypeAdapter(tuple[Feature, ...]).validate_python(features)
    for name in (*(feature.column for feature in parsed), label):
        if name not in schema.names:
            raise DataError(
                f"the query gives no column {name!r}, only {', '.join(schema.names)}",
                meant(name, schema.names).rstrip() or "select it in the query, or take it out of features.",
            )
    for feature in parsed:
        type = schema.field(feature.column).type
        if raw.is_number(type) or (feature.kind == "category" and raw.is_text(type)):
            continue
        if raw.is_text(type):
            remedy = "use `as: category`, or CAST it to a number in the query."
        else:
            remedy = "make a number or a text of it in the query, as EXTRACT(HOUR FROM …) or CAST(… AS STRING)."
        raise DataError(f"column {feature.column!r} is {str(type)!r}, which {feature.kind!r} cannot read", remedy)
    if not target.fits(schema.field(label).type, task):
        wanted, remedy = _LABELS[task]
        raise DataError(f"label {label!r} is {str(schema.field(label).type)!r}, not {wanted}", remedy)
    return [feature.model_dump(mode="json", by_alias=True) for feature in parsed]
