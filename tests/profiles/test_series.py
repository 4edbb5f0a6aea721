import numpy as np
import pytest

from flywheel.profiles.measure import Rows
from flywheel.profiles.series import Series

STATIONS, HOURS, EACH = 3, 20, 10


def day(seed, change=lambda temp: temp):
    """Return rows of shops that know the temperature of their town by the hour, and sell at prices of their own.

    `change` is a function of the readings, shape (stations, hours).
    """
    chance = np.random.default_rng(seed)
    course = 50 + 10 * np.sin(np.arange(HOURS) / HOURS * 2 * np.pi) + np.cumsum(chance.normal(0, 1, HOURS))
    readings = change(
        np.round(course + chance.normal(0, 1, (STATIONS, 1)) + chance.normal(0, 0.3, (STATIONS, HOURS)), 1)
    )
    station, hour = (part.ravel() for part in np.indices((STATIONS, HOURS)).repeat(EACH, axis=2))
    columns = {"temp": readings[station, hour], "price": chance.normal(30, 5, len(hour)), "hour": hour * 1.0}
    town = np.array(["north", "south", "west"], object)[station]
    return Rows({"at": hour * 3600.0, "town": town, **columns}, "at")


@pytest.fixture(scope="module")
def series():
    return Series([day(seed) for seed in range(20)], ["at", "temp", "price", "hour"])


def value(series, check, rows, before=None):
    return series.measures(rows, before)[f"{check} of temp"].value


def usual(series, check):
    return [value(series, check, day(seed), day(seed + 1)) for seed in range(100, 140)]


def test_a_number_is_a_series_by_the_word_that_tells_its_readings_apart_and_a_clock_is_none(series):
    columns = {name.partition(" of ")[2] for name in series.measures(day(1), day(0))}

    assert columns == {"temp"}


def frozen_from(hour):
    def change(temp):
        held = temp.copy()
        held[0, hour:] = temp[0, hour]
        return held

    return change


def test_one_sensor_of_three_that_stands_still_for_half_a_day_is_stuck_as_none_ever_was(series):
    assert value(series, "stuck", day(50, frozen_from(10))) > max(usual(series, "stuck")) + 0.3


def test_sensors_that_stand_still_read_what_they_read_before(series):
    assert value(series, "still", day(50, lambda temp: temp * 0 + 40)) > max(usual(series, "still")) + 0.5


def test_some_readings_in_another_unit_are_out_of_line(series):
    hit = np.random.default_rng(1).random((STATIONS, HOURS)) < 0.2
    celsius = day(50, lambda temp: np.where(hit, (temp - 32) / 1.8, temp))

    assert value(series, "line", celsius) > max(usual(series, "line")) + 0.5


def test_readings_of_yesterday_are_there_again(series):
    assert value(series, "again", day(50), day(50)) > max(usual(series, "again")) + 0.5


def test_readings_of_one_town_for_all_agree(series):
    one = day(50, lambda temp: temp[[0, 0, 0]])

    assert value(series, "agree", one) > max(usual(series, "agree")) + 0.5


def test_readings_without_a_word_are_one_series():
    alone = [Rows({"at": np.arange(48) * 1800.0, "level": np.random.default_rng(seed).normal(size=48)}, "at")
             for seed in range(20)]  # fmt: skip

    assert "still of level" in Series(alone, ["level"]).measures(alone[0], None)


def test_without_times_there_are_no_series():
    untimed = [Rows({name: day(seed).columns[name] for name in ("town", "temp")}) for seed in range(20)]

    assert Series(untimed, ["temp"]).measures(untimed[0], untimed[1]) == {}
