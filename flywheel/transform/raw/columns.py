"""Arrow columns in one form, so that what follows cannot tell what brought them.

A number is a float64, NaN where it is missing; one that float32 cannot hold (infinities among them) is missing. A text
is an Arrow string, a time microseconds since 1970 in UTC, a list its elements and where each row's begin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

LARGEST = float(np.finfo(np.float32).max)
TIME = "timestamp[us]"
# The years 1 to 9999, which ISO 8601 and Python can write.
EARLIEST, LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

Form = Literal["number", "text", "time", "list", "bytes", ""]


def is_number(type: pa.DataType) -> bool:
    """Return whether columns of Arrow type `type` are read as numbers; booleans are, as 0 and 1."""
    floats = (pa.types.is_float32, pa.types.is_float64)
    return any(test(type) for test in (pa.types.is_integer, pa.types.is_decimal, pa.types.is_boolean, *floats))


def is_text(type: pa.DataType) -> bool:
    """Return whether columns of Arrow type `type` are read as text, plain or dictionary-encoded."""
    value = type.value_type if pa.types.is_dictionary(type) else type
    return bool(pa.types.is_string(value) or pa.types.is_large_string(value))


def form(type: pa.DataType) -> Form:
    """Return what columns of Arrow type `type` are read as; nothing when no feature can read them."""
    if is_number(type):
        return "number"
    if is_text(type):
        return "text"
    if pa.types.is_timestamp(type) or pa.types.is_date(type):
        return "time"
    if _is_list(type) and form(type.value_type) in ("number", "text"):
        return "list"
    return "bytes" if pa.types.is_binary(type) or pa.types.is_large_binary(type) else ""


def type_name(type: pa.DataType) -> str:
    """Return what `type` is called in the transform's state, by what it is read as."""
    found = form(type)
    if found == "list":
        value = type.value_type
        return "list<string>" if is_text(value) else "list<float>" if pa.types.is_float32(value) else "list<double>"
    names = {"text": "string", "time": TIME, "bytes": "binary"}
    return names.get(found) or ("double" if pa.types.is_decimal(type) else str(type))


def arrow_type(name: str) -> pa.DataType:
    """Return the Arrow type that is called `name` in the transform's state."""
    if name.startswith("list<"):
        return pa.list_(pa.type_for_alias(name[5:-1]))
    return pa.type_for_alias(name)


def numbers(column: pa.Array) -> NDArray[np.float64]:
    """Return a column of numbers as float64 with NaN where it is missing."""
    found = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    # Adding zero makes -0.0 and 0.0 one value: they are equal, but their bits are not.
    return np.where(np.abs(found) <= LARGEST, found + 0.0, np.nan)


def texts(column: pa.Array) -> pa.Array:
    """Return a column of text as plain Arrow strings, null where it is missing."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string())


def blobs(column: pa.Array) -> pa.Array:
    """Return a column of bytes as plain Arrow binary; none at all are missing, as no request can carry a null there."""
    column = column.cast(pa.binary())
    return pc.if_else(pc.equal(pc.binary_length(column), 0), pa.scalar(None, pa.binary()), column)


@dataclass(frozen=True)
class Times:
    """A column of times.

    Attributes:
        micros: Microseconds since 1970 in UTC; 0 where there is none. A time without a zone is UTC.
        missing: Where there is none.
        wrong: Where it is not of the years 1 to 9999.
    """

    micros: NDArray[np.int64]
    missing: NDArray[np.bool_]
    wrong: NDArray[np.bool_]


def times(column: pa.Array) -> Times:
    """Return a column of times or dates."""
    type, missing = column.type, nulls(column)
    if pa.types.is_date(type):
        column, type = column.cast(pa.timestamp("s" if pa.types.is_date32(type) else "ms"), safe=False), None
    unit = column.type.unit
    ticks = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    per = _PER_SECOND[unit]
    seconds = ticks // per
    wrong = (seconds < EARLIEST // 10**6) | (seconds > LATEST // 10**6)
    rest = (ticks % per) * (10**6 // per) if per <= 10**6 else (ticks % per) // (per // 10**6)
    return Times(np.where(wrong, 0, np.where(wrong, 0, seconds) * 10**6 + rest), missing, wrong)


@dataclass(frozen=True)
class Lists:
    """A column of lists.

    Attributes:
        values: The elements of all rows, one after another: texts, or numbers as float64, null where one is missing.
        lengths: How many each row has.
        missing: Rows without a list.
    """

    values: pa.Array
    lengths: NDArray[np.int64]
    missing: NDArray[np.bool_]

    @property
    def rows(self) -> NDArray[np.int64]:
        """The row of each element."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def places(self) -> NDArray[np.int64]:
        """The place of each element in its row, from 0."""
        return np.arange(len(self.values)) - np.repeat(np.cumsum(self.lengths) - self.lengths, self.lengths)


def lists(column: pa.Array) -> Lists:
    """Return a column of lists of numbers or texts."""
    missing = nulls(column)
    # Nulls may have a length all the same, which `flatten` leaves out.
    lengths = np.where(missing, 0, pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False))
    present = column.filter(pa.array(~missing)) if missing.any() else column
    flat = present.flatten()
    values = texts(flat) if is_text(flat.type) else pa.array(numbers(flat), from_pandas=True)
    return Lists(values, lengths.astype(np.int64), missing)


def canonical(column: pa.Array) -> pa.Array:
    """Return a raw column as feature functions get it: float64, string, timestamp[us], binary, or lists of these."""
    found = form(column.type)
    if found == "number":
        return pa.array(numbers(column), from_pandas=True)
    if found == "text":
        return texts(column)
    if found == "time":
        when = times(column)
        return pa.array(when.micros, mask=when.missing | when.wrong).cast(pa.timestamp("us"))
    if found == "list":
        parts = lists(column)
        offsets = np.concatenate([[0], np.cumsum(parts.lengths)]).astype(np.int32)
        # A null among the offsets makes its row null.
        where = pa.array(offsets, mask=np.append(parts.missing, False))
        return pa.ListArray.from_arrays(where, parts.values)
    return blobs(column)


def nulls(column: pa.Array) -> NDArray[np.bool_]:
    """Return where a column is null."""
    return np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False), dtype=bool)


def _is_list(type: pa.DataType) -> bool:
    return bool(pa.types.is_list(type) or pa.types.is_large_list(type) or pa.types.is_fixed_size_list(type))
