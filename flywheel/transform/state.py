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
from flywheel.transform import raw
from flywheel.transform.features import KINDS, Feature

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1


@dataclass(frozen=True)
class State:
    """Everything needed to turn raw rows into model inputs.

    Attributes:
        label: Column that is predicted, 0 or 1.
        rows: Rows of the training window.
        positive: How many of them have label 1.
        features: The features, in the order that they were declared.
    """

    label: str
    rows: int
    positive: int
    features: tuple[Feature, ...]

    @classmethod
    def read(cls, file: Path) -> State:
        """Return the state in `file`.

        Raises:
            ArtifactError: It was written by a version of this library that this one does not understand.
        """
        values = json.loads(file.read_text())
        if values.get("version") != VERSION:
            raise ArtifactError(
                f"{file} is of version {values.get('version')!r}, this library reads {VERSION}",
                "run `transform` again, or use the library that wrote it.",
            )
        features = tuple(_feature(entry) for entry in values["features"])
        return cls(values["label"], values["rows"], values["positive"], features)

    def write(self, file: Path) -> None:
        """Write the state to `file`, one feature a line."""
        head = {"version": VERSION, "label": self.label, "rows": self.rows, "positive": self.positive}
        entries = [{"column": f.column, "as": f.kind} | asdict(f) for f in self.features]
        lines = ",\n  ".join(json.dumps(entry, ensure_ascii=False, allow_nan=False) for entry in entries)
        file.write_text(f'{json.dumps(head)[:-1]}, "features": [\n  {lines}\n]}}\n', encoding="utf-8")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the raw columns that it reads."""
        return tuple(feature.column for feature in self.features)

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of transformed rows: one column a feature, and the label as float32."""
        fields = [pa.field(feature.column, pa.from_numpy_dtype(feature.dtype)) for feature in self.features]
        return pa.schema([*fields, pa.field(self.label, pa.float32())])

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
