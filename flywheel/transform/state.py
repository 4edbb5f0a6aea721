"""What `transform` learned, as one readable JSON file, and the one way to apply it in training and in serving."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from numpy.typing import NDArray

from flywheel.errors import ArtifactError, DataError
from flywheel.transform import raw, target, tensors
from flywheel.transform.bad_rows import BadRows
from flywheel.transform.feature import Feature, storage
from flywheel.transform.features import from_json
from flywheel.transform.inputs import Input
from flywheel.transform.target import Target

if TYPE_CHECKING:
    import pandas as pd

    from flywheel.transform.functions import FeatureFunction

VERSION = 2


@dataclass(frozen=True)
class State:
    """Everything needed to turn raw rows into model inputs.

    Attributes:
        target: The label.
        rows: Rows of the training window.
        features: The features, in the order that they were declared.
        code: The project's archive, when features have functions of the user's.
    """

    target: Target
    rows: int
    features: tuple[Feature, ...]
    code: Path | None = field(default=None, compare=False)

    @classmethod
    def read(cls, file: Path, code: Path | None = None) -> State:
        """Return the state in `file`.

        Args:
            file: What `write` wrote.
            code: The project's archive, when features have functions of the user's.

        Raises:
            ArtifactError: It was written by a version of this library that this one does not understand.
        """
        return cls.parse(file.read_text(encoding="utf-8"), code, str(file))

    @classmethod
    def parse(cls, text: str, code: Path | None = None, file: str = "the state") -> State:
        """Return the state that `text` says; the rest as in `read`."""
        values = json.loads(text)
        if values.get("version") != VERSION:
            raise ArtifactError(
                f"{file} is of version {values.get('version')!r}, this library reads {VERSION}",
                "run `transform` again, or use the library that wrote it.",
            )
        features = tuple(from_json(entry) for entry in values["features"])
        return cls(target.read(values["label"]), values["rows"], features, code)

    def write(self, file: Path) -> None:
        """Write the state to `file`."""
        file.write_text(self.to_text(), encoding="utf-8")

    def to_text(self) -> str:
        """Return the state as JSON that people can read, one feature a line."""
        about = {"version": VERSION, "rows": self.rows, "label": asdict(self.target)}
        head = json.dumps(about, ensure_ascii=False, allow_nan=False)
        entries = [feature.to_json() for feature in self.features]
        lines = ",\n  ".join(json.dumps(entry, ensure_ascii=False, allow_nan=False) for entry in entries)
        return f'{head[:-1]}, "features": [\n  {lines}\n]}}\n'

    @property
    def label(self) -> str:
        """Column that is predicted; of several labels all of them, as one text."""
        return self.target.name

    @property
    def task(self) -> str:
        """`binary`, `multiclass`, `multilabel` or `regression`."""
        return self.target.task

    @property
    def classes(self) -> tuple[int | str, ...]:
        """Values of the label in the order of their index, or the labels where there are several; of a number none."""
        return self.target.classes

    @cached_property
    def types(self) -> dict[str, str]:
        """Types of the raw columns that it reads, each once, by their names."""
        return {name: type for each in self.features for name, type in zip(each.columns, each.types, strict=True)}

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the raw columns that it reads."""
        return tuple(self.types)

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        """What the model gets, in the order of the features."""
        return tuple(input for feature in self.features for input in feature.inputs)

    @cached_property
    def schema(self) -> pa.Schema:
        """Arrow schema of transformed rows: one column an input, and the label."""
        fields = [pa.field(input.name, storage(input)) for input in self.inputs]
        return pa.schema([*fields, pa.field(self.label, self.target.type)])

    def apply(self, columns: Mapping[str, pa.Array], bad: BadRows | None = None) -> dict[str, pa.Array]:
        """Return raw columns as transformed rows are stored, one column an input, each value from its own row alone.

        Args:
            columns: The raw columns by name, all of one length.
            bad: Told of rows that cannot be transformed, for the caller to leave out.

        Raises:
            DataError: A row cannot be transformed and there is nobody to tell; or a feature function is wrong.
        """
        if bad is None:
            bad = BadRows(len(next(iter(columns.values()))), refuse=True)
        found: dict[str, pa.Array] = {}
        for index, feature in enumerate(self.features):
            given = [columns[name] for name in feature.columns]
            if feature.function:
                given = [self._functions[index](given, bad)]
            found |= {i.name: made for i, made in zip(feature.inputs, feature.apply(given, bad), strict=True)}
        return found

    def tensors(self, columns: Mapping[str, pa.Array], bad: BadRows | None = None) -> dict[str, NDArray[Any]]:
        """Return the model inputs of raw columns, one array an input; rows that `bad` is told of are left out.

        Raises:
            DataError: A row cannot be transformed and there is nobody to tell.
        """
        stored = self.apply(columns, bad)
        if bad is not None and len(bad):
            good = pa.array(~bad.mask())
            stored = {name: column.filter(good) for name, column in stored.items()}
        return {input.name: tensors.tensor(stored[input.name], input) for input in self.inputs}

    def apply_batch(self, batch: pa.RecordBatch, bad: BadRows | None = None) -> dict[str, NDArray[Any]]:
        """Return the model inputs of a batch of raw rows, as `tensors`; what no feature reads is left aside."""
        return self.tensors(self.columns_of(batch), bad)

    def reads(self, schema: pa.Schema) -> bool:
        """Return whether batches of `schema` hold every raw column, in its type in training."""
        return all(
            name in schema.names and raw.type_name(schema.field(name).type) == type for name, type in self.types.items()
        )

    def columns_of(self, batch: pa.RecordBatch) -> dict[str, pa.Array]:
        """Return the columns of a batch of raw rows that features read."""
        return {name: batch.column(batch.schema.get_field_index(name)) for name in self.columns}

    def apply_frame(self, frame: pd.DataFrame, bad: BadRows | None = None) -> dict[str, NDArray[Any]]:
        """Return the model inputs of a DataFrame of raw rows; columns that no feature reads are left aside.

        Args:
            frame: Raw rows.
            bad: Told of rows that cannot be transformed, which are left out.

        Raises:
            DataError: A column is missing or holds another kind of value than in training; a row cannot be transformed
                and there is nobody to tell.
        """
        absent = [name for name in self.columns if name not in frame.columns]
        if absent:
            raise DataError(
                f"the rows have no column {', '.join(map(repr, absent))}",
                f"send all of {', '.join(self.columns)}; null where a value is missing.",
            )
        columns = {name: raw.from_series(frame[name], name, type) for name, type in self.types.items()}
        return self.tensors(columns, bad)

    @cached_property
    def _functions(self) -> dict[int, FeatureFunction]:
        from flywheel.transform.code import Code
        from flywheel.transform.functions import FeatureFunction

        asked = {index: each for index, each in enumerate(self.features) if each.function}
        if asked and self.code is None:
            name = next(iter(asked.values())).name
            raise DataError(f"the function of feature {name!r} has no code to be found in", "hand the archive on.")
        code = Code.of(self.code) if asked and self.code else None
        return {index: FeatureFunction(each, code) for index, each in asked.items() if code}
