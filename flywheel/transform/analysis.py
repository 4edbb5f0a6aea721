"""What is learned from the training window: one summary a feature, and one of the label, that merge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter

from flywheel import config
from flywheel.errors import DataError
from flywheel.labels import MULTILABEL, columns_of
from flywheel.transform import raw, summaries
from flywheel.transform.bad_rows import BadRows
from flywheel.transform.code import Code
from flywheel.transform.feature import Feature
from flywheel.transform.features import KINDS
from flywheel.transform.functions import FeatureFunction
from flywheel.transform.state import State
from flywheel.transform.summaries import Moments
from flywheel.transform.target import MOST_CLASSES, Target


@dataclass
class Labels:
    """What the label's column holds: how often each of its classes occurs, or what its numbers are like.

    Attributes:
        task: `binary`, `multiclass`, `multilabel` or `regression`.
        counts: Rows of each class; of too many classes only some.
        moments: Of a regression's label.
        missing: Rows without a label.
    """

    task: str = "binary"
    counts: Counter[Any] = field(default_factory=Counter)
    moments: Moments = field(default_factory=Moments)
    missing: int = 0

    def add(self, column: pa.Array) -> None:
        """Take the rows of `column`."""
        if self.task == "regression":
            self.moments.add([column])
            self.missing = self.moments.missing
            return
        if self.task == "binary":
            column = pa.array(raw.numbers(column), from_pandas=True)
        else:
            column = raw.texts(column) if raw.is_text(column.type) else column.cast(pa.int64())
        found = column.drop_null().value_counts()
        counts = dict(zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True))
        self.merge(Labels(self.task, Counter(counts), missing=column.null_count))

    def merge(self, other: Labels) -> None:
        """Take the rows of another summary."""
        self.missing += other.missing
        self.moments.merge(other.moments)
        self.counts.update(other.counts)
        # More say nothing new: they are too many, or no label of 0 and 1
        if len(self.counts) > 2 * MOST_CLASSES:
            self.counts = Counter({value: self.counts[value] for value in sorted(self.counts)[: MOST_CLASSES + 1]})

    def finish(self, label: str, *, unknown: bool = False) -> Target:
        """Return what is predicted.

        Args:
            label: Name of the column.
            unknown: Whether rows may be without it.

        Raises:
            DataError: A label is missing, is none of the task's, or all are the same.
        """
        rows = sum(self.counts.values()) + self.moments.rows + self.missing
        if unknown and not self.counts:
            raise DataError(
                f"label {label!r} is not known in any of the {rows} rows of the training window",
                "widen source.window, or take that label out of `label`.",
            )
        if self.missing and not unknown:
            what = "missing or no finite number" if self.task == "regression" else "missing"
            raise DataError(
                f"label {label!r} is {what} in {self.missing} of {rows} rows",
                f"leave such rows out: `WHERE {label} IS NOT NULL` in the query.",
            )
        if self.task == "regression":
            return self._number(label)
        classes = (0, 1) if self.task == "binary" else tuple(sorted(self.counts))
        others = sorted(set(self.counts) - set(classes))
        if others:
            raise DataError(
                f"label {label!r} is {others[0]!r} in some rows",
                "make it 0 or 1 in the query"
                + (
                    ", or null where it is not known."
                    if unknown
                    else ", or set `task: multiclass` or `task: regression`."
                ),
            )
        if len(classes) > MOST_CLASSES:
            raise DataError(
                f"label {label!r} has more than {MOST_CLASSES} classes, as {classes[0]!r} and {classes[1]!r}",
                "put rare ones together in the query, or set `task: regression` if it is a quantity.",
            )
        if len(self.counts) < 2:
            value = next(iter(self.counts))
            raise _constant(label, int(value) if self.task == "binary" else value, rows)
        return Target(label, self.task, classes, tuple(self.counts[value] for value in classes))

    def _number(self, label: str) -> Target:
        moments, found = self.moments, self.moments.finish()
        if moments.minimum >= moments.maximum:
            raise _constant(label, found["mean"], moments.rows)
        return Target(label, self.task, (), (), found["mean"], found["deviation"])


SUMMARIES: dict[str, Callable[[Any], Any]] = {
    "numeric": lambda spec: summaries.Moments(spec.clip),
    "bucket": lambda spec: summaries.Missing() if spec.boundaries else summaries.Histogram(spec.quantiles),
    "category": lambda spec: summaries.Counts(spec.top, spec.minimum),
    "list": lambda spec: summaries.Elements(spec.top, spec.minimum, separator=spec.separator),
    "multi_hot": lambda spec: summaries.Elements(spec.top, spec.minimum, separator=spec.separator),
    "text": lambda spec: summaries.Elements(spec.top, spec.minimum, words=True),
    "hash": lambda spec: summaries.Hashes(),
    "cross": lambda spec: summaries.Hashes(),
    "image": lambda spec: summaries.Nothing(),
}
SPECS: TypeAdapter[tuple[config.Feature, ...]] = TypeAdapter(tuple[config.Feature, ...])
"""Made once: it takes as long as thousands of rows."""
_UNNAMED = {"name", "column", "columns", "function", "kind"}


class Analysis:
    """The summaries of all features and of the label, as one.

    Args:
        features: As `features` in flywheel.yaml.
        label: Column to predict, or columns as `flywheel.labels` joins them.
        task: `binary`, `multiclass`, `multilabel` or `regression`.
    """

    def __init__(self, features: list[dict[str, Any]], label: str, task: str = "binary") -> None:
        self.features, self.label = features, label
        self.specs = SPECS.validate_python(features)
        self.summaries = [SUMMARIES.get(spec.kind, lambda _: summaries.Missing())(spec) for spec in self.specs]
        self.results = [""] * len(self.specs)
        self.task, self.rows = task, 0
        each = "binary" if task == MULTILABEL else task
        self.labels = {name: Labels(each) for name in columns_of(label)}

    def add(self, batch: pa.RecordBatch, code: Path | None = None, *, check: bool = False) -> None:
        """Take the rows of `batch`.

        Args:
            batch: Raw rows.
            code: The project's archive, where feature functions are.
            check: Whether feature functions are held to give each row its value by itself.
        """
        self.rows += batch.num_rows
        for index, (spec, summary) in enumerate(zip(self.specs, self.summaries, strict=True)):
            columns = [batch.column(batch.schema.get_field_index(name)) for name in spec.sources]
            if spec.function:
                columns = [self._made(index, columns, code, check)]
            summary.add(columns)
        for name, labels in self.labels.items():
            labels.add(batch.column(batch.schema.get_field_index(name)))

    def merge(self, other: Analysis) -> None:
        """Take the rows of another analysis of the same features."""
        self.rows += other.rows
        for mine, others in zip(self.summaries, other.summaries, strict=True):
            mine.merge(others)
        self.results = [self._agreed(*each) for each in enumerate(zip(self.results, other.results, strict=True))]
        for name, labels in self.labels.items():
            labels.merge(other.labels[name])

    def finish(self, schema: pa.Schema) -> State:
        """Return what was learned from rows of `schema`.

        Raises:
            DataError: There are no rows, or the label is none of the task's.
        """
        if not self.rows:
            raise DataError("the training window has no rows", "widen source.window, or look at the query's WHERE.")
        return State(self._target(), self.rows, tuple(self._feature(index, schema) for index in range(len(self.specs))))

    def _target(self) -> Target:
        if self.task != MULTILABEL:
            return self.labels[self.label].finish(self.label)
        each = [labels.finish(name, unknown=True) for name, labels in self.labels.items()]
        return Target(self.label, self.task, tuple(self.labels), tuple(one.counts[1] for one in each))

    def _feature(self, index: int, schema: pa.Schema | None = None) -> Feature:
        """Return a feature with what was learned for it; without a schema, one to call its function with."""
        spec = self.specs[index]
        settings = {name: getattr(spec, name) for name in type(spec).model_fields if name not in _UNNAMED}
        if spec.kind == "numeric":
            settings = {"scale": spec.scale, "clip": tuple(spec.clip), "fill": spec.missing}
        types = tuple(raw.type_name(schema.field(name).type) for name in spec.sources) if schema else ()
        kind, result = KINDS[spec.kind], self.results[index]
        if spec.function and schema and not result:
            result = _EMPTY[kind.forms[0]]
        about: dict[str, Any] = {"name": spec.called, "columns": spec.sources, "types": types, "result": result}
        found = self.summaries[index].finish() if schema else {}
        return kind(**about, function=spec.function or "", **settings | found)

    def _made(self, index: int, columns: list[pa.Array], code: Path | None, check: bool) -> pa.Array:
        """Return what a feature's function makes of its columns, null where it cannot."""
        feature = self._feature(index)
        if code is None:
            raise DataError(
                f"the function of feature {feature.name!r} has no code to be found in", "hand the archive on."
            )
        function = FeatureFunction(feature, Code.of(code))
        if check:
            function.check(columns)
        made = function(columns, BadRows(len(columns[0])))
        if not pa.types.is_null(made.type):
            if raw.form(made.type) not in feature.forms:
                raise DataError(
                    f"feature function {feature.function!r} gives {str(made.type)!r}, not for {feature.kind!r} to read",
                    f"let it give a {' or a '.join(feature.forms)}, or choose another `as`.",
                )
            self.results[index] = self._agreed(index, (self.results[index], raw.type_name(made.type)))
            return made
        return pa.nulls(len(made), raw.arrow_type(self.results[index] or _EMPTY[feature.forms[0]]))

    def _agreed(self, index: int, types: tuple[str, str]) -> str:
        if all(types) and types[0] != types[1]:
            name = self.specs[index].function
            raise DataError(
                f"feature function {name!r} gives {types[0]!r} for some rows and {types[1]!r} for others",
                "return one type always: pa.array(values, pa.float64()).",
            )
        return types[0] or types[1]


_EMPTY = {"number": "double", "text": "string", "time": raw.TIME, "list": "list<double>", "bytes": "binary"}
"""What a function gives that gives nothing but nulls."""


def _constant(label: str, value: Any, rows: int) -> DataError:
    return DataError(
        f"label {label!r} is {value!r} in all {rows} rows of the training window: there is nothing to learn",
        "widen source.window, or mend the query's definition of the label.",
    )
