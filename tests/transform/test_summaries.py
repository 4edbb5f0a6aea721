"""Summaries past the point where all can be kept: within their bounds, and the same in any order where they say so."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.transform import hashing
from flywheel.transform.distinct import Distinct
from flywheel.transform.summaries import Counts, Elements

words = st.lists(st.sampled_from("abcdefghijklmnop"), min_size=1, max_size=80)


def counted(limit, *parts):
    merged = Counts(top=100, limit=limit)
    for part in parts:
        one = Counts(top=100, limit=limit)
        one.add([pa.array(part, pa.string())])
        merged.merge(one)
    return merged


@given(parts=st.lists(words, min_size=1, max_size=4), limit=st.integers(2, 12))
@settings(deadline=None)
def test_a_count_is_too_small_by_the_error_at_most_and_the_error_by_its_share(parts, limit):
    truth = Counter(word for part in parts for word in part)
    found = counted(limit, *parts)

    assert len(found.counts) <= limit
    assert found.error <= found.total // max(1, limit // 2)
    for word, count in truth.items():
        assert count - found.error <= found.counts.get(word, 0) <= count


@given(parts=st.lists(words, min_size=1, max_size=4), seed=st.integers(0, 9))
@settings(deadline=None)
def test_counts_that_fit_do_not_depend_on_the_order(parts, seed):
    order = np.random.default_rng(seed).permutation(len(parts))
    limit = len({word for part in parts for word in part})
    found, other = counted(limit, *parts), counted(limit, *(parts[place] for place in order))

    assert found.error == 0
    assert found.finish() == other.finish()


@pytest.mark.parametrize("size", [0, 1, 100, 3_000, 20_000, 300_000])
def test_distinct_values_are_counted_within_a_few_percent_in_any_order(size):
    values = hashing.of_numbers(np.arange(size, dtype=np.float64))
    whole, parts = Distinct(), Distinct()
    whole.add(values)
    for start in reversed(range(0, size, 7_000)):
        part = Distinct()
        part.add(values[start : start + 9_000])  # some of them twice
        parts.merge(part)

    assert parts.registers.tolist() == whole.registers.tolist()
    assert whole.estimate() == pytest.approx(size, rel=0.05, abs=1)


def test_elements_of_texts_are_cut_at_the_separator_and_empty_ones_left_out():
    found = Elements(top=9, separator="|")
    found.add([pa.array(["a|b||a", "", None, "|b"])])

    assert found.counts == {"a": 2, "b": 2}
