from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from flywheel.config import Schedule
from flywheel.ledger import Row
from flywheel.spans import last_complete
from flywheel.steps.due import due


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def row(span, started, outcome="kept-champion"):
    return replace(Row.without_a_run(span, "another", outcome, "", 60.0), started=at(started))


def days(instant):
    return last_complete("day", instant)


def weekly(catch_up):
    return Schedule(cron="0 6 * * mon", catch_up=catch_up)


def daily(catch_up, **more):
    return Schedule(cron="0 6 * * *", catch_up=catch_up, **more)


def test_the_span_is_the_newest_that_was_complete_at_the_last_tick():
    span, idle = due(weekly("latest"), [], days, at("2026-03-05T10:00"))

    assert (span.name, idle) == ("2026-03-01", "")


def test_a_second_alarm_of_one_tick_finds_nothing_to_do():
    rows = [row("2026-03-01", "2026-03-02T06:00:20", "failed")]

    assert due(weekly("latest"), rows, days, at("2026-03-02T07:00"))[1] == (
        "the run that was due at 2026-03-02 06:00 UTC has been made"
    )
    assert due(weekly("latest"), rows, days, at("2026-03-09T06:00"))[1] == ""


def test_before_its_start_there_is_nothing_to_do():
    schedule = daily("latest", start="2026-04-01")

    assert due(schedule, [], days, at("2026-03-05T10:00"))[1] == "nothing has been due since the schedule was applied"


@pytest.mark.parametrize(
    ("catch_up", "span", "idle"),
    [("latest", "2026-03-08", False), ("all", "2026-03-03", False), ("none", "2026-03-08", True)],
)
def test_after_a_gap_catch_up_says_what_is_run(catch_up, span, idle):
    rows = [row("2026-03-01", "2026-03-02T06:00"), row("2026-03-02", "2026-03-03T06:00")]

    found, reason = due(daily(catch_up), rows, days, at("2026-03-09T15:00"))

    assert (found.name, bool(reason)) == (span, idle)


def test_all_goes_from_the_oldest_to_the_newest_and_tries_none_twice():
    rows, tried = [row("2026-03-01", "2026-03-02T06:00")], []
    for minute in range(10):
        found, reason = due(daily("all"), rows, days, at("2026-03-06T15:00") + timedelta(minutes=minute))
        if not reason:
            tried.append(found.name)
            rows.append(row(found.name, f"2026-03-06T15:0{minute}", "failed"))

    assert tried == ["2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05"]


def test_all_takes_no_span_before_the_first_that_was_ever_run():
    assert due(daily("all"), [], days, at("2026-03-06T15:00"))[0].name == "2026-03-05"


def test_a_run_that_is_a_little_late_is_on_time():
    assert due(daily("none"), [], days, at("2026-03-06T06:40"))[1] == ""
    assert due(daily("none"), [], days, at("2026-03-06T07:10"))[1] == (
        "the run that was due at 2026-03-06 06:00 UTC is 1:10:00 late, and catch_up is none"
    )


def test_where_ticks_are_near_another_late_is_half_of_what_is_between():
    schedule = Schedule(every="30m", catch_up="none")

    assert due(schedule, [], days, at("2026-03-06T06:14"))[1] == ""
    assert due(schedule, [], days, at("2026-03-06T06:16"))[1] != ""


def test_data_that_arrives_late_holds_the_span_back_as_ever():
    newest = lambda instant: last_complete("day", min(instant, at("2026-03-04T12:00")))  # noqa: E731

    assert due(daily("latest"), [], newest, at("2026-03-06T06:00"))[0].name == "2026-03-03"


def test_what_kubeflow_hands_on_is_read_as_it_was_written():
    schedule = Schedule(every="36h", start="2026-01-01T06:00", time_zone="Europe/Berlin", catch_up="all", paused=True)
    handed = {key: float(value) if isinstance(value, int) else value for key, value in schedule.handed().items()}

    assert Schedule.read(handed).ticks() == schedule.ticks()
    assert set(handed) == {"every", "start", "time_zone", "catch_up"}


def test_what_was_due_before_the_schedule_was_applied_does_not_count():
    applied, tried = at("2026-03-04T12:00"), [row("2026-02-01", "2026-02-02T06:00")]

    assert due(daily("all"), tried, days, at("2026-03-04T18:00"), applied)[1] != ""
    assert due(daily("all"), tried, days, at("2026-03-06T18:00"), applied)[0].name == "2026-03-04"
