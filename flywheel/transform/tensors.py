"""Stored columns as the arrays that a model takes, in training and in serving alike."""

from __future__ import annotations

from io import BytesIO
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class Input(Protocol):
    """What is known of a model's input."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""

    @property
    def dtype(self) -> str:
        """NumPy's name of its type."""


def tensor(column: pa.Array | pa.ChunkedArray, input: Input) -> NDArray[Any]:
    """Return a stored column as an array of shape (rows, *input.shape)."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(column, pa.ChunkedArray):  # pyarrow 10 leaves a column of no chunks as it is
        column = pa.array([], column.type)
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return _images(column, input)
    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        column = column.flatten()
    values = column.to_numpy(zero_copy_only=False).astype(input.dtype, copy=False)
    return np.asarray(values).reshape(-1, *input.shape)


def _images(column: pa.Array, input: Input) -> NDArray[Any]:
    from PIL import Image

    height, width, channels = input.shape
    images = np.zeros((len(column), *input.shape), input.dtype)
    for row, content in enumerate(column):
        if content.is_valid:
            image = Image.open(BytesIO(content.as_py())).convert("L" if channels == 1 else "RGB")
            images[row] = np.asarray(image.resize((width, height))).reshape(input.shape)
    return images
