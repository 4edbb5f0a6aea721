from datetime import UTC, datetime, timedelta, timezone

import duckdb
import pytest

from flywheel.errors import ConfigError
from flywheel.ledger import Ledger
from flywheel.spans import Span
from flywheel.steps.conclude import conclude
from flywheel.steps.plan import last_complete, plan
from flywheel.steps.promote import promote
from tests.stores import ledger_in, model_in


@pytest.fixture
def uri(tmp_path):
    return ledger_in(tmp_path)


@pytest.fixture
def warehouse(tmp_path):
    file = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE flights AS SELECT 1 AS late")
    return file


@pytest.fixture
def plan_for(uri, tmp_path, warehouse):
    def call(span, job="job-1", settings=None, **options):
        settings = settings or {"every": "day", "window": 3, "judge": 2}
        code = tmp_path / "0123abcd.zip"
        return plan("flights", span, settings, f"duckdb:///{warehouse}", "SELECT 1", uri, code, job, **options)

    return call


def finish(uri, planned, outcome, why="so it was"):
    ledger = Ledger(uri)
    ledger.settle(planned.run, outcome, why)
    ledger.close(planned.run, ok=outcome != "failed")


def test_the_first_run_trains_before_what_it_judges_on_and_has_no_champion(plan_for, uri):
    planned = plan_for("2013-06-10")

    assert planned.go
    assert planned.window == ["2013-06-06", "2013-06-07", "2013-06-08"]
    assert planned.judge == ["2013-06-09", "2013-06-10"]
    assert planned.spans == planned.window + planned.judge
    assert planned.champion == ""
    assert "the first model" in planned.reason
    row = Ledger(uri).row(planned.run)
    assert row.tags["flywheel.code"] == "0123abcd"
    assert row.tags["flywheel.window"] == "2013-06-06 to 2013-06-08"


def test_a_cache_can_see_that_rows_came_after_the_last_try(plan_for, warehouse):
    before, same = plan_for("2013-06-10", "job-1").state, plan_for("2013-06-10", "job-2").state
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("INSERT INTO flights SELECT range FROM range(100000)")

    assert before == same
    assert plan_for("2013-06-10", "job-3").state not in ("", before)


def test_the_fields_come_in_the_order_of_the_component():
    from flywheel.components.plan import plan as component

    assert [*component.component_spec.outputs] == [*plan.__globals__["Plan"]._fields]


def test_the_decision_is_printed_in_one_line(plan_for, capsys):
    plan_for("2013-06-10")

    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize("outcome", ["promoted", "kept-champion", "data-rejected", "not-needed"])
def test_a_span_that_is_done_is_not_done_again(plan_for, uri, outcome):
    finish(uri, plan_for("2013-06-10", "job-1"), outcome)

    again = plan_for("2013-06-10", "job-2")

    assert not again.go
    assert again.run == ""
    assert f"is done: {outcome} on 20" in again.reason
    assert len(Ledger(uri).rows("flights")) == 1


def test_a_span_that_failed_is_tried_again(plan_for, uri):
    finish(uri, plan_for("2013-06-10", "job-1"), "failed")

    assert plan_for("2013-06-10", "job-2").go


def test_spans_that_the_champion_was_trained_on_never_judge_it(plan_for, uri, tmp_path):
    first = plan_for("2013-06-10", "job-1")  # trains on the 6th to the 8th
    promote(model_in(tmp_path / "model"), "flights", "2013-06-10", uri, first.run)
    conclude("flights", uri, "job-1", "SUCCEEDED", "")
    wider = {"every": "day", "window": 3, "judge": 6}

    later = plan_for("2013-06-12", "job-2", settings=wider)
    too_soon = plan_for("2013-06-11", "job-3", settings={**wider, "judge": 3})

    assert later.judge == ["2013-06-09", "2013-06-10", "2013-06-11", "2013-06-12"]
    assert later.window == ["2013-06-04", "2013-06-05", "2013-06-06"]
    assert too_soon.judge == ["2013-06-09", "2013-06-10", "2013-06-11"]


def test_a_try_whose_process_is_gone_is_given_up_and_tried_again(plan_for, uri):
    lost = plan_for("2013-06-10", "job-1")

    assert plan_for("2013-06-10", "job-2").go
    row = Ledger(uri).row(lost.run)
    assert (row.outcome, row.why, row.status) == ("failed", "interrupted", "failed")


def test_the_same_job_gets_its_own_row_again_with_nothing_left_of_its_failure(plan_for, uri):
    first = plan_for("2013-06-10", "job-1")
    finish(uri, first, "failed")

    again = plan_for("2013-06-10", "job-1")

    assert again.run == first.run
    row = Ledger(uri).row(first.run)
    assert (row.outcome, row.status) == (None, "running")


def test_a_promotion_that_was_never_deployed_because_the_run_failed_is_tried_again(plan_for, uri, tmp_path):
    first = plan_for("2013-06-10", "job-1")
    promote(model_in(tmp_path / "model"), "flights", "2013-06-10", uri, first.run)
    conclude("flights", uri, "job-1", "FAILED", "the disk is full")

    again = plan_for("2013-06-10", "job-2")

    assert again.go
    assert again.champion == first.champion == ""  # as the first time: not against what it has promoted itself


def test_a_span_older_than_the_champions_is_refused_and_a_later_one_meets_the_champion(plan_for, uri, tmp_path):
    first = plan_for("2013-06-10", "job-1")
    promote(model_in(tmp_path / "model"), "flights", "2013-06-10", uri, first.run)
    conclude("flights", uri, "job-1", "SUCCEEDED", "")

    older, later = plan_for("2013-06-09", "job-2"), plan_for("2013-06-11", "job-3")

    assert not older.go
    assert "older than the champion's: version 1 is of 2013-06-10" in older.reason
    assert later.go
    assert later.champion == "models:/flights/1"
    assert Ledger(uri).row(later.run).tags["flywheel.champion"] == "1"


def test_without_a_span_the_last_complete_one_is_taken(plan_for):
    evening_in_new_york = datetime(2013, 6, 10, 23, 30, tzinfo=timezone(timedelta(hours=-4)))

    assert plan_for("", clock=lambda: evening_in_new_york).span == "2013-06-10"


@pytest.mark.parametrize(
    ("every", "name"), [("hour", "2013-06-05T14"), ("day", "2013-06-04"), ("week", "2013-05-27"), ("month", "2013-05")]
)
def test_the_last_complete_span_is_over_by_the_clock(every, name):
    now = datetime(2013, 6, 5, 15, 59, tzinfo=UTC)

    assert last_complete(every, now) == Span.parse(name, every)


def test_a_name_that_is_no_span_is_refused_before_anything_is_written(plan_for, uri):
    with pytest.raises(ConfigError, match="write it as '2013-06-01'"):
        plan_for("last tuesday")
    assert Ledger(uri).rows("flights") == []
