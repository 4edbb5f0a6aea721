import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.profiles import Column
from flywheel.profiles.distances import distance, pool, shift
from flywheel.profiles.known import Known

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


def test_what_was_known_is_read_back_and_the_rest_is_unseen():
    known = Known()
    known.words["city"] = {"Rome", "Oslo"}
    again = Known.from_json(known.to_json())

    assert again.unseen("city", word(Rome=0.5, Roma=0.5)) == pytest.approx(0.5)
    assert again.unseen("other", word(Rome=1.0)) is None
