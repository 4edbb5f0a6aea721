from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.profiles import Column, Profile
from flywheel.profiles.compare import drifts
from flywheel.profiles.distances import commonest, distance, pool, shift, size

NUMBERS = st.lists(st.integers(-50, 50), min_size=2, max_size=60)


def number(values):
    points, counts = np.unique(np.asarray(values, float), return_counts=True)
    return Column("number", 0.0, distinct=len(points), points=points, masses=counts / counts.sum())


def word(**shares):
    return Column("word", 0.0, values=shares, distinct=len(shares))


@given(left=NUMBERS, right=NUMBERS)
def test_a_distance_is_nothing_to_oneself_and_at_most_one(left, right):
    assert distance(number(left), number(left)) == pytest.approx(0, abs=1e-9)
    assert 0 <= distance(number(left), number(right)) <= 1


@given(left=NUMBERS, right=NUMBERS)
def test_a_shift_turns_round_with_its_sides(left, right):
    assert shift(number(left), number(right)) == pytest.approx(-shift(number(right), number(left)), abs=1e-9)
    assert shift(number([each + 1000 for each in left]), number(right)) == pytest.approx(0.5)


def test_words_without_anything_in_common_are_as_far_apart_as_can_be():
    assert distance(word(a=1.0), word(b=1.0)) == pytest.approx(1)
    assert distance(word(a=0.5, b=0.5), word(a=0.5, b=0.5)) == pytest.approx(0)


def test_spans_are_pooled_by_their_rows():
    both = pool([word(a=1.0), word(b=1.0)], [300, 100])

    assert both.values == {"a": pytest.approx(0.75), "b": pytest.approx(0.25)}
    assert pool([word(a=1.0)], [0]) is None


def test_the_number_that_comes_most_often_is_found_among_values_and_among_quantiles():
    quantiles = Column("number", 0.0, distinct=500, points=np.array([1.0, 2, 2, 2, 3]), masses=np.full(5, 0.2))

    assert commonest(number([1, 2, 2, 4])) == pytest.approx(0.5)
    assert commonest(quantiles) == pytest.approx(0.6)
    assert commonest(number([])) == 0


def test_how_large_numbers_are_does_not_hang_on_how_many_are_nothing():
    assert size(number([0, 0, 0, 0.1, 0.1])) == pytest.approx(np.log(0.1)) == pytest.approx(size(number([0, -0.1])))
    assert size(number([0, 0])) is None


def test_rows_and_values_that_become_fewer_week_by_week_drift():
    def week(rows, nulls):
        columns = {"x": replace(number([1, 2, 3]), nulls=nulls)}
        return [Profile(rows, columns, np.nan, np.empty((1, 1)), 0.0, np.empty(0, np.uint64))] * 7

    still, moving = drifts(week(900, 0.1), week(900, 0.1) * 4), drifts(week(600, 0.3), week(900, 0.1) * 4)

    assert still["row drift"].value == still["null drift of x"].value == 0
    assert moving["row drift"].value == pytest.approx(np.log(1.5), abs=0.01)
    assert moving["null drift of x"].value > 0.2
    assert (moving["null drift of x"].observed, moving["null drift of x"].reference) == (
        pytest.approx(0.3),
        pytest.approx(0.1),
    )
