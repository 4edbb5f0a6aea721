from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.ticks import Cron, Ticks
from tests.stand_ins.kfp.controller import Cron as Kubeflows

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Auckland"]


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def walls(ticks, zone, since, count):
    """The first ticks as a clock on a wall of `zone` shows them."""
    return [f"{tick.astimezone(ZoneInfo(zone)):%a %m-%d %H:%M}" for tick in islice(ticks.after(since), count)]


def test_a_tick_is_at_the_same_time_of_day_before_and_after_the_clocks_change():
    ticks = Ticks("0 6 * * sat,sun,mon", time_zone="Europe/Berlin")

    assert walls(ticks, "Europe/Berlin", at("2026-03-28"), 3) == [
        "Sat 03-28 06:00",
        "Sun 03-29 06:00",
        "Mon 03-30 06:00",
    ]
    assert [tick.hour for tick in islice(ticks.after(at("2026-03-28")), 3)] == [5, 4, 4]


def test_a_time_that_the_clocks_leap_over_is_due_when_they_have_leapt():
    ticks = Ticks("30 2 * * *", time_zone="Europe/Berlin")

    assert walls(ticks, "Europe/Berlin", at("2026-03-28"), 3) == [
        "Sat 03-28 02:30",
        "Sun 03-29 03:30",
        "Mon 03-30 02:30",
    ]


def test_a_time_that_the_clocks_show_twice_is_due_once_and_every_hour_each_hour():
    once, hourly = Ticks("30 2 * * *", time_zone="Europe/Berlin"), Ticks("0 * * * *", time_zone="Europe/Berlin")

    assert list(islice(once.after(at("2026-10-24T12:00")), 2)) == [at("2026-10-25T00:30"), at("2026-10-26T01:30")]
    assert {later - sooner for sooner, later in pairwise(islice(hourly.after(at("2026-10-24")), 48))} == {
        timedelta(hours=1)
    }


def test_an_interval_is_counted_from_a_monday_or_from_its_start():
    assert Ticks(every=timedelta(weeks=1)).last(at("2026-11-26")) == at("2026-11-23")
    assert Ticks(every=timedelta(hours=36), start=at("2026-01-01T06:00")).last(at("2026-01-03")) == at(
        "2026-01-02T18:00"
    )


def test_start_and_end_are_ticks_themselves():
    ticks = Ticks("0 6 * * *", start=at("2026-01-02T06:00"), end=at("2026-01-04T06:00"))

    assert [tick.day for tick in ticks.after(NOW)] == [2, 3, 4]
    assert [tick.day for tick in ticks.until(at("2027-01-01"))] == [4, 3, 2]
    assert ticks.last(at("2026-01-02T05:59")) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 6 * *", "five fields"),
        ("0 0 6 * * *", "five fields"),
        ("0 24 * * *", "'24' is no hour: it goes from 0 to 23"),
        ("x * * * *", "'x' is no minute; write numbers"),
        ("0 0 31 2 *", "no month that it names has such a day"),
        ("5-1 * * * *", "'5-1' is no minute"),
        ("*/0 * * * *", "'\\*/0' is no minute"),
    ],
)
def test_wrong_cron_is_refused_with_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        Cron.parse(text)


def test_names_ranges_and_steps_are_understood():
    cron = Cron.parse("*/20 9-17/4 1 jan,jul mon-fri")

    assert (cron.minutes, cron.hours, cron.months, cron.weekdays) == ((0, 20, 40), (9, 13, 17), (1, 7), (1, 2, 3, 4, 5))


def test_a_day_of_the_month_or_one_of_the_week_will_do():
    ticks = Ticks("0 0 13 * fri")

    assert walls(ticks, "UTC", at("2026-03-01"), 4) == [
        "Fri 03-06 00:00",
        "Fri 03-13 00:00",
        "Fri 03-20 00:00",
        "Fri 03-27 00:00",
    ]
    assert "Mon 04-13 00:00" in walls(ticks, "UTC", at("2026-03-01"), 8)


CRONS = st.builds(
    "{} {} {} * {}".format,
    st.sampled_from(["0", "30", "15,45", "*/20"]),
    st.sampled_from(["0", "2", "6,18", "23", "*", "1-3"]),
    st.sampled_from(["*", "*", "1", "31", "15"]),
    st.sampled_from(["*", "*", "mon", "sun", "sat,wed"]),
)


@given(CRONS, st.sampled_from(ZONES), st.sampled_from(["UTC", "Asia/Tokyo"]), st.integers(0, 700))
def test_kubeflow_is_woken_at_every_tick(cron, zone, clusters, days):
    ticks = Ticks(cron, time_zone=zone)
    alarms = Kubeflows(f"0 {ticks.alarms(clusters, NOW)}", clusters)

    for tick in islice(ticks.after(NOW + timedelta(days=days)), 5):
        assert alarms.next(tick - timedelta(seconds=1)) == tick


@given(st.integers(1, 3000), st.sampled_from([None, NOW + timedelta(hours=7, minutes=13)]), st.integers(1, 500))
def test_kubeflow_is_woken_at_every_tick_of_an_interval(minutes, start, days):
    ticks = Ticks(every=timedelta(minutes=minutes), start=start)
    alarms = Kubeflows(f"0 {ticks.alarms('UTC', NOW)}")

    for tick in islice(ticks.after(NOW + timedelta(days=days)), 4):
        assert alarms.next(tick - timedelta(seconds=1)) == tick


@pytest.mark.parametrize(
    ("cron", "zone", "alarms"),
    [
        ("0 6 * * 1", "UTC", "0 6 * * 1"),
        ("0 6 * * 1", "Asia/Tokyo", "0 21 * * 0"),
        ("0 6 * * 1", "Europe/Berlin", "0 4,5 * * 1"),
        ("0 * * * *", "Europe/Berlin", "0 * * * *"),
        ("0 1 1 * *", "Asia/Tokyo", "0 16 28,29,30,31 * *"),
    ],
)
def test_no_alarm_rings_without_need(cron, zone, alarms):
    assert Ticks(cron, time_zone=zone).alarms("UTC", NOW) == alarms


@given(CRONS, st.sampled_from(ZONES), st.integers(0, 365 * 24 * 60))
def test_forwards_and_backwards_are_the_same_ticks(cron, zone, minutes):
    ticks, begin = Ticks(cron, time_zone=zone), NOW + timedelta(minutes=minutes)
    forwards = list(islice(ticks.after(begin), 6))

    backwards = list(islice(ticks.until(forwards[-1]), 6))

    assert backwards[::-1] == forwards
