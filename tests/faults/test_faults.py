"""The goal of the data gate on a small fixed sample; `python -m tests.faults` measures it on all faults."""

from datetime import date, timedelta

import pytest

from tests.faults.catalogue import named
from tests.faults.gate import Gate
from tests.faults.results import BLOCKED, Trial, alarms_of, outcome
from tests.faults.world import World

FIRST, DAY = date(2013, 2, 1), date(2013, 6, 12)
BROKEN = [
    "carrier_renamed",
    "departure_in_another_zone",
    "destination_hashed",
    "distance_in_kilometres",
    "label_late",
    "label_shuffled",
    "label_slipped",
    "load_truncated",
    "nulls_in_a_number",
    "origin_missing",
    "other_season",
    "planes_not_found",
    "rows_duplicated",
    "weather_in_local_time",
    "weather_not_found",
    "yesterday_again",
]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module")
def walked(world):
    """The gate on the morning of the day, and what it said of the days before."""
    gate, said = Gate(), {}
    for count in range((DAY - FIRST).days):
        day = FIRST + timedelta(count)
        found = gate.judge(day, world.batches(day))
        said[day] = outcome(alarms_of(found.checks))
        gate.learn(found, waived=True)
    return gate, said


def test_clean_days_are_not_blocked_once_there_is_a_history(walked):
    _, said = walked
    learnt = [day for day in said if day >= DAY - timedelta(28)]

    assert sum(said[day] == BLOCKED for day in learnt) <= 1
    assert said[DAY - timedelta(1)] != BLOCKED


def test_the_day_itself_is_not_blocked(world, walked):
    assert outcome(alarms_of(walked[0].judge(DAY, world.batches(DAY)).checks)) != BLOCKED


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_feed_is_blocked_and_the_column_named(world, walked, name):
    fault = named(name)
    with world.damaged(fault, "large", DAY):
        alarms = alarms_of(walked[0].judge(DAY, world.batches(DAY)).checks)

    found = Trial.of(fault, "large", DAY.isoformat(), alarms)
    assert found.outcome == BLOCKED, alarms
    assert found.named, alarms
