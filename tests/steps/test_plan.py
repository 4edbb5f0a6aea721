from datetime import UTC, datetime, timedelta, timezone

import duckdb
import pytest

from flywheel.artifacts import HISTORY, Check, Verdict
from flywheel.errors import ConfigError, LedgerError, SQLError
from flywheel.ledger import Ledger
from flywheel.profiles.history import Entry, History
from flywheel.spans import Span, last_complete
from flywheel.steps.conclude import conclude
from flywheel.steps.plan import plan
from flywheel.steps.promote import promote
from flywheel.steps.ready import noted
from tests.stores import ledger_in, model_in


@pytest.fixture
def uri(tmp_path):
    return ledger_in(tmp_path)


QUERY = "SELECT late FROM flights WHERE day >= @start AND day < @end"


@pytest.fixture
def warehouse(tmp_path):
    """A flight a day from 1 to 15 June; `loads` says up to when they were loaded."""
    file = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            "CREATE TABLE flights AS SELECT 1 AS late, DATE '2013-06-01' + i::INT AS day FROM range(15) AS t(i)"
        )
        connection.execute("CREATE TABLE loads AS SELECT TIMESTAMP '2013-06-10 06:00:00' AS up_to")
    return file


@pytest.fixture
def change(warehouse):
    """Run SQL on the warehouse."""

    def call(statement):
        with duckdb.connect(str(warehouse)) as connection:
            connection.execute(statement)

    return call


@pytest.fixture
def plan_for(uri, tmp_path, warehouse):
    def call(span, job="job-1", settings=None, **options):
        settings = {"every": "day", "window": 3, "judge": 2} | (settings or {})
        code = tmp_path / "0123abcd.zip"
        return plan("flights", span, settings, f"duckdb:///{warehouse}", QUERY, uri, code, job, **options)

    return call


def at(text):
    """A clock that stands still, in UTC."""
    return lambda: datetime.fromisoformat(text).replace(tzinfo=UTC)


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


def test_a_cache_can_see_that_rows_came_after_the_last_try(plan_for, change):
    before, same = plan_for("2013-06-10", "job-1").state, plan_for("2013-06-10", "job-2").state
    change("INSERT INTO flights SELECT range, '2013-06-10' FROM range(100000)")

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
    assert (again.run, again.outcome) == ("", "not-needed")
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


def judged_bad(uri, run, folder, *bad):
    """Leave the history that validate would, in which these days are bad."""
    history = History()
    for span in bad:
        history.add(Entry(span, "digest", False, False, (("nulls", "late", "half of late is missing"),)))
    folder.mkdir(exist_ok=True)
    history.save(folder / HISTORY)
    Ledger(uri).keep(run, folder / HISTORY)


def test_older_spans_stand_in_for_those_that_are_known_as_bad(plan_for, uri, tmp_path):
    first = plan_for("2013-06-10", "job-1")
    judged_bad(uri, first.run, tmp_path / "kept", "2013-06-07", "2013-06-09")
    finish(uri, first, "kept-champion")

    later = plan_for("2013-06-11", "job-2")
    Ledger(uri).waive("flights", "2013-06-09", "it was a holiday", "ada")
    waived = plan_for("2013-06-12", "job-3")

    assert later.window == ["2013-06-05", "2013-06-06", "2013-06-08"]
    assert later.judge == ["2013-06-10", "2013-06-11"]
    assert later.spans == [f"2013-06-{day:02d}" for day in range(5, 12)]
    assert "; 2 bad spans are passed over, 2013-06-07 to 2013-06-09" in later.reason
    assert waived.window == ["2013-06-08", "2013-06-09", "2013-06-10"]


def test_it_looks_no_further_back_than_it_is_let(plan_for, uri, tmp_path):
    first = plan_for("2013-06-10", "job-1")
    judged_bad(uri, first.run, tmp_path / "kept", *(f"2013-06-{day:02d}" for day in range(2, 11)))
    finish(uri, first, "data-rejected")

    assert len(plan_for("2013-06-11", "job-2").spans) == 10
    assert len(plan_for("2013-06-12", "job-3", {"leave_out": 0.0}).spans) == 5


@pytest.mark.parametrize(("bad", "tried"), [(("2013-06-07",), True), (("2013-06-07", "2013-06-10"), False)])
def test_a_span_rejected_for_others_is_tried_again_without_them(plan_for, uri, tmp_path, bad, tried):
    first = plan_for("2013-06-10", "job-1")
    judged_bad(uri, first.run, tmp_path / "kept", *bad)
    finish(uri, first, "data-rejected")

    again = plan_for("2013-06-10", "job-2")

    assert again.go is tried
    if tried:
        assert again.window == ["2013-06-05", "2013-06-06", "2013-06-08"]
        finish(uri, again, "data-rejected")
        assert not plan_for("2013-06-10", "job-3").go


def test_a_try_whose_process_is_gone_is_given_up_and_tried_again(plan_for, uri):
    lost = plan_for("2013-06-10", "job-1")

    assert plan_for("2013-06-10", "job-2").go
    row = Ledger(uri).row(lost.run)
    assert (row.outcome, row.why, row.status) == ("failed", "interrupted", "failed")


def test_of_two_runs_of_a_span_in_two_folders_the_one_that_was_taken_for_abandoned_says_so_and_does_no_more(
    plan_for, uri, tmp_path
):
    first, second = plan_for("2013-06-10", "job-1"), plan_for("2013-06-10", "job-2")
    ledger, passed = Ledger(uri), Verdict("data", (Check("nulls", "pass"),), {})

    with pytest.raises(LedgerError, match="span 2013-06-10 is tried by another run since, job job-2") as refused:
        ledger.record(first.run, passed)
    with pytest.raises(LedgerError, match="tried by another run since"):
        promote(model_in(tmp_path / "first"), "flights", "2013-06-10", uri, first.run)
    ledger.record(second.run, passed)
    promote(model_in(tmp_path / "second"), "flights", "2013-06-10", uri, second.run)
    told = conclude("flights", uri, "job-1", "FAILED", str(refused.value))

    assert told.outcome == "failed"
    assert told.why.startswith("span 2013-06-10 is tried by another run since")
    assert ledger.champion("flights").run == second.run


def test_of_two_runs_that_begin_a_span_at_the_same_moment_one_ends_without_a_row(plan_for, uri, monkeypatch):
    opened, others = Ledger.open, []

    def open_after_another(self, name, span, job, *more):
        if not others:
            others.append(job)
            opened(self, name, span, "job-1")
        return opened(self, name, span, job, *more)

    monkeypatch.setattr(Ledger, "open", open_after_another)

    with pytest.raises(LedgerError, match="begun by another run at this moment, job job-1"):
        plan_for("2013-06-10", "job-2")
    assert [(row.job, row.status) for row in Ledger(uri).rows("flights")] == [("job-1", "running")]


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


@pytest.mark.parametrize(
    ("grace", "now", "span"),
    [
        (0, "2013-06-11T00:00", "2013-06-10"),
        (6 * 3600.0, "2013-06-11T05:59", "2013-06-09"),
        (6 * 3600.0, "2013-06-11T06:00", "2013-06-10"),
        (2 * 86400.0, "2013-06-11T12:00", "2013-06-08"),
    ],
)
def test_a_span_is_taken_when_its_grace_is_over(plan_for, grace, now, span):
    assert plan_for("", settings={"grace": grace}, clock=at(now)).span == span


@pytest.mark.parametrize(
    ("up_to", "now", "span"),
    [
        ("2013-06-10 06:00:00", "2013-06-11T12:00", "2013-06-09"),  # the 10th is not there yet
        ("2013-06-11 00:00:00", "2013-06-11T12:00", "2013-06-10"),
        ("2013-06-14 00:00:00", "2013-06-11T12:00", "2013-06-10"),  # what the clock has not seen is not over
    ],
)
def test_without_a_span_the_newest_before_watermark_and_clock_is_taken(plan_for, change, up_to, now, span):
    change(f"UPDATE loads SET up_to = TIMESTAMP '{up_to}'")

    planned = plan_for("", settings={"watermark": "SELECT MAX(up_to) FROM loads"}, clock=at(now))

    assert (planned.go, planned.span) == (True, span)


@pytest.mark.parametrize(
    ("watermark", "reason"),
    [
        ("SELECT MAX(up_to) FROM loads", "up to 2013-06-10 06:00, and span 2013-06-10 ends at 2013-06-11 00:00"),
        ("SELECT DATE(MAX(up_to)) FROM loads", "up to 2013-06-10 00:00, and span"),
        ("SELECT TIMESTAMP '2013-06-10 20:00:00-04'", ""),
        ("SELECT MAX(up_to) FROM loads WHERE FALSE", "nothing has been loaded yet"),
    ],
)
def test_a_span_that_ends_after_the_watermark_is_not_ready(plan_for, uri, watermark, reason):
    planned = plan_for("2013-06-10", settings={"watermark": watermark})

    assert planned.go == (not reason)
    assert planned.outcome == ("not-ready" if reason else "")
    assert reason in planned.reason
    assert len(Ledger(uri).rows("flights")) == planned.go


@pytest.mark.parametrize(
    ("watermark", "said"),
    [
        ("SELECT up_to, 1 FROM loads", "2 columns"),
        ("SELECT 'yesterday'", "'yesterday'"),
        ("SELECT up_to FROM loads UNION ALL SELECT up_to FROM loads", "several rows"),
        ("SELECT MAX(day) FROM flight", "no table 'flight'"),
        ("SELECT MAX(day) FROM flights WHERE day < @end", "@end"),
    ],
)
def test_a_watermark_that_is_no_time_is_refused(plan_for, watermark, said):
    with pytest.raises(SQLError, match=said):
        plan_for("", settings={"watermark": watermark})


def test_a_newest_span_without_rows_is_not_ready_until_they_are_there(plan_for, uri, change):
    early = plan_for("2013-06-16", "job-1")
    change("INSERT INTO flights VALUES (1, '2013-06-16')")

    assert (early.go, early.outcome, early.run) == (False, "not-ready", "")
    assert "has no rows yet; there is data from 2013-06-01 00:00 to 2013-06-15 00:00" in early.reason
    assert plan_for("2013-06-16", "job-2").go
    assert len(Ledger(uri).rows("flights")) == 1


def test_a_rejected_span_is_tried_again_once_it_is_waived(plan_for, uri):
    finish(uri, plan_for("2013-06-10", "job-1"), "data-rejected")
    before = plan_for("2013-06-10", "job-2")
    Ledger(uri).waive("flights", "2013-06-10", "a public holiday")
    waived = plan_for("2013-06-10", "job-3")
    finish(uri, waived, "data-rejected")

    assert (before.go, waived.go) == (False, True)
    assert not plan_for("2013-06-10", "job-4").go  # the waiver was known to that try


def test_a_rejected_span_is_tried_again_once_an_older_one_that_it_reads_is_waived(plan_for, uri):
    finish(uri, plan_for("2013-06-10", "job-1"), "data-rejected")
    Ledger(uri).waive("flights", "2013-06-01", "long before")
    not_read = plan_for("2013-06-10", "job-2")
    Ledger(uri).waive("flights", "2013-06-07", "a storm")

    assert not not_read.go
    assert plan_for("2013-06-10", "job-3").go


def test_a_rejected_span_is_tried_again_once_its_data_has_changed(plan_for, uri, change):
    finish(uri, plan_for("2013-06-10", "job-1"), "data-rejected")
    same = plan_for("2013-06-10", "job-2")
    change("INSERT INTO flights SELECT 0, '2013-06-10' FROM range(100000)")

    assert (same.go, same.outcome) == (False, "not-needed")
    assert plan_for("2013-06-10", "job-3").go


def test_a_span_that_was_promoted_after_a_rejection_stays_done(plan_for, uri, change):
    finish(uri, plan_for("2013-06-10", "job-1"), "data-rejected")
    change("INSERT INTO flights SELECT 0, '2013-06-10' FROM range(100000)")
    finish(uri, plan_for("2013-06-10", "job-2"), "kept-champion")
    change("INSERT INTO flights SELECT 0, '2013-06-10' FROM range(200000)")

    assert "is done: kept-champion" in plan_for("2013-06-10", "job-3").reason


def test_the_state_is_noted_whatever_its_length(plan_for, uri):
    planned = plan_for("2013-06-10")
    long = "as-of 2013-06-11T00:00:00Z " + "x" * 10_000

    assert Ledger(uri).row(planned.run).tags["flywheel.state"] == planned.state
    assert noted(long).startswith("as-of 2013-06-11T00:00:00Z xxx")
    assert len(noted(long)) < 500
    assert noted(long) != noted(long + "x")


def test_a_scheduled_run_takes_the_span_of_its_tick_once(plan_for, uri):
    schedule = {"cron": "0 6 * * *", "time_zone": "UTC", "catch_up": "latest"}
    first = plan_for("", "job-1", schedule=schedule, clock=at("2013-06-10T06:00:10"))
    finish(uri, first, "kept-champion")

    second = plan_for("", "job-2", schedule=schedule, clock=at("2013-06-10T07:00"))
    again = plan_for("", "job-1", schedule=schedule, clock=at("2013-06-10T06:05"))

    assert (first.go, first.span) == (True, "2013-06-09")
    assert (second.go, second.outcome) == (False, "not-needed")
    assert again.run == first.run  # a step that Kubeflow tries again goes on


def test_a_scheduled_run_that_catches_up_takes_the_oldest_span_that_was_missed(plan_for, uri):
    schedule = {"cron": "0 6 * * *", "time_zone": "UTC", "catch_up": "all"}
    finish(uri, plan_for("2013-06-06", "job-1"), "kept-champion")

    assert plan_for("", "job-2", schedule=schedule, clock=at("2013-06-10T06:00")).span == "2013-06-07"
