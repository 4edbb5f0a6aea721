"""Features that were made elsewhere: embeddings and images, checked and passed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from flywheel.transform import raw, tensors
from flywheel.transform.bad_rows import BadRows
from flywheel.transform.feature import Feature, fixed
from flywheel.transform.inputs import Input


@dataclass(frozen=True, kw_only=True)
class Embedding(Feature):
    """A vector of `dim` numbers, as it is; zeros when it is missing.

    Attributes:
        dim: How long each one is.
        missing: Rows of the window without one.
    """

    kind: ClassVar[str] = "embedding"
    forms: ClassVar[tuple[str, ...]] = ("list",)
    dim: int = 0
    missing: int = 0

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The vector."""
        return (Input(self.name, "embedding", None, (self.dim,)),)

    def apply(self, columns: Sequence[pa.Array], bad: BadRows) -> tuple[pa.Array, ...]:
        """Return the vectors as float32."""
        found = raw.lists(columns[0])
        short = ~found.missing & (found.lengths != self.dim)
        for length in np.unique(found.lengths[short]):
            bad.add(np.flatnonzero(short & (found.lengths == length)), self.name, f"{length} numbers, not {self.dim}")
        values = found.values.to_numpy(zero_copy_only=False)
        bad.add(np.unique(found.rows[np.isnan(values)]), self.name, "an element that is missing or not finite")
        matrix = np.zeros((len(found.lengths), self.dim), np.float32)
        whole = found.lengths == self.dim
        matrix[whole] = np.nan_to_num(values[whole[found.rows]]).reshape(-1, self.dim)
        return (fixed(matrix, self.dim),)


@dataclass(frozen=True, kw_only=True)
class Image(Feature):
    """An encoded image, kept as its bytes; the model gets pixels of one size, zeros when it is missing.

    Attributes:
        height: Rows of pixels.
        width: Columns of pixels.
        channels: 1 for grey, 3 for colours, 4 with transparency.
    """

    kind: ClassVar[str] = "image"
    forms: ClassVar[tuple[str, ...]] = ("bytes",)
    height: int = 0
    width: int = 0
    channels: int = 3

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The pixels."""
        return (Input(self.name, "image", None, (self.height, self.width, self.channels), "uint8"),)

    def apply(self, columns: Sequence[pa.Array], bad: BadRows) -> tuple[pa.Array, ...]:
        """Return the bytes; where bad rows are counted, each image is decoded once to see that it can be."""
        found = raw.blobs(columns[0])
        if bad.refuse:  # `tensor` decodes it next, and says the same
            return (found,)
        for row, data in enumerate(found):
            if data.is_valid:
                try:
                    tensors.decode(data.as_py(), self.height, self.width, self.channels)
                except ValueError as error:
                    bad.add([row], self.name, tensors.undecodable(error))
        return (found,)
