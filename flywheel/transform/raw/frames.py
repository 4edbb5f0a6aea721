"""Raw rows as DataFrames: what MLflow's signature says, what requests carry, and the way back to Arrow.

MLServer's codecs carry numbers, texts and bytes. So a time travels as text in ISO 8601, and a list as a text in JSON;
numbers are always `double`, since pandas makes floats of integers with nulls, and MLflow would refuse those.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from flywheel.errors import DataError
from flywheel.transform.raw import columns as raw

if TYPE_CHECKING:
    import pandas as pd

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SEND = {
    "number": "a number",
    "text": "text",
    "time": "a time in ISO 8601, as 2013-05-01T12:30:00Z",
    "list": 'a list in JSON, as ["a", "b"]',
    "bytes": "bytes (base64 in a request)",
}


def mlflow_type(type: str) -> str:
    """Return MLflow's name for raw columns of `type`, as the transform's state calls it."""
    found = raw.form(raw.arrow_type(type))
    return {"number": "double", "bytes": "binary"}.get(found, "string")


def frame(batch: pa.RecordBatch) -> pd.DataFrame:
    """Return raw rows as the packaged model's signature wants them."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        found = raw.form(column.type)
        if found == "number":
            columns[name] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        else:
            columns[name] = _objects(_values(column, found))
    return pd.DataFrame(columns)


def _values(column: pa.Array, form: str) -> list[Any]:
    if form == "time":
        when = raw.times(column)
        said = np.datetime_as_string(when.micros.astype("datetime64[us]")).tolist()
        # One that no request can carry says so when it is read.
        wrong = zip(said, when.missing.tolist(), when.wrong.tolist(), strict=True)
        return [None if missing else "out of range" if out else text for text, missing, out in wrong]
    if form == "list":
        values = raw.canonical(column).to_pylist()
        return [None if each is None else json.dumps(each, ensure_ascii=False) for each in values]
    values = (raw.texts(column) if form == "text" else column).to_pylist()
    return list(values)


def from_series(series: pd.Series, name: str, type: str) -> pa.Array:
    """Return a column of a DataFrame as an Arrow array of the kind that it had in training.

    Args:
        series: The column, of any dtype that pandas may have made of it.
        name: What it is called, for the error.
        type: Its type in training, as the transform's state calls it.

    Raises:
        DataError: It holds something else than training had, as text where there were numbers.
    """
    expected = raw.arrow_type(type)
    found = raw.form(expected)
    if found in ("list", "time") and series.dtype == object:
        return _parsed(series, name, expected)
    try:
        column: Any = pa.array(series, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # an object column of several kinds of value
        raise _mismatch(name, type, "values of several types") from None
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if column.null_count == len(column):
        return pa.nulls(len(column), expected)
    if raw.form(column.type) != found:
        raise _mismatch(name, type, str(column.type))
    # Rounded as training saw it: 0.1 sent by a client is another number than the 0.1 of a float32 column.
    return column.cast(pa.float32(), safe=False) if type == "float" else column


def _parsed(series: pd.Series, name: str, type: pa.DataType) -> pa.Array:
    """Return a column of lists or times, each value as text or as what it stands for."""
    read: Callable[[Any], Any] = _read_time if pa.types.is_timestamp(type) else _read_list
    values: list[Any] = []
    for row, value in enumerate(series):
        try:
            values.append(None if _is_missing(value) else read(value))
        except (ValueError, TypeError, OverflowError):
            raise _mismatch(name, raw.type_name(type), f"{_short(value)} in row {row}") from None
    if pa.types.is_timestamp(type):
        return pa.array(values, pa.int64()).cast(type)
    try:
        return pa.array(values, type)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise _mismatch(name, raw.type_name(type), f"another kind of element ({error})") from None


def _read_time(value: Any) -> int:
    """Return microseconds since 1970 in UTC."""
    if isinstance(value, np.datetime64):
        return int(value.astype("datetime64[us]").astype(np.int64))
    when = datetime.fromisoformat(value) if isinstance(value, str) else value
    if isinstance(when, date) and not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day)
    if not isinstance(when, datetime):
        raise TypeError
    apart = (when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH
    return (apart.days * 86_400 + apart.seconds) * 10**6 + apart.microseconds


def _read_list(value: Any) -> list[Any]:
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, list | tuple | np.ndarray):
        raise TypeError
    return list(found)


def _is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, NaT or pandas' NA; a list is none of them."""
    import pandas as pd

    return value is None or (not isinstance(value, list | tuple | np.ndarray) and bool(pd.isna(value)))


def _objects(values: list[Any]) -> Any:
    """Return values as an array of objects, lists among them as they are."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _mismatch(name: str, type: str, found: str) -> DataError:
    message = f"column {name!r} holds {found}, the model was trained on {type!r}"
    return DataError(message, f"send {_SEND[raw.form(raw.arrow_type(type))]}, or null where it is missing.")
