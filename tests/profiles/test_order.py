import numpy as np
import pytest

from flywheel.profiles.measure import Rows
from flywheel.profiles.order import Order

HOURS = np.repeat(np.arange(24), 20) * 3600.0


def weather(seed, level=0.0):
    """Return a day of readings that run smoothly, beside numbers drawn anew for each row."""
    chance = np.random.default_rng(seed)
    drift = np.cumsum(chance.normal(0, 1, 24))
    temp = 50 + level + 10 * np.sin((HOURS / 3600 - 9) / 24 * 2 * np.pi) + np.repeat(drift, 20)
    columns = {"at": HOURS, "temp": temp + chance.normal(0, 0.5, 480), "price": chance.normal(30, 5, 480)}
    return Rows({**columns, "hour": HOURS // 3600}, "at")


@pytest.fixture(scope="module")
def order():
    return Order([weather(seed) for seed in range(28)], ["temp", "price", "hour", "at"])


def some(rows, share, change):
    hit = np.random.default_rng(9).random(480) < share
    return Rows({**rows.columns, "temp": np.where(hit, change(rows.columns["temp"]), rows.columns["temp"])}, "at")


def scatter(order, rows):
    return order.measures(rows, None)["scatter of temp"].value


def test_only_numbers_that_run_smoothly_are_measured_and_clocks_have_no_course(order):
    found = order.measures(weather(40), weather(39))

    assert set(found) == {"scatter of temp", "course of temp", "join of temp", "scatter of hour"}


@pytest.mark.parametrize("change", [lambda temp: (temp - 32) / 1.8, lambda temp: temp + 25], ids=["unit", "offset"])
def test_some_readings_of_another_kind_scatter_more_than_any_day_did(order, change):
    usual = [scatter(order, weather(seed)) for seed in range(100, 140)]

    assert scatter(order, some(weather(40), 0.2, change)) > max(usual) + 0.5


def test_a_sensor_that_stands_still_scatters_less(order):
    frozen = Rows({**weather(40).columns, "temp": np.full(480, 50.0)}, "at")

    assert scatter(order, frozen) < min(scatter(order, weather(seed)) for seed in range(100, 140)) - 0.5


def test_a_day_goes_on_where_the_day_before_ended(order):
    joined, apart = (order.measures(weather(40, level), weather(39))["join of temp"] for level in (0, 40))

    assert apart.value - joined.value == pytest.approx(40 / joined.unit)
    assert apart.observed - apart.reference == pytest.approx(apart.value * apart.unit)


def test_yesterdays_course_once_more_is_closer_than_two_days_ever_are(order):
    again = order.measures(weather(39), weather(39))["course of temp"].value
    usual = [order.measures(weather(seed), weather(seed + 1))["course of temp"].value for seed in range(100, 140)]

    assert again < min(usual) - 1


def test_without_times_nothing_is_measured():
    untimed = [Rows({"temp": weather(seed).columns["temp"]}) for seed in range(28)]

    assert Order(untimed, ["temp"]).measures(untimed[0], untimed[1]) == {}


def test_a_column_that_is_mostly_one_value_is_left_out():
    dry = [Rows({"at": HOURS, "rain": np.where(HOURS > 22 * 3600, 0.1, 0.0)}, "at") for _ in range(28)]

    assert Order(dry, ["rain"]).measures(dry[0], dry[1]) == {}
