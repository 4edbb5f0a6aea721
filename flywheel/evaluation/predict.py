"""Predict: models answer for each of the judge's rows, and all that is judged by goes to one Parquet file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts.examples import gathered, joined
from flywheel.errors import ConfigError, DataError
from flywheel.evaluation.answers import answer, asked_columns, classes_of
from flywheel.evaluation.labels import Seen, classes_in, encoded, sorted_classes
from flywheel.evaluation.own import Own
from flywheel.evaluation.predictions import ABOUT, CLUSTER, LISTED, RESERVED, ROWS, SEARCHED, WEIGHT, Evidence
from flywheel.evaluation.regression import NAIVE
from flywheel.labels import MULTILABEL, columns_of
from flywheel.serving.pyfunc import SEVERAL
from flywheel.transform import raw

if TYPE_CHECKING:
    import pyarrow as pa

    from flywheel.artifacts import Examples


@dataclass(frozen=True)
class Wanted:
    """What is wanted of each row, beside what models predict.

    Attributes:
        label: Column with the truth, or columns as `flywheel.labels` joins them.
        task: `binary`, `multiclass`, `multilabel` or `regression`.
        slices: Columns to slice by.
        naive: Column with a naive forecast; empty for none.
        own: Metrics of the user's own; what each model's answer is worth by them is written beside it.
        search: Columns in which slices are searched for; those of no plain type are left out.
        evidence: What counts as one piece of evidence.
        ranking: `group`, the column whose value rows share that are ranked among each other, and `at`, some places.
        weight: Column that says how often a row counts; empty where all count once.
    """

    label: str
    task: str = "binary"
    slices: Sequence[str] = ()
    naive: str = ""
    own: Own = field(default_factory=Own)
    search: Sequence[str] = ()
    evidence: Evidence = field(default_factory=Evidence)
    ranking: Mapping[str, Any] | None = None
    weight: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns with the truth."""
        return columns_of(self.label)

    @property
    def cluster(self) -> str:
        """Column that says which piece of evidence a row belongs to; empty for none."""
        return self.evidence.cluster if self.evidence.cluster != ROWS else ""

    @property
    def listed(self) -> str:
        """Column that says which list a row is ranked in; empty for none."""
        return str(self.ranking["group"]) if self.ranking else ""

    def check(self, names: Sequence[str]) -> None:
        """Raise a ConfigError unless all its columns are among `names`, and have names that the file has room for."""
        asked = [*((column, "label") for column in self.labels), *((column, "slice column") for column in self.slices)]
        asked += [(self.naive, "naive forecast"), (self.cluster, "column of `gates.cluster`")]
        asked += [(self.weight, "column of `analyze.weight`")]
        for column, what in [*asked, (self.listed, "column of `ranking.group`")]:
            if column and column not in names:
                raise ConfigError(
                    f"the {what} {column!r} is not in the examples, only {', '.join(names)}",
                    "let the query give that column, or name another one.",
                )
        for column in self.slices:
            if column in RESERVED:
                raise ConfigError(
                    f"the slice column {column!r} has a name that the predictions need themselves",
                    f"give it another name in the query: `{column} AS {column}_`.",
                )
        for column in self.own.columns:
            if column not in names:
                raise ConfigError(
                    f"a metric needs the column {column!r}, which is not in the examples, only {', '.join(names)}",
                    "let the query give that column, or mend `columns` under `metrics`.",
                )

    def grouping(self, given: pa.Schema) -> dict[str, str]:
        """Return the columns of `given` that rows are grouped by apart from slices, by their name in the file."""
        found = {f"{SEARCHED}{name}": name for name in self.search if name in given.names}
        found = {ours: name for ours, name in found.items() if _searchable(given.field(name).type)}
        found |= {f"{CLUSTER}{self.cluster}": self.cluster} if self.cluster else {}
        return found | ({f"{LISTED}{self.listed}": self.listed} if self.listed else {})

    def schema(self, given: pa.Schema, models: Sequence[str], classes: Sequence[str]) -> pa.Schema:
        """Return the schema of the file for rows of the schema `given`."""
        import pyarrow as pa

        labels = {"binary": pa.int8(), "multiclass": pa.int64(), "regression": pa.float64()}
        labels[MULTILABEL] = pa.list_(pa.int8(), len(classes))
        score = pa.list_(pa.float64(), len(classes)) if self.task in SEVERAL else pa.float64()
        naive = [NAIVE] if self.naive else []
        fields = [("span", pa.string()), ("label", labels[self.task])]
        fields += [(name, _sliceable(given.field(name).type)) for name in self.slices]
        fields += [(name, score) for name in models] + [(name, pa.float64()) for name in naive]
        fields += [(WEIGHT, pa.float64())] if self.weight else []
        fields += [(name, pa.float64()) for name in self.own.names([*models, *naive])]
        for ours, name in self.grouping(given).items():
            kind = _searchable if ours.startswith(SEARCHED) else _sliceable
            fields.append((ours, kind(given.field(name).type)))
        return pa.schema(fields, {ABOUT: json.dumps(self._about(classes)).encode()})

    def _about(self, classes: Sequence[str]) -> dict[str, Any]:
        about: dict[str, Any] = {"task": self.task, "classes": list(classes)}
        about |= {"own": self.own.better} if self.own.asked else {}
        about |= {"evidence": asdict(self.evidence)} if self.evidence != Evidence() else {}
        return about | ({"ranking": {"group": self.listed, "at": list(self.ranking["at"])}} if self.ranking else {})


def write(
    examples: Examples,
    spans: Sequence[str],
    models: Mapping[str, Any],
    wanted: Wanted,
    file: Path,
    watch: Callable[[pa.Array, pa.RecordBatch, pa.Array, Mapping[str, pa.Array], Sequence[str]], None] | None = None,
) -> int:
    """Write label, slice columns and every model's prediction of each row of `spans` to `file`; return the rows.

    Rows go through batch by batch, so memory stays flat. Slice columns are written as integers or as text;
    probabilities of several classes as a list a row, in the order of the classes that the file's metadata name.

    Args:
        examples: Raw rows.
        spans: Which of them.
        models: MLflow pyfunc models by name.
        wanted: What is wanted of each row beside.
        file: Where to; `Predictions.read` reads it.
        watch: Is shown each batch: the span of each row, raw rows, labels as written, answers by model, the classes.

    Raises:
        ConfigError: The label, a slice column, the cluster or the naive forecast is not in the examples, or has a name
            that this file needs.
        DataError: A model needs a column that is not there; a label, weight or naive forecast is none; all rows have a
            label alike (of several labels: all of them).
        PredictionError: A model fails, or does not answer every row as its task wants.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, label, task, naive = examples.schema, wanted.label, wanted.task, wanted.naive
    wanted.check(schema.names)
    inputs = {name: asked_columns(name, model, schema.names, wanted.labels) for name, model in models.items()}
    grouping = wanted.grouping(schema).values()
    read = {*wanted.labels, naive, wanted.weight, *wanted.slices, *wanted.own.columns, *grouping}.union(
        *inputs.values()
    )
    names = [column for column in schema.names if column in read]
    classes: tuple[str, ...] = wanted.labels if task == MULTILABEL else ()
    if task == "multiclass":
        told = [value for name, model in models.items() for value in classes_of(name, model)]
        classes = sorted_classes({*told, *classes_in(examples, spans, label)})
    target = wanted.schema(schema, list(models), classes)
    rows, seen = 0, Seen(task, wanted.labels, classes)
    with pq.ParquetWriter(file, target, compression="zstd") as writer:
        for parts in gathered(examples.batches(spans, names)):  # a call of a model takes milliseconds
            batch = joined([each for _, each in parts])
            truth = [
                encoded([each.column(names.index(column)) for column in wanted.labels], task, classes, label, span)
                for span, each in parts
            ]
            labels = pa.concat_arrays(truth)
            seen.look(labels)
            frame = raw.frame(batch)
            columns = [pa.concat_arrays([pa.repeat(span, each.num_rows) for span, each in parts]), labels]
            columns += [batch.column(names.index(name)) for name in wanted.slices]
            answers = {name: answer(name, model, frame[inputs[name]], task, classes) for name, model in models.items()}
            if watch:
                watch(columns[0], batch, labels, answers, classes)
            if naive:
                forecasts = [_forecast(each.column(names.index(naive)), naive, span) for span, each in parts]
                answers[NAIVE] = pa.concat_arrays(forecasts)
            weights = [_weights(each.column(names.index(wanted.weight)), span) for span, each in parts if wanted.weight]
            columns += [
                *answers.values(),
                *([pa.concat_arrays(weights)] if weights else []),
                *wanted.own.values(batch, label, answers, classes),
            ]
            columns += [batch.column(names.index(name)) for name in grouping]
            columns = [each.cast(field.type) for each, field in zip(columns, target, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=target))
            rows += batch.num_rows
    seen.check(spans)
    return rows


def _searchable(kind: pa.DataType) -> pa.DataType | None:
    """Return the type that a searched column is written as; None for times, bytes and what is nested."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _searchable(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind):
        return pa.string()
    return pa.float64() if pa.types.is_integer(kind) or pa.types.is_floating(kind) else None


def _sliceable(kind: pa.DataType) -> pa.DataType:
    """Return the type that values of a slice column are written as: TFMA's slice keys are integers or text."""
    import pyarrow as pa

    return pa.int64() if pa.types.is_integer(kind) else pa.string()


def _weights(column: pa.Array, span: str) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    values = raw.numbers(column)
    wrong = int((~np.isfinite(values) | (values < 0)).sum())
    if wrong:
        raise DataError(
            f"analyze.weight is missing, negative or infinite in {wrong} rows of span {span}",
            "give every row one in that column: `COALESCE(..., 1)`.",
        )
    return pa.array(values)


def _forecast(column: pa.Array, naive: str, span: str) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    values = raw.numbers(column)
    if not np.isfinite(values).all():
        raise DataError(
            f"the naive forecast {naive!r} is missing in {int((~np.isfinite(values)).sum())} rows of span {span}",
            "COALESCE it with another forecast in the query, or leave those rows out.",
        )
    return pa.array(values)
