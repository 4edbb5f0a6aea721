import json

import numpy as np
import pytest

from flywheel.profiles import Column, Profile
from flywheel.profiles.known import Known

KNOTS = 1.15078


def number(values):
    points, counts = np.unique(np.asarray(values, float), return_counts=True)
    return Column("number", 0.0, distinct=len(points), points=points, masses=counts / counts.sum())


def known(*spans):
    found = Known()
    for values in spans:
        found.add(Profile(len(values), {"wind": number(values)}, np.nan, np.empty((1, 1)), 0.0, np.empty(0, np.uint64)))
    return found


@pytest.fixture(scope="module")
def wind():
    """What four weeks of wind taught: whole knots up to 20, in miles an hour, and back from JSON."""
    weeks = known(*([np.arange(20) * KNOTS] * 28))
    return Known.from_json(json.loads(json.dumps(weeks.to_json())))


def test_what_was_known_is_read_back_and_the_rest_is_unseen():
    known = Known()
    known.words["city"] = {"Rome": 9, "Oslo": 9}
    again = Known.from_json(known.to_json())

    assert again.unseen("city", Column("word", 0.0, values={"Rome": 0.5, "Roma": 0.5})) == pytest.approx(0.5)
    assert again.unseen("other", Column("word", 0.0, values={"Rome": 1.0})) is None


def test_another_unit_lies_between_what_was_there_and_a_gale_beyond_it(wind):
    gale, other = [3 * KNOTS] * 3 + [31 * KNOTS], [3 * KNOTS] * 3 + [5 * KNOTS * 0.44704]

    assert wind.unseen("wind", number(gale)) == wind.unseen("wind", number(other)) == pytest.approx(0.25)
    assert wind.between("wind", number(gale)) == 0
    assert wind.between("wind", number(other)) == pytest.approx(0.25)


def test_an_outlier_that_was_let_through_does_not_make_gales_strange():
    weeks = known(*([np.append(np.arange(20) * KNOTS, 900 * KNOTS)] * 28))

    assert weeks.between("wind", number([3 * KNOTS, 31 * KNOTS])) == 0
    assert weeks.between("wind", number([3 * KNOTS, 5 * KNOTS * 0.44704])) == pytest.approx(0.5)


def test_digits_after_the_point_that_no_number_had_are_odd_though_the_number_may_be_new():
    tenths = known(*([np.arange(10, 30) + 0.5] * 28))

    assert tenths.odd_fraction("wind", number([99.5, 7.5, 12.5, 12.6])) == pytest.approx(0.25)


def test_numbers_whose_digits_are_all_there_are_say_nothing():
    chance = np.random.default_rng(0)
    any_digits = known(*(chance.random(100) for _ in range(28)))

    assert any_digits.odd_fraction("wind", number([0.123])) is None


def test_before_four_weeks_nothing_is_new():
    assert known([1.0, 2.0]).between("wind", number([1.5])) is None
    assert known([1.0, 2.0]).odd_fraction("wind", number([1.5])) is None


def test_a_new_value_among_a_few_is_no_surprise_where_new_ones_come_every_day():
    gusts = known(*([20.0 + day, 21.0 + day, 60.0 - day] for day in range(28)))

    assert gusts.unseen("wind", number([90.0])) < 0.2
    assert gusts.unseen("wind", number(np.arange(100, 200))) > 0.9


def test_where_no_value_ever_came_once_only_each_new_one_counts(wind):
    assert wind.unseen("wind", number([3 * KNOTS, 31 * KNOTS])) == pytest.approx(0.5)


def test_a_history_from_before_values_were_counted_is_read():
    known = Known.from_json(
        {"words": {"city": ["Oslo", "Rome"]}, "numbers": {"wind": [1.0, 2.0]}, "moments": {"wind": [28, 42, 70]}}
    )

    assert known.unseen("city", Column("word", 0.0, values={"Rome": 0.5, "Roma": 0.5})) == pytest.approx(0.5)
    assert known.unseen("wind", number([1.0, 3.0])) == pytest.approx(0.5)
