"""Looking daily at an experiment: how often nothing is called something, and how soon something is seen."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.monitoring.sequential import Arm, effect, sample_ratio

DAYS, ROWS = 28, 200


def arms(chance, rate, experiments):
    """Return sums of 0-or-1 outcomes of a version after each day."""
    return np.cumsum(chance.binomial(ROWS, rate, (experiments, DAYS)), axis=1)


def arm(total, days):
    return Arm(ROWS * days, float(total), float(total))


def decided(first, second, alpha=0.05):
    """Return the share of experiments that were called a difference at any of the daily looks."""
    called = 0
    for one, two in zip(first, second, strict=True):
        looks = [
            effect(arm(one[day], day + 1), arm(two[day], day + 1), alpha, 2 * ROWS * DAYS / 2) for day in range(DAYS)
        ]
        called += any(look and (look.low > 0 or look.high < 0) for look in looks)
    return called / len(first)


def test_looking_daily_for_four_weeks_calls_no_difference_one_in_at_most_one_of_twenty():
    chance = np.random.default_rng(0)

    assert decided(arms(chance, 0.3, 1000), arms(chance, 0.3, 1000)) <= 0.05


def test_a_test_of_fixed_size_that_is_read_daily_would_be_wrong_several_times_as_often():
    chance = np.random.default_rng(0)
    one, two = arms(chance, 0.3, 1000), arms(chance, 0.3, 1000)
    rows = ROWS * np.arange(1, DAYS + 1)
    pooled = (one + two) / (2 * rows)
    z = (two - one) / rows / np.sqrt(2 * pooled * (1 - pooled) / rows)

    assert (np.abs(z) > 1.96).any(axis=1).mean() > 0.15


def test_a_difference_of_five_points_is_seen_within_four_weeks():
    chance = np.random.default_rng(0)

    assert decided(arms(chance, 0.3, 200), arms(chance, 0.35, 200)) > 0.85


def test_the_interval_holds_the_truth_at_every_look_together():
    chance = np.random.default_rng(1)
    one, two = arms(chance, 0.3, 600), arms(chance, 0.34, 600)
    missed = 0
    for first, second in zip(one, two, strict=True):
        looks = [effect(arm(first[d], d + 1), arm(second[d], d + 1), 0.05, ROWS * DAYS) for d in range(DAYS)]
        missed += any(not look.low <= 0.04 <= look.high for look in looks)

    assert missed / 600 <= 0.05


@given(
    st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.integers(100, 100_000), st.floats(0.001, 0.2), st.floats(100, 1e6)
)
def test_the_p_value_and_the_interval_say_the_same(one, two, rows, alpha, planned):
    found = effect(Arm(rows, one * rows, one * rows), Arm(rows, two * rows, two * rows), 0.05, planned)

    assert found.low <= found.value <= found.high
    assert (found.p < 0.05 - 1e-12) == (found.low > 0 or found.high < 0) or math.isclose(found.p, 0.05, rel_tol=1e-6)


def test_too_few_outcomes_say_nothing():
    assert effect(Arm(49, 10, 10), Arm(1000, 10, 10), 0.05, 1000) is None


def test_shares_that_were_not_meant_are_seen():
    assert sample_ratio({"1": 5000, "2": 5050}, {"1": 0.5, "2": 0.5}) > 0.5
    assert sample_ratio({"1": 5000, "2": 4600}, {"1": 0.5, "2": 0.5}) < 0.001
    assert sample_ratio({"1": 9000, "2": 1000}, {"1": 0.9, "2": 0.1}) == pytest.approx(1.0)
    assert math.isnan(sample_ratio({}, {"1": 0.5, "2": 0.5}))
