"""The hash is MurmurHash64A, to the bit, for whatever column."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from flywheel.transform import hashing

M, MASK = 0xC6A4A7935BD1E995, 2**64 - 1


def murmur(data: bytes) -> int:
    """MurmurHash64A, seed 0, as its author wrote it, byte by byte."""
    state = len(data) * M & MASK
    for start in range(0, len(data) // 8 * 8, 8):
        word = int.from_bytes(data[start : start + 8], "little") * M & MASK
        word = (word ^ word >> 47) * M & MASK
        state = (state ^ word) * M & MASK
    rest = data[len(data) // 8 * 8 :]
    if rest:
        state = (state ^ int.from_bytes(rest, "little")) * M & MASK
    state = (state ^ state >> 47) * M & MASK
    return state ^ state >> 47


@given(st.lists(st.none() | st.text(max_size=40), max_size=30), st.integers(0, 5))
def test_texts_hash_as_murmur_says_wherever_they_stand(texts, skipped):
    column = pa.array(texts, pa.string()).slice(skipped)

    assert hashing.of_texts(column).tolist() == [murmur((text or "").encode()) for text in texts[skipped:]]


@given(st.lists(st.floats(allow_nan=False), max_size=20))
def test_numbers_hash_by_their_bytes(numbers):
    values = np.array(numbers, np.float64)

    assert hashing.of_numbers(values).tolist() == [murmur(value.tobytes()) for value in values]


def test_rows_of_words_hash_as_their_bytes_in_a_row():
    words = np.array([1, 2**63], np.uint64), np.array([5, 0], np.uint64)

    assert hashing.of_words(*words).tolist() == [murmur(b"".join(w[row].tobytes() for w in words)) for row in (0, 1)]


def test_it_never_changes():
    found = hashing.of_texts(pa.array(["", "a", "Flywheel", "naïve café"]))

    assert found.tolist() == [0, 510903276987443985, 8873030059402962288, 13111128470888479]
