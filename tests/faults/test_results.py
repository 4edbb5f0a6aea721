"""What counts as caught, and what the page makes of it."""

import json

from flywheel.artifacts import Check
from tests.faults import report
from tests.faults.catalogue import FAULTS, named
from tests.faults.fault import ROWS
from tests.faults.harness import HALVES, sampled
from tests.faults.reasons import REASONS
from tests.faults.results import Clean, Results, Trial, alarms_of

FAULT = named("distance_in_kilometres")


def trial(*checks, size="large", **beside):
    return Trial.of(FAULT, size, "2013-07-01", alarms_of(checks), **beside)


def test_a_fault_is_caught_when_an_alarm_that_blocks_names_its_column():
    assert trial(Check("shift", "fail", column="temp"), Check("shift", "fail", column="distance")).caught
    assert not trial(Check("shift", "fail", column="temp"), Check("shift", "warn", column="distance")).caught
    assert not trial(Check("shift", "warn", column="distance")).caught
    assert trial(Check("shift", "warn", column="distance")).outcome == "warned"
    assert trial(Check("shift", "pass", column="distance")).outcome == "missed"


def test_a_check_without_a_column_is_about_the_rows():
    alarms = alarms_of([Check("rows", "fail")])

    assert Trial.of(named("sample_loaded"), "large", "2013-07-01", alarms).caught
    assert alarms[0].columns == (ROWS,)
    assert not trial(Check("rows", "fail")).caught


def test_a_check_of_several_columns_names_them_all():
    (alarm,) = alarms_of([Check("origin, dest determines distance", "fail", column="distance")])
    (key,) = alarms_of([Check("unique departs, carrier, flight", "fail", column="departs")])

    assert set(alarm.columns) == {"distance", "origin", "dest"}
    assert set(key.columns) == {"departs", "carrier", "flight", ROWS}


def test_alarms_that_block_come_first():
    found = trial(Check("a", "warn", column="distance"), Check("b", "pass"), Check("c", "fail", column="distance"))

    assert [alarm.name for alarm in found.alarms] == ["c", "a"]


def test_results_come_back_from_json_as_they_were():
    results = Results(
        [Clean("2013-07-04", True, alarms_of([Check("rows", "warn", reason="few")]))],
        [trial(Check("shift", "fail", column="distance")), trial(until=3, until_warned=2)],
    )

    assert Results.from_json(json.loads(json.dumps(results.to_json()))) == results


def test_the_page_counts_what_is_caught_and_lists_what_is_not_with_its_reason(monkeypatch):
    monkeypatch.setitem(REASONS, FAULT.name, "a kilometre is a mile to it")
    caught = trial(Check("shift of distance", "fail", column="distance"))
    results = Results([Clean("2013-07-04", True), Clean("2013-07-05", False, caught.alarms)],
                      [caught, trial(size="medium"), trial(size="small")])  # fmt: skip

    page = report.page(results, "report")

    assert "| large | 1 | 1 of 1 | 1 | 1 | 100.0% | 100.0% | 0.0% | 0.0% |" in page
    assert "| `distance_in_kilometres` | medium, 0.2 | 0 of 1 | 0 of 1 | a kilometre is a mile to it |" in page
    assert "| July to December | 2 | 1 | 1 (100.0% of 1) | 0 | 1 |" in page
    assert "| large: 1 | 1 | 1 | 1 | 0 | 0 | shift of distance |" in page


def test_a_day_that_is_blocked_without_a_fault_proves_nothing():
    found = Results([], [trial(Check("shift", "fail", column="distance"), clean="blocked")])

    assert "| large | 0 | 0 of 0 |" in report.summary(found)
    assert "Left out: 1 trial" in report.summary(found)


def test_sampled_days_are_of_their_half_and_of_every_weekday():
    for half, (first, last) in HALVES.items():
        days = sampled(half, 14)
        assert len(set(days)) == 14
        assert all(first <= day <= last for day in days)
        assert len({day.weekday() for day in days}) >= 6  # a holiday gives way to the day after


def test_every_reason_is_that_of_a_fault():
    assert set(REASONS) <= {fault.name for fault in FAULTS}
