"""Lines of a backtest beside one another."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.backtest import Line, Replayed, compared
from flywheel.backtest.compare import _paired
from flywheel.config import Retrain


def line(policy, values, trained=1, first=0):
    spans = [f"{number:04d}" for number in range(first, first + len(values))]
    return Replayed(Line(Retrain.parse(policy), 28), spans, list(values), [f"t{each}" for each in range(trained)])


def test_only_spans_that_every_line_served_are_compared():
    first, second = line("always", [0.7] * 20, 20), line("never", [0.9] * 5 + [math.nan] + [0.6] * 9, first=5)

    rows = compared([first, second], "day", 1)

    assert rows[0].mean == pytest.approx(0.7)
    assert rows[1].mean == pytest.approx((5 * 0.9 + 9 * 0.6) / 14)


def test_a_line_is_dominated_by_one_that_is_as_good_for_fewer_trainings():
    rows = compared(
        [line("always", [0.7] * 30, 30), line("every=7d", [0.7] * 30, 5), line("never", [0.6] * 30, 1)], "day", 1
    )

    assert [row.dominated for row in rows] == ["every=7d, 28 spans", "", ""]


def test_of_a_metric_of_which_less_is_better_the_smaller_dominates():
    rows = compared([line("always", [0.7] * 30, 5), line("every=7d", [0.6] * 30, 5)], "day", -1)

    assert [row.dominated for row in rows] == ["every=7d, 28 spans", ""]
    assert rows[1].difference == pytest.approx(0.1)


def test_the_interval_covers_a_difference_of_days_that_move_together():
    """Weeks share an effect: an interval that took days as independent would cover far less than 95%."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        weeks = np.repeat(rng.normal(0, 0.02, 30), 7)
        _, low, high = _paired(weeks + rng.normal(0, 0.01, 210), 7)
        covered += low <= 0 <= high
    assert 0.92 <= covered / 400 <= 0.98


@given(st.lists(st.floats(-1, 1), min_size=14, max_size=60))
def test_the_interval_is_about_the_mean(values):
    mean, low, high = _paired(np.array(values), 7)

    assert mean == pytest.approx(np.mean(values), abs=1e-12)
    assert low <= mean + 1e-12
    assert mean <= high + 1e-12


def test_the_worst_and_the_best_week_are_told():
    rows = compared([line("always", [0.7] * 21), line("never", [0.6] * 7 + [0.7] * 7 + [0.8] * 7)], "day", 1)

    assert (rows[1].worst, rows[1].best) == pytest.approx((-0.1, 0.1))
    assert rows[1].difference == pytest.approx(0.0)


def test_without_two_weeks_there_is_no_interval():
    mean, low, high = _paired(np.linspace(0, 1, 13), 7)

    assert mean == pytest.approx(0.5)
    assert math.isnan(low)
    assert math.isnan(high)
