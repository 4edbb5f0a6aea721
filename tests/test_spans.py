from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.errors import ConfigError
from flywheel.spans import Every, Span, Windows, last_complete, reach

days = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(
    lambda at: Span(datetime(at.year, at.month, at.day), "day")
)
months = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(
    lambda at: Span(datetime(at.year, at.month, 1), "month")
)

hours = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(
    lambda at: Span(datetime(at.year, at.month, at.day, at.hour), "hour")
)
weeks = st.integers(0, 5000).map(lambda count: Span(datetime(1990, 1, 1) + timedelta(weeks=count), "week"))
spans = st.one_of(hours, days, weeks, months)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(spans, st.integers(-500, 500))
def test_shifting_there_and_back_is_where_one_was(span, count):
    assert span.shift(count).shift(-count) == span


@given(spans)
def test_a_span_ends_where_the_next_begins(span):
    assert span.end == span.shift(1).start > span.start


@given(spans)
def test_a_name_names_its_span(span):
    assert Span.parse(span.name, span.every) == span


@given(spans, st.integers(1, 60), st.integers(1, 60))
def test_what_is_judged_on_is_never_trained_on(span, window, judge):
    windows = Windows.of(span, window, judge)

    assert len(windows.train) == window
    assert len(windows.judge) == judge
    assert windows.judge[-1] == span
    assert list(windows.all) == sorted(set(windows.all))
    assert windows.train[-1].end == windows.judge[0].start


@given(spans, st.integers(1, 30), st.integers(1, 20), st.sets(st.integers(0, 90)), st.sampled_from([0.0, 0.25, 0.5]))
def test_good_spans_stand_in_for_bad_ones_as_far_back_as_is_allowed(span, window, judge, places, leave_out):
    bad = {span.shift(-place).name for place in places}
    most = reach(window, judge, leave_out)

    windows = Windows.of(span, window, judge, bad, most)

    assert windows.judge[-1] == span
    assert list(windows.all) == span.back(len(windows.all))
    used = [*windows.train, *windows.judge]
    assert used == sorted(set(used))
    assert [each for each in windows.all if each.name not in bad or each == span] == used
    assert windows.passed_over == sorted(bad & {each.name for each in windows.all} - {span.name})
    assert len(windows.all) <= most
    if len(windows.all) < most or len(used) == window + judge:
        assert (len(windows.train), len(windows.judge)) == (window, judge)
        assert windows.all[0] == windows.train[0]
    else:
        assert len(windows.judge) == min(judge, len(used))


@given(spans, st.integers(1, 15), st.integers(1, 15), st.sets(st.integers(0, 60)))
def test_a_later_run_never_judges_on_what_an_earlier_one_trained_on(span, window, judge, places):
    bad = {span.shift(-place).name for place in places}
    earlier = Windows.of(span.shift(-5), window, judge, bad)
    later = Windows.of(span, window, judge, bad)

    if span.shift(-5).name not in bad:  # else it was rejected, and trained nothing
        assert earlier.train[-1] < later.judge[0]


@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=zones), st.sampled_from(get_args(Every)))
def test_the_last_complete_span_is_over_and_the_next_one_is_not_wherever_the_clock_stands(now, every):
    span = last_complete(every, now)

    assert span.end.replace(tzinfo=UTC) <= now < span.shift(1).end.replace(tzinfo=UTC)
    assert Span.parse(span.name, every) == span


@pytest.mark.parametrize(
    ("name", "every", "remedy"),
    [
        ("2013-6-31", "day", "write it as '2013-06-01'"),
        ("yesterday", "hour", "write it as '2013-06-01T09'"),
        ("2013-06-01", "week", "take its Monday, 2013-05-27"),
        ("2013-06-01", "fortnight", "use one of hour, day, week, month"),
    ],
)
def test_a_wrong_name_is_answered_with_a_right_one(name, every, remedy):
    with pytest.raises(ConfigError, match=remedy):
        Span.parse(name, every)


@pytest.mark.parametrize(
    ("name", "every", "count"),
    [("0001-01-01", "day", -1), ("9999-12-31", "day", 1), ("0001-01", "month", -1), ("9999-12", "month", 1)],
)
def test_a_time_that_no_calendar_has_is_refused(name, every, count):
    with pytest.raises(ConfigError, match="no calendar"):
        Span.parse(name, every).shift(count)
