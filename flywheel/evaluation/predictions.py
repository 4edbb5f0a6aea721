"""What each model predicts for each of the judge's rows: one Parquet file that everything else derives from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.errors import ConfigError, DataError, FlywheelError
from flywheel.evaluation.metrics import Groups
from flywheel.transform import raw

if TYPE_CHECKING:
    import pyarrow as pa

    from flywheel.artifacts import Examples
    from flywheel.evaluation.metrics import Floats, Ints

FILE = "predictions.parquet"
CANDIDATE, CHAMPION = "candidate", "champion"
_RESERVED = ("span", "label", CANDIDATE, CHAMPION)


class PredictionError(FlywheelError):
    """A model's answer cannot be judged: it fails on the rows, or gives no probability for each of them."""


@dataclass(frozen=True)
class Predictions:
    """Labels and predictions of the judge's rows, as columns.

    Attributes:
        labels: 0 or 1 for each row.
        scores: Predicted probabilities by model: `candidate`, and `champion` when there is one.
        spans: The rows of each span.
        slices: The rows of each value, by slice column.
    """

    labels: Ints
    scores: dict[str, Floats]
    spans: Groups
    slices: dict[str, Groups] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def read(cls, file: Path) -> Predictions:
        """Return what `write` wrote to `file`."""
        import numpy as np
        import pyarrow.parquet as pq

        table = pq.read_table(file)
        models = [name for name in (CANDIDATE, CHAMPION) if name in table.column_names]
        slices = [name for name in table.column_names if name not in _RESERVED]
        return cls(
            labels=table["label"].to_numpy().astype(np.int64),
            scores={name: table[name].to_numpy() for name in models},
            spans=_groups(table["span"]),
            slices={name: _groups(table[name]) for name in slices},
        )

    def select(self, rows: Any) -> Predictions:
        """Return the rows that a boolean mask or an index array chooses; slices are left out."""
        scores = {name: values[rows] for name, values in self.scores.items()}
        return Predictions(self.labels[rows], scores, Groups(self.spans.keys, self.spans.codes[rows]))


def write(
    examples: Examples, spans: Sequence[str], label: str, slices: Sequence[str], models: Mapping[str, Any], file: Path
) -> int:
    """Write label, slice columns and every model's prediction of each row of `spans` to `file`; return the rows.

    Rows go through batch by batch, so memory stays flat. Slice columns are written as integers or as text.

    Args:
        examples: Raw rows.
        spans: Which of them.
        label: Column with the truth, 0 or 1.
        slices: Columns to slice by.
        models: MLflow pyfunc models by name.
        file: Where to.

    Raises:
        ConfigError: The label or a slice column is not in the examples, or has a name that this file needs.
        DataError: A model needs a column that is not there; a label is neither 0 nor 1, or all are the same.
        PredictionError: A model fails, or does not answer every row with a probability.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = examples.schema
    _check_columns(schema.names, label, slices)
    inputs = {name: _inputs(name, model, schema.names, label) for name, model in models.items()}
    wanted = [column for column in schema.names if column in {label, *slices}.union(*inputs.values())]
    target = pa.schema(
        [("span", pa.string()), ("label", pa.int8())]
        + [(name, _sliceable(schema.field(name).type)) for name in slices]
        + [(name, pa.float64()) for name in models]
    )
    rows, seen = 0, set[int]()
    with pq.ParquetWriter(file, target, compression="zstd") as writer:
        for span, batch in examples.batches(spans, wanted):
            if batch.num_rows == 0:
                continue
            labels = _labels(batch.column(wanted.index(label)), label, span)
            seen.update(labels.unique().to_pylist())
            frame = raw.frame(batch)
            answers = [_answer(name, model, frame[inputs[name]]) for name, model in models.items()]
            groups = [batch.column(wanted.index(name)).cast(target.field(name).type) for name in slices]
            names = pa.array([span] * batch.num_rows, pa.string())
            writer.write_batch(pa.RecordBatch.from_arrays([names, labels, *groups, *answers], schema=target))
            rows += batch.num_rows
    _check_classes(seen, label, spans)
    return rows


def _check_columns(names: Sequence[str], label: str, slices: Sequence[str]) -> None:
    for column in (label, *slices):
        if column not in names:
            what = "label" if column == label else "slice column"
            raise ConfigError(
                f"the {what} {column!r} is not in the examples, only {', '.join(names)}",
                "let the query give that column, or name another one.",
            )
    for column in slices:
        if column in _RESERVED:
            raise ConfigError(
                f"the slice column {column!r} has a name that the predictions need themselves",
                f"give it another name in the query: `{column} AS {column}_`.",
            )


def _inputs(name: str, model: Any, columns: Sequence[str], label: str) -> list[str]:
    """Return the columns that a model is asked with: those of its signature, else all but the label."""
    schema = model.metadata.get_input_schema()
    if schema is None or not schema.has_input_names():
        return [column for column in columns if column != label]
    missing = [column for column in schema.required_input_names() if column not in columns]
    if missing:
        raise DataError(
            f"the {name} needs the column {missing[0]!r}, the examples have only {', '.join(columns)}",
            "let the query give that column for as long as this model is in use.",
        )
    return [column for column in schema.input_names() if column in columns]


def _sliceable(kind: pa.DataType) -> pa.DataType:
    """Return the type that values of a slice column are written as: TFMA's slice keys are integers or text."""
    import pyarrow as pa

    return pa.int64() if pa.types.is_integer(kind) else pa.string()


def _labels(column: pa.Array, label: str, span: str) -> pa.Array:
    """Return the labels as 0 and 1.

    Raises:
        DataError: One is missing, or is something else.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        raise DataError(
            f"the label {label!r} is missing in {column.null_count} rows of span {span}",
            "leave those rows out in the query, or wait until their labels have arrived.",
        )
    numeric = pa.types.is_boolean(column.type) or pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    found = pc.unique(column).to_pylist()
    wrong = [value for value in found if not numeric or value not in (0, 1)]
    if wrong:
        raise DataError(
            f"the label {label!r} is {wrong[0]!r} in span {span}", "give it as 0 or 1 in the query, with IF or CAST."
        )
    return column.cast(pa.int8())


def _check_classes(seen: set[int], label: str, spans: Sequence[str]) -> None:
    where = f"the spans {spans[0]} to {spans[-1]} that judge" if spans else "no spans at all"
    if not seen:
        raise DataError(f"there are no rows in {where}", "judge on more spans (`source.judge`), or check the query.")
    if len(seen) == 1:
        raise DataError(
            f"the label {label!r} is {seen.pop()} in all rows of {where}",
            "judge on more spans (`source.judge`), or check how the query makes the label.",
        )


def _answer(name: str, model: Any, frame: Any) -> pa.Array:
    """Return the model's probability for each row of `frame`.

    Raises:
        PredictionError: It fails, or gives something else.
    """
    import numpy as np
    import pyarrow as pa

    try:
        answer = model.predict(frame)
    except Exception as error:
        raise PredictionError(
            f"the {name} fails on the judge's rows: {type(error).__name__}: {error}",
            "call it with `mlflow.pyfunc.load_model(...).predict(rows)` to see where; raw columns go in, as extracted.",
        ) from error
    values = _one_column(name, answer)
    if len(values) != len(frame):
        raise PredictionError(
            f"the {name} answers {len(frame)} rows with {len(values)} predictions",
            "return one prediction for each row, in the order of the rows.",
        )
    wrong = ~np.isfinite(values) | (values < 0) | (values > 1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise PredictionError(
            f"the {name} gives {int(wrong.sum())} of {len(values)} rows no probability, as {float(values[row])!r}",
            "return numbers between 0 and 1; look for missing values in the features, and for a missing sigmoid.",
        )
    return pa.array(values)


def _one_column(name: str, answer: Any) -> Floats:
    import numpy as np

    columns = list(getattr(answer, "columns", ()))
    if "prediction" in columns:
        answer = answer["prediction"]
    try:
        values: Floats = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError):
        raise PredictionError(
            f"the {name} predicts something that is no number: {type(answer).__name__}", "return probabilities."
        ) from None
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise PredictionError(
            f"the {name} gives predictions of shape {values.shape}, not one a row",
            "return the probability of the positive class alone, as one column `prediction`.",
        )
    return values


def _groups(column: pa.ChunkedArray) -> Groups:
    import numpy as np

    encoded = column.combine_chunks().dictionary_encode()
    keys = encoded.dictionary.to_pylist()
    order = sorted(range(len(keys)), key=keys.__getitem__)
    rank = np.empty(len(keys) + 1, np.int64)
    rank[order] = np.arange(len(keys))
    rank[-1] = -1  # rows without a value are in no group, as in TFMA
    return Groups(tuple(keys[index] for index in order), rank[encoded.indices.fill_null(-1).to_numpy()])


def groupings(found: Predictions) -> Iterator[tuple[str, Groups]]:
    """Yield (column, groups) to measure by: all rows as the column '', then each slice column."""
    yield "", Groups.whole(len(found))
    yield from found.slices.items()
