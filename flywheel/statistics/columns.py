"""Columns of any Arrow type as TFDV counts them: lists of whole numbers, of floating numbers or of bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tfx_bsl.arrow.array_util import ToSingletonListArray

from flywheel.errors import DataError


def canonical(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the same rows in the form that TFDV's generators take.

    Times, dates and booleans become whole numbers (a time in the unit of its type), exact decimals floating ones, texts
    bytes. A struct becomes a column for each of its fields, `address/city`; a list of structs lists of fields; a map
    the lists `tags/key` and `tags/value`. A null inside a list is left out of it.

    Raises:
        DataError: A column has a type that cannot be counted, or two columns would have one name.
    """
    columns: dict[str, pa.Array] = {}
    for column, array in zip(batch.schema.names, batch.columns, strict=True):
        for name, found in _plain(column, array):
            if name in columns:
                raise DataError(
                    f"there are two columns {name!r}: one of that name, and one that is a field of a struct",
                    "rename one of them in the query.",
                )
            columns[name] = found if _is_list(found.type) else ToSingletonListArray(found)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _plain(name: str, array: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """Yield (name, array) of each column that `array` is made of, structs taken apart."""
    # Not with a dot between: TFDV puts names with dots in quotes, and its anomalies would be of other columns.
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_struct(array.type):
        for field, child in zip(array.type, array.flatten(), strict=True):
            yield from _plain(f"{name}/{field.name}", child)
    elif pa.types.is_map(array.type):
        lengths = _lengths(array)
        starts = np.asarray(array.offsets)[:-1]
        chosen = pa.array(np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum()))
        for part, values in (("key", array.keys), ("value", array.items)):
            for path, child in _plain(f"{name}/{part}", values.take(chosen)):
                yield path, _listed(array, lengths, child)
    elif _is_list(array.type) or pa.types.is_fixed_size_list(array.type):
        lengths = _lengths(array)
        for path, child in _plain(name, _values(array)):
            yield path, _listed(array, lengths, child)
    else:
        yield name, _number_or_bytes(name, array)


def _is_list(type: pa.DataType) -> bool:
    return bool(pa.types.is_list(type) or pa.types.is_large_list(type))


def _lengths(array: pa.Array) -> NDArray[Any]:
    """Return how many values each row's list has; a null has none."""
    if pa.types.is_fixed_size_list(array.type):
        return np.where(array.is_valid(), array.type.list_size, 0)
    return np.where(array.is_valid(), np.diff(np.asarray(array.offsets)), 0)


def _values(array: pa.Array) -> pa.Array:
    """Return the values of all lists, one after the other; none of a list that is null."""
    if not pa.types.is_fixed_size_list(array.type):
        return array.flatten()
    # Whether flatten() leaves out null lists depends on pyarrow's version: the child has every slot in each.
    size = array.type.list_size
    child = array.values if hasattr(array, "values") else array.flatten()
    if len(child) != len(array) * size:
        child = child.slice(array.offset * size, len(array) * size)
    return child.filter(pa.array(np.repeat(array.is_valid(), size))) if array.null_count else child


def _listed(array: pa.Array, lengths: NDArray[Any], values: pa.Array) -> pa.Array:
    """Return `values` in lists of `lengths`, null where `array` is, and no null in any."""
    ends = np.cumsum(lengths)
    if values.null_count:
        valid = np.asarray(values.is_valid())
        ends = np.concatenate([[0], np.cumsum(valid)])[ends]
        values = values.drop_null()
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    null = np.append(np.asarray(array.is_null()), False) if array.null_count else None
    return pa.LargeListArray.from_arrays(pa.array(offsets, mask=null), values)


def _number_or_bytes(name: str, array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_null(kind) or pa.types.is_binary(kind) or pa.types.is_string(kind):
        return array.cast(pa.large_binary())
    if pa.types.is_large_binary(kind) or pa.types.is_large_string(kind):
        return array.cast(pa.large_binary())
    if pa.types.is_fixed_size_binary(kind):
        return array.cast(pa.binary()).cast(pa.large_binary())
    if pa.types.is_boolean(kind) or pa.types.is_signed_integer(kind):
        return array.cast(pa.int64())
    if pa.types.is_unsigned_integer(kind):
        return array.cast(pa.uint64())
    if pa.types.is_float16(kind):
        return pa.array(np.asarray(array, np.float64), mask=np.asarray(array.is_null()))
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return array.cast(pa.float64())
    if pa.types.is_date32(kind) or pa.types.is_time32(kind):
        return array.cast(pa.int32()).cast(pa.int64())
    if any(
        check(kind) for check in (pa.types.is_timestamp, pa.types.is_date64, pa.types.is_time, pa.types.is_duration)
    ):
        return array.cast(pa.int64())
    raise DataError(
        f"no statistics can be made of column {name!r}, whose type is {kind}", "cast it to text in the query."
    )
