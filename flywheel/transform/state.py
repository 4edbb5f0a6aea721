"""What `transform` learned, as one readable JSON file, and the one way to apply it in training and in serving."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from numpy.typing import NDArray

from flywheel.errors import ArtifactError, DataError
from flywheel.transform import raw, target
from flywheel.transform.features import KINDS, Feature
from flywheel.transform.target import Target

if TYPE_CHECKING:
    import pandas as pd

VERSION = 2


@dataclass(frozen=True)
class State:
    """Everything needed to turn raw rows into model inputs.

    Attributes:
        target: The label.
        rows: Rows of the training window.
        features: The features, in the order that they were declared.
    """

    target: Target
    rows: int
    features: tuple[Feature, ...]

    @classmethod
    def read(cls, file: Path) -> State:
        """Return the state in `file`.

        Raises:
            ArtifactError: It was written by a version of this library that this one does not understand.
        """
        values = json.loads(file.read_text())
        if values.get("version") == 1:  # it knew labels of 0 and 1 only
            positive = values["positive"]
            values["label"] = {"name": values["label"], "counts": [values["rows"] - positive, positive]}
        elif values.get("version") != VERSION:
            raise ArtifactError(
                f"{file} is of version {values.get('version')!r}, this library reads {VERSION}",
                "run `transform` again, or use the library that wrote it.",
            )
        features = tuple(_feature(entry) for entry in values["features"])
        return cls(target.read(values["label"]), values["rows"], features)

    def write(self, file: Path) -> None:
        """Write the state to `file`, one feature a line."""
        about = {"version": VERSION, "rows": self.rows, "label": asdict(self.target)}
        head = json.dumps(about, ensure_ascii=False, allow_nan=False)
        entries = [{"column": f.column, "as": f.kind} | asdict(f) for f in self.features]
        lines = ",\n  ".join(json.dumps(entry, ensure_ascii=False, allow_nan=False) for entry in entries)
        file.write_text(f'{head[:-1]}, "features": [\n  {lines}\n]}}\n', encoding="utf-8")

    @property
    def label(self) -> str:
        """Column that is predicted."""
        return self.target.name

    @property
    def task(self) -> str:
        """`binary`, `multiclass` or `regression`."""
        return self.target.task

    @property
    def classes(self) -> tuple[int | str, ...]:
        """Values of the label in the order of their index; none in a regression."""
        return self.target.classes

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the raw columns that it reads."""
        return tuple(feature.column for feature in self.features)

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of transformed rows: one column a feature, and the label."""
        fields = [pa.field(feature.column, pa.from_numpy_dtype(feature.dtype)) for feature in self.features]
        return pa.schema([*fields, pa.field(self.label, self.target.type)])

    def apply(self, columns: Mapping[str, pa.Array]) -> dict[str, NDArray[Any]]:
        """Return the model inputs of raw columns, one array a feature, each value from its own row alone."""
        return {feature.column: feature.apply(columns[feature.column]) for feature in self.features}

    def apply_batch(self, batch: pa.RecordBatch) -> dict[str, NDArray[Any]]:
        """Return the model inputs of a batch of raw rows; columns that no feature reads are left aside."""
        return self.apply({name: batch.column(batch.schema.get_field_index(name)) for name in self.columns})

    def apply_frame(self, frame: pd.DataFrame) -> dict[str, NDArray[Any]]:
        """Return the model inputs of a DataFrame of raw rows; columns that no feature reads are left aside.

        Raises:
            DataError: A column is missing, or holds another kind of value than in training.
        """
        absent = [name for name in self.columns if name not in frame.columns]
        if absent:
            raise DataError(
                f"the rows have no column {', '.join(map(repr, absent))}",
                f"send all of {', '.join(self.columns)}; null where a value is missing.",
            )
        return self.apply({f.column: raw.from_series(frame[f.column], f.column, f.type) for f in self.features})


def _feature(entry: dict[str, Any]) -> Feature:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return KINDS[values.pop("as")](**values)
