"""The label as the model learns it: its task, its classes, and how its raw column becomes numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from flywheel.transform import raw

MOST_CLASSES = 1000
_TYPES = {"binary": pa.float32(), "multiclass": pa.int64(), "regression": pa.float32()}


@dataclass(frozen=True)
class Target:
    """What is predicted, and what the training window says of it.

    Attributes:
        name: The label's column.
        task: `binary`, `multiclass` or `regression`.
        classes: Values of the label in the order of their index, sorted: (0, 1) when binary, none in a regression.
        counts: Rows of the window of each class.
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
        """Arrow type of the transformed label: float32 0 or 1, int64 index of the class, float32 value."""
        return _TYPES[self.task]

    def encode(self, column: pa.Array) -> pa.Array:
        """Return a raw column of labels as a model is trained on them; a class that is unknown becomes null."""
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
