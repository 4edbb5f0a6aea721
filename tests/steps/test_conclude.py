import pytest

from flywheel.artifacts import Check, Verdict
from flywheel.ledger import Ledger
from flywheel.steps.conclude import conclude
from tests.stores import ledger_in


@pytest.fixture
def ledger(tmp_path):
    return Ledger(ledger_in(tmp_path))


@pytest.fixture
def run(ledger):
    return ledger.open("flights", "2013-06-01", "job-1")


def close(ledger, state="SUCCEEDED", error="", job="job-1"):
    return conclude("flights", ledger.tracking_uri, job, state, error)


def test_a_run_that_failed_is_closed_with_its_error_in_one_line(ledger, run):
    row = close(ledger, "FAILED", "\n  label has nulls\n  remove them\n")

    assert (row.outcome, row.why, row.status) == ("failed", "label has nulls; remove them", "failed")
    assert row.seconds is not None


def test_a_run_that_was_stopped_is_closed_as_interrupted(ledger, run):
    row = close(ledger, "CANCELLED")

    assert (row.outcome, row.why) == ("failed", "interrupted")


@pytest.mark.parametrize(
    ("gate", "outcome"), [("data", "data-rejected"), ("model", "kept-champion"), ("serving", "kept-champion")]
)
def test_what_a_gate_decided_stands_when_the_run_succeeds(ledger, run, gate, outcome):
    ledger.record(run, Verdict(gate, (Check("x", "fail", reason="too strange"),)))

    row = close(ledger)

    assert (row.outcome, row.why, row.status) == (outcome, "too strange", "finished")


def test_an_outcome_stands_even_if_the_run_fails_afterwards(ledger, run):
    ledger.settle(run, "promoted", "version 1 is champion")

    row = close(ledger, "FAILED", "the disk is full")

    assert (row.outcome, row.why, row.unfinished) == ("promoted", "version 1 is champion", "the disk is full")
    assert not row.done


def test_a_run_that_is_resumed_and_succeeds_loses_its_failure(ledger, run):
    ledger.settle(run, "promoted", "version 1 is champion")
    close(ledger, "FAILED", "the disk is full")

    row = close(ledger)

    assert (row.outcome, row.unfinished, row.status) == ("promoted", None, "finished")
    assert row.done


def test_a_failed_run_that_is_resumed_takes_its_outcome_from_the_verdicts(ledger, run):
    close(ledger, "FAILED", "no memory")
    ledger.record(run, Verdict("data", (Check("x", "fail", reason="too strange"),)))

    assert close(ledger).outcome == "data-rejected"


def test_a_run_without_any_decision_was_not_needed(ledger, run):
    assert close(ledger).outcome == "not-needed"


def test_a_run_that_opened_no_row_has_none_to_close(ledger):
    assert close(ledger, job="job-2") is None
    assert ledger.rows("flights") == []
