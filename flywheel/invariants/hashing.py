"""Columns as hashes: equal values give equal ones in every process, version and batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WHOLE = 2.0**53
_FRACTION = np.int64(0x2545F4914F6CDD1D)


def hashed(array: pa.Array) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return a hash of each value, and whether there is one: nulls and NaN are none.

    A number hashes by its value, so 1 and 1.0 are equal; a text by its characters.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        return hashed(array.dictionary_decode())
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_null(kind):
        return np.zeros(len(array), np.uint64), valid
    if pa.types.is_floating(kind):
        numbers = _floats(array)
        return _hashed_floats(numbers), valid & ~np.isnan(numbers)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        return mixed(_integers(array).view(np.uint64)), valid
    if pa.types.is_decimal(kind):
        words = kind.byte_width // 8
        bits = np.frombuffer(array.buffers()[1], np.uint64) if len(array) else np.empty(0, np.uint64)
        rows = bits[array.offset * words : (array.offset + len(array)) * words].reshape(len(array), words)
        return combined([rows[:, word] for word in range(words)]), valid
    return _hashed_texts(array), valid


def combined(hashes: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Return one hash of several columns' hashes, row by row; their order counts."""
    total = mixed(hashes[0])
    for each in hashes[1:]:
        total = mixed(total ^ (each + np.uint64(0x9E3779B97F4A7C15)))
    return total


def mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return `bits` well mixed, one to one (the finaliser of SplitMix64; Steele, Lea & Flood 2014)."""
    mixing = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixing = (mixing ^ (mixing >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixing ^ (mixing >> np.uint64(31))


def ranked(array: pa.Array) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
    """Return numbers that compare as the values do, and whether there is one; None where values have no order.

    Whole numbers and times come exact as int64 (times in microseconds), others as float64.
    """
    kind = array.type
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_null(kind):
        return np.zeros(len(array), np.int64), valid
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return _integers(array.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False)), valid
    if pa.types.is_time(kind):
        return _integers(array.cast(pa.time64("us"), safe=False)), valid
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return _integers(array), valid
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or kind == pa.uint64():
        numbers = _floats(array)
        return numbers, valid & ~np.isnan(numbers)
    return None


def _integers(array: pa.Array) -> NDArray[np.int64]:
    """Return whole numbers, truth values and times as they are stored; 0 for a null."""
    kind = array.type
    if pa.types.is_boolean(kind):
        array = array.cast(pa.int8())
    elif pa.types.is_timestamp(kind) and kind.unit != "ns":
        array = array.cast(pa.timestamp("us", kind.tz)).cast(pa.int64())
    elif pa.types.is_temporal(kind):
        array = array.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    whole = array.fill_null(0).to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(whole.view(np.int64) if whole.dtype == np.uint64 else whole.astype(np.int64))


def _floats(array: pa.Array) -> NDArray[np.float64]:
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    found: NDArray[np.float64] = array.to_numpy(zero_copy_only=False).astype(np.float64)
    return found


def _hashed_floats(numbers: NDArray[np.float64]) -> NDArray[np.uint64]:
    whole = np.isfinite(numbers) & (np.abs(numbers) < _WHOLE) & (numbers == np.trunc(numbers))
    bits = np.where(whole, np.where(whole, numbers, 0).astype(np.int64), numbers.view(np.int64) ^ _FRACTION)
    return mixed(bits.view(np.uint64))


def _hashed_texts(array: pa.Array) -> NDArray[np.uint64]:
    """Hash each distinct value once; what is nested counts as its JSON."""
    if pa.types.is_nested(array.type):
        array = pa.array([json.dumps(value, sort_keys=True, default=str) for value in array.to_pylist()], pa.string())
    encoded = array.dictionary_encode()
    values = [value.encode() if isinstance(value, str) else value for value in encoded.dictionary.to_pylist()]
    if not values:
        return np.zeros(len(array), np.uint64)
    digests = b"".join(blake2b(value, digest_size=8).digest() for value in values)
    indices = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
    return np.asarray(np.frombuffer(digests, "<u8").astype(np.uint64)[indices])
