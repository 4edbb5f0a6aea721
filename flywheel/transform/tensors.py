"""Stored columns as the arrays that a model takes: the one place where it is done, for training and for serving.

Rows are stored as compactly as they can be: an image as its bytes, a multi-hot vector as the places of its ones.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flywheel.transform.bad_rows import refused
from flywheel.transform.inputs import Input

if TYPE_CHECKING:
    from flywheel.artifacts import Examples

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's names of images with so many channels."""


def tensor(column: pa.Array | pa.ChunkedArray, input: Input) -> NDArray[Any]:
    """Return a stored column as the array of `input`: rows first, then `input.shape`.

    Args:
        column: As `State.apply` gave it, or as it was read from transformed examples.
        input: Which input it is.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(column, pa.ChunkedArray):  # of no chunks: there is nothing to combine
        column = pa.array([], column.type)
    if input.kind == "image":
        return _images(column, input)
    if input.kind in ("multi_hot", "counts"):
        return _dense(column, input)
    if input.shape:
        values: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(len(column), *input.shape)
    found: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return found


def plain(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Return a column that is no input, as a label, as an array: of lists of one length it is (rows, length)."""
    if isinstance(column, pa.ChunkedArray) and pa.types.is_fixed_size_list(column.type):
        parts = [plain(chunk) for chunk in column.chunks]
        return np.concatenate(parts) if parts else np.empty((0, column.type.list_size), np.float32)
    if pa.types.is_fixed_size_list(column.type):
        values: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(len(column), column.type.list_size)
    found: NDArray[Any] = (
        column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
    )
    return found


def inputs_of(examples: Examples) -> dict[str, Input]:
    """Return the inputs that transformed examples hold, by name; of rows that no transform wrote, one a column."""
    described = examples.manifest.facts.get("inputs")
    if described is not None:
        return {values["name"]: Input.from_json(values) for values in described}
    schema = examples.schema
    return {
        name: Input(name, "numeric", dtype=str(np.dtype(schema.field(name).type.to_pandas_dtype())))
        for name in examples.columns
    }


def decode(data: bytes, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """Return an encoded image (JPEG, PNG, …) as its pixels, converted and resized if it is of another form.

    Raises:
        ValueError: Pillow cannot decode it; the message says why.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            converted = image.convert(MODES[channels])
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # its readers raise whatever their format makes them: OSError, SyntaxError, struct.error
        text = "no image format that Pillow knows" if isinstance(error, UnidentifiedImageError) else str(error)
        raise ValueError(text or type(error).__name__) from None
    if converted.size != (width, height):
        converted = converted.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(converted, dtype=np.uint8).reshape(height, width, channels)


def undecodable(error: ValueError) -> str:
    """Return what is said of an image that `decode` could not read."""
    return f"an image that cannot be decoded: {error}"


def _images(column: pa.Array, input: Input) -> NDArray[np.uint8]:
    height, width, channels = input.shape
    pixels = np.zeros((len(column), height, width, channels), np.uint8)
    for row, data in enumerate(column):
        if data.is_valid:
            try:
                pixels[row] = decode(data.as_py(), height, width, channels)
            except ValueError as error:
                raise refused(row, input.name, undecodable(error)) from None
    return pixels


def _dense(column: pa.Array, input: Input) -> NDArray[np.float32]:
    """Return how often each index stands in each row; a multi-hot vector has a 1 however often."""
    (width,) = input.shape
    offsets = column.offsets.to_numpy()
    rows = np.repeat(np.arange(len(column)), np.diff(offsets))
    places = rows * width + column.flatten().to_numpy(zero_copy_only=False)
    counts = np.bincount(places, minlength=len(column) * width).reshape(len(column), width)
    return (np.minimum(counts, 1) if input.kind == "multi_hot" else counts).astype(np.float32)
