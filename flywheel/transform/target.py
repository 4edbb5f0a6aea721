"""The label as the model learns it: its task, its classes, and how its raw column becomes numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flywheel.labels import MULTILABEL, columns_of
from flywheel.transform import raw

MOST_CLASSES = 1000
_TYPES = {"binary": pa.float32(), "multiclass": pa.int64(), "regression": pa.float32()}


@dataclass(frozen=True)
class Target:
    """What is predicted, and what the training window says of it.

    Attributes:
        name: The label's column; of several labels all of them, as one text.
        task: `binary`, `multiclass`, `multilabel` or `regression`.
        classes: Values of the label in the order of their index, sorted: (0, 1) when binary, none in a regression; of
            several labels their columns.
        counts: Rows of the window of each class; of several labels, rows that have it.
        mean: Mean of a regression's label.
        deviation: Its standard deviation (of the population).
    """

    name: str
    task: str = "binary"
    classes: tuple[int | str, ...] = (0, 1)
    counts: tuple[int, ...] = ()
    mean: float | None = None
    deviation: float | None = None

    @property
    def type(self) -> pa.DataType:
        """Arrow type of the transformed label: float32 0 or 1, int64 index of the class, float32 value.

        Of several labels it is a list of float32, 0 or 1 each, NaN where a label of the row is not known.
        """
        return pa.list_(pa.float32(), len(self.classes)) if self.task == MULTILABEL else _TYPES[self.task]

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns that it is made of."""
        return columns_of(self.name)

    def of(self, batch: pa.RecordBatch) -> pa.Array:
        """Return the labels of raw rows as a model is trained on them."""
        return self.encode(*(batch.column(batch.schema.get_field_index(name)) for name in self.columns))

    def encode(self, *columns: pa.Array) -> pa.Array:
        """Return raw columns of labels as a model is trained on them; a class that is unknown becomes null."""
        if self.task == MULTILABEL:
            values = np.stack([raw.numbers(column) for column in columns], axis=1).astype(np.float32)
            return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), len(columns))
        (column,) = columns
        if self.task != "multiclass":
            return column.cast(pa.float64()).cast(self.type)
        if isinstance(self.classes[0], str):
            values, known = raw.texts(column), pa.array(self.classes, pa.string())
        else:
            values, known = column.cast(pa.int64()), pa.array(self.classes, pa.int64())
        return pc.index_in(values, value_set=known).cast(self.type)


def fits(type: pa.DataType, task: str) -> bool:
    """Return whether a column of Arrow type `type` can be the label of `task`."""
    if task == "multiclass":
        return raw.is_text(type) or pa.types.is_integer(type) or pa.types.is_boolean(type)
    return raw.is_number(type)


def read(values: dict[str, Any]) -> Target:
    """Return the target that `dataclasses.asdict` made `values` of, with JSON's lists for tuples."""
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return Target(**given)
