"""What is learned from the training window: one summary a feature, and one of the label, that merge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from flywheel import config
from flywheel.errors import DataError
from flywheel.transform import raw, summaries
from flywheel.transform.bad_rows import BadRows
from flywheel.transform.code import Code
from flywheel.transform.feature import Feature
from flywheel.transform.features import KINDS
from flywheel.transform.functions import FeatureFunction
from flywheel.transform.state import State


@dataclass
class Labels:
    """How often each value of the label occurs, up to a few of those that it may not have."""

    counts: Counter[Any] = field(default_factory=Counter)
    missing: int = 0

    def add(self, column: pa.Array) -> None:
        """Take the rows of `column`."""
        found = raw.numbers(column)
        values, counts = np.unique(found[~np.isnan(found)], return_counts=True)
        self.merge(
            Labels(Counter(dict(zip(values.tolist(), counts.tolist(), strict=True))), int(np.isnan(found).sum()))
        )

    def merge(self, other: Labels) -> None:
        """Take the rows of another summary."""
        self.missing += other.missing
        self.counts.update(other.counts)
        if len(self.counts) > 100:  # no label of 0 and 1 any more, and a hundred values say so as well as all of them
            self.counts = Counter({value: self.counts[value] for value in sorted(self.counts)[:100]})

    def check(self, label: str) -> None:
        """Raise a DataError unless there are both classes, 0 and 1, and nothing else."""
        rows = sum(self.counts.values()) + self.missing
        if self.missing:
            raise DataError(
                f"label {label!r} is missing in {self.missing} of {rows} rows",
                f"leave such rows out: `WHERE {label} IS NOT NULL` in the query.",
            )
        others = sorted(set(self.counts) - {0.0, 1.0})
        if others:
            raise DataError(f"label {label!r} is {others[0]!r} in some rows", "make it 0 or 1 in the query.")
        if len(self.counts) < 2:
            value = int(next(iter(self.counts)))
            raise DataError(
                f"label {label!r} is {value} in all {rows} rows of the training window: there is nothing to learn",
                "widen source.window, or mend the query's definition of the label.",
            )


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
_UNNAMED = {"name", "column", "columns", "function", "kind"}


class Analysis:
    """The summaries of all features and of the label, as one.

    Args:
        features: As `features` in flywheel.yaml.
        label: Column to predict.
    """

    def __init__(self, features: list[dict[str, Any]], label: str) -> None:
        self.features, self.label = features, label
        self.specs = TypeAdapter(tuple[config.Feature, ...]).validate_python(features)
        self.summaries = [SUMMARIES.get(spec.kind, lambda _: summaries.Missing())(spec) for spec in self.specs]
        self.results = [""] * len(self.specs)
        self.labels, self.rows = Labels(), 0

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
        self.labels.add(batch.column(batch.schema.get_field_index(self.label)))

    def merge(self, other: Analysis) -> None:
        """Take the rows of another analysis of the same features."""
        self.rows += other.rows
        for mine, others in zip(self.summaries, other.summaries, strict=True):
            mine.merge(others)
        self.results = [self._agreed(*each) for each in enumerate(zip(self.results, other.results, strict=True))]
        self.labels.merge(other.labels)

    def finish(self, schema: pa.Schema) -> State:
        """Return what was learned from rows of `schema`.

        Raises:
            DataError: There are no rows, or the label is not 0 and 1.
        """
        if not self.rows:
            raise DataError("the training window has no rows", "widen source.window, or look at the query's WHERE.")
        self.labels.check(self.label)
        learned = [self._feature(index, schema) for index in range(len(self.specs))]
        return State(self.label, self.rows, int(self.labels.counts[1.0]), tuple(learned))

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
