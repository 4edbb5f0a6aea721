"""What every kind of feature has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from flywheel.transform.bad_rows import BadRows
from flywheel.transform.inputs import Input


@dataclass(frozen=True, kw_only=True)
class Feature(ABC):
    """How raw columns become inputs of the model, with what was learned for it.

    Index 0 always means a missing value. Every input depends on its own row alone.

    Attributes:
        kind: What it is called in flywheel.yaml.
        forms: What its columns may be read as, as `raw.form` calls it.
        name: Names its inputs.
        columns: Names of the raw columns that it reads.
        types: Their types, as `raw.type_name` calls them.
        function: The user's function that makes one column of them first, as `module:function`.
        result: Type of what that function gives.
    """

    kind: ClassVar[str]
    forms: ClassVar[tuple[str, ...]]
    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    function: str = ""
    result: str = ""

    @property
    def type(self) -> str:
        """Type of the column that it is made of: the function's result, or its first raw column."""
        return self.result or self.types[0]

    @property
    @abstractmethod
    def inputs(self) -> tuple[Input, ...]:
        """What the model gets of it."""

    @abstractmethod
    def apply(self, columns: Sequence[pa.Array], bad: BadRows) -> tuple[pa.Array, ...]:
        """Return one column an input, without nulls but in images.

        Args:
            columns: Its raw columns, or what its function made of them.
            bad: Told of rows that cannot be read; what is returned for them is of no meaning.
        """

    def summary(self) -> dict[str, Any]:
        """Return what was learned, for people to compare: `{what: number or list of values}`."""
        about = {field.name for field in fields(Feature)}
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in about}

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = {name: value for name, value in asdict(self).items() if value != ""}
        return {"name": values.pop("name"), "as": self.kind, **values}


def storage(input: Input) -> pa.DataType:
    """Return the Arrow type in which an input is stored."""
    if input.kind == "image":
        return pa.binary()
    if input.kind in ("multi_hot", "counts"):
        return pa.list_(pa.int32())
    value = pa.from_numpy_dtype(np.dtype(input.dtype))
    return pa.list_(value, input.shape[0]) if input.shape else value


def fixed(values: Any, width: int) -> pa.Array:
    """Return a matrix of `width` columns as one column of lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), width)
