"""One input of the model, as a feature gives it, training stores it, and a trainer builds a layer for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Input:
    """What a model gets of a row under one name.

    Attributes:
        name: Its name, in the stored rows and in the model's inputs.
        kind: `numeric` (float), `category` or `bucket` (an index, 0 for a missing value), `ids` (indices of a list's
            elements, padded with 0), `multi_hot` (1 for each value that a list holds), `counts` (how often each hashed
            n-gram occurs), `embedding` or `image`.
        cardinality: One more than the largest index, the size of an embedding's table; None for what is no index.
        shape: Of one row's array: () for a scalar, (height, width, channels) for an image.
        dtype: Of the array: float32, int32 or uint8.
    """

    name: str
    kind: str
    cardinality: int | None = None
    shape: tuple[int, ...] = ()
    dtype: str = "float32"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self) | {"shape": list(self.shape)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Input:
        """Return what `to_json` wrote."""
        return cls(**values | {"shape": tuple(values["shape"])})
