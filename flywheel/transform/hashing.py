"""A 64-bit hash of whole columns, the same on every machine and in every version: what is hashed is trained on.

It is MurmurHash64A (Austin Appleby, public domain) with seed 0, run over Arrow's buffers eight bytes of every row at a
time, so that a column costs as many NumPy calls as its longest value has words, and no Python per row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_M = np.uint64(0xC6A4A7935BD1E995)
_R = np.uint64(47)
_WORD = 8


def of_texts(column: pa.Array) -> NDArray[np.uint64]:
    """Return the hash of each text's UTF-8 bytes; a null hashes as the empty text."""
    data, starts, lengths = _buffers(column)
    hashes = lengths.astype(np.uint64) * _M
    # Rows by length, so that those which have a next word are always the last ones.
    order = np.argsort(lengths, kind="stable")
    starts, lengths, state = starts[order], lengths[order], hashes[order]
    words: NDArray[np.uint64] = np.ndarray((len(data) - _WORD + 1,), "<u8", data, strides=(1,))
    whole = lengths // _WORD
    for word in range(int(whole[-1]) if len(whole) else 0):
        first = int(np.searchsorted(whole, word, side="right"))
        state[first:] = (state[first:] ^ _mixed(words[starts[first:] + word * _WORD])) * _M
    rest = lengths % _WORD
    left = rest > 0
    tails = words[starts[left] + whole[left] * _WORD] & (
        (np.uint64(1) << (rest[left].astype(np.uint64) * np.uint64(8))) - np.uint64(1)
    )
    state[left] = (state[left] ^ tails) * _M
    hashes[order] = _finished(state)
    return hashes


def of_numbers(values: NDArray[Any]) -> NDArray[np.uint64]:
    """Return the hash of each number's eight bytes as a little-endian float64."""
    return of_words(np.ascontiguousarray(values, "<f8").view("<u8"))


def of_words(*columns: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hash of rows of 64-bit words, such as the hashes of several columns."""
    state = np.full(len(columns[0]), _WORD * len(columns), np.uint64) * _M
    for words in columns:
        state = (state ^ _mixed(words)) * _M
    return _finished(state)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = words * _M
    words ^= words >> _R
    mixed: NDArray[np.uint64] = words * _M
    return mixed


def _finished(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> _R)) * _M
    found: NDArray[np.uint64] = state ^ (state >> _R)
    return found


def _buffers(column: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Return the bytes of a column of text, padded by a word, and where each value starts and how long it is."""
    if column.null_count:
        column = column.fill_null("")
    _, offsets, data = column.buffers()
    ends = np.zeros(1, np.int64)
    if offsets is not None and len(column):
        bounds = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4)
        ends = bounds.astype(np.int64)
    first, last = int(ends[0]), int(ends[-1])
    padded = np.zeros(last - first + _WORD, np.uint8)
    if data is not None:
        padded[: last - first] = np.frombuffer(data, np.uint8)[first:last]
    return padded, ends[:-1] - first, np.diff(ends)
