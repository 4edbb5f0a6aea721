"""Raw columns in one form, whatever brought them: Parquet in training, a DataFrame in serving.

A number is a float64, NaN where it is missing; a text is an Arrow string, null where it is missing. Both ways end here,
so that what follows cannot tell them apart. A number that float32 cannot hold (infinities among them) is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flywheel.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

LARGEST = float(np.finfo(np.float32).max)


def is_number(type: pa.DataType) -> bool:
    """Return whether columns of Arrow type `type` are read as numbers; booleans are, as 0 and 1."""
    floats = (pa.types.is_float32, pa.types.is_float64)
    return any(test(type) for test in (pa.types.is_integer, pa.types.is_decimal, pa.types.is_boolean, *floats))


def is_text(type: pa.DataType) -> bool:
    """Return whether columns of Arrow type `type` are read as text, plain or dictionary-encoded."""
    value = type.value_type if pa.types.is_dictionary(type) else type
    return bool(pa.types.is_string(value) or pa.types.is_large_string(value))


def numbers(column: pa.Array) -> NDArray[Any]:
    """Return a column of numbers as float64 with NaN where it is missing."""
    found = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    # Adding zero makes -0.0 and 0.0 one value: they are equal, but their bits are not.
    return np.where(np.abs(found) <= LARGEST, found + 0.0, np.nan)


def texts(column: pa.Array) -> pa.Array:
    """Return a column of text as plain Arrow strings, null where it is missing."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string())


def from_series(series: pd.Series, name: str, type: str) -> pa.Array:
    """Return a column of a DataFrame as an Arrow array of the kind that it had in training.

    Args:
        series: The column, of any dtype that pandas may have made of it.
        name: What it is called, for the error.
        type: Its Arrow type in training, as text.

    Raises:
        DataError: It holds text where training had numbers, or numbers where training had text.
    """
    try:
        column: Any = pa.array(series, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # an object column of several kinds of value
        raise _mismatch(name, type, "values of several types") from None
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if column.null_count == len(column):
        return pa.nulls(len(column), pa.type_for_alias(type))
    if not (is_text if type == "string" else is_number)(column.type):
        raise _mismatch(name, type, str(column.type))
    # Rounded as training saw it: 0.1 sent by a client is another number than the 0.1 of a float32 column.
    return column.cast(pa.float32(), safe=False) if type == "float" else column


def frame(batch: pa.RecordBatch) -> pd.DataFrame:
    """Return raw rows as the packaged model's signature wants them: numbers as float64, text as str or None.

    pandas turns an integer column with nulls into floats and one without into integers, and MLflow takes either only
    where its signature says just that. So numbers are always sent as float64.
    """
    import pandas as pd

    columns: dict[str, Any] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if is_number(column.type):
            columns[name] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        else:
            columns[name] = np.array((texts(column) if is_text(column.type) else column).to_pylist(), dtype=object)
    return pd.DataFrame(columns)


def type_name(type: pa.DataType) -> str:
    """Return what `type` is called in the transform's state: text and decimals by what they are read as."""
    if is_text(type):
        return "string"
    return "double" if pa.types.is_decimal(type) else str(type)


def missing(column: pa.Array) -> NDArray[Any]:
    """Return where a column of text is null."""
    return np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False), dtype=bool)


def _mismatch(name: str, type: str, found: str) -> DataError:
    message = f"column {name!r} holds {found}, the model was trained on {type!r}"
    return DataError(message, f"send {'text' if type == 'string' else 'a number'}, or null where it is missing.")
