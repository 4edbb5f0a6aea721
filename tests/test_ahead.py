"""A helper fills the cache that runs look into, and what was trained ahead and is of no use does not stay in MLflow."""

import json
import os
import signal

import pytest
import yaml

from flywheel.ahead import Ahead, Asked, Turns, _root, sort_out
from flywheel.ledger import Ledger
from flywheel.runner import Cache
from flywheel.training.tracking import AHEAD
from flywheel.workspace import Workspace
from tests.test_config import FLIGHTS


def test_trainings_ahead_that_a_span_made_no_use_of_are_forgotten_once_it_is_done(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = ledger.experiment("flights")

    def trained(span, **tags):
        return ledger.client.create_run(experiment, tags={"flywheel.span": span, **tags}).info.run_id

    used, unused = trained("2013-06-01", **{AHEAD: "yes"}), trained("2013-06-01", **{AHEAD: "yes"})
    plain, later = trained("2013-06-01"), trained("2013-06-02", **{AHEAD: "yes"})

    sort_out(ledger, "flights", ["2013-06-01"], [used])

    left = {run.info.run_id: run.data.tags for run in ledger.client.search_runs([experiment])}
    assert set(left) == {used, plain, later}
    assert AHEAD not in left[used]
    assert unused not in left
    assert left[later][AHEAD] == "yes"


def test_the_first_who_needs_the_cache_of_a_project_may_be_the_helper(tmp_path):
    """No run has made it yet."""
    Cache(_root(tmp_path)).keep_to()

    assert (tmp_path / "cache" / "size").exists()
    assert _root(tmp_path) == tmp_path / "ahead"


def test_a_helper_that_has_died_is_told_of_once(tmp_path):
    (tmp_path / "flywheel.yaml").write_text(yaml.safe_dump(FLIGHTS))
    workspace, told = Workspace.open(tmp_path), []
    workspace.state.mkdir()
    days = [f"2013-06-{day:02d}" for day in range(1, 8)]

    with Ahead(workspace, (None, []), days, depth=1, told=told.append) as helper:
        os.kill(helper._process.pid, signal.SIGKILL)
        helper._process.wait()
        for day in days:
            helper.begun(day)

    assert len(told) == 1
    assert "see " + str(workspace.state / "ahead.log") in told[0]


@pytest.fixture
def workspace(tmp_path):
    """A folder whose flywheel trains on two weeks and judges on a day."""

    def write(**train):
        source = FLIGHTS["source"] | {"window": 14, "judge": 1}
        (tmp_path / "flywheel.yaml").write_text(yaml.safe_dump(FLIGHTS | {"source": source, "train": train}))
        return Workspace.open(tmp_path)

    return write


def done(turns, spans, bad=(), failed=()):
    """Return for which spans something is prepared, in order, and whether with the baseline."""
    found = []
    while (todo := turns.next(spans, bad)) is not None:
        turns.did(todo, todo.span not in failed)
        found.append((todo.span, todo.baseline))
    return found


def test_candidates_of_all_wanted_spans_come_before_their_baselines_and_nothing_is_done_twice(workspace):
    turns, days = Turns(workspace().project), ["2013-06-02", "2013-06-03"]

    assert done(turns, days) == [(day, baseline) for baseline in (False, True) for day in days]
    assert done(turns, [*days[1:], "2013-06-04"]) == [("2013-06-04", False), ("2013-06-04", True)]


def test_a_span_found_bad_meanwhile_is_left_out_of_windows_that_are_then_prepared_anew(workspace):
    turns, days = Turns(workspace().project), ["2013-06-10", "2013-06-30"]
    done(turns, days)

    todo = turns.next(days, ["2013-06-05"])
    assert todo.span == "2013-06-10"
    assert "2013-06-05" not in [part.name for part in todo.windows.train]
    assert done(turns, days, ["2013-06-05"]) == [("2013-06-10", False), ("2013-06-10", True)]


def test_what_failed_is_left_to_the_run_that_tells_of_it(workspace):
    found = done(Turns(workspace().project), ["2013-06-02", "2013-06-03"], failed=["2013-06-02"])

    assert found == [("2013-06-02", False), ("2013-06-03", False), ("2013-06-03", True)]


@pytest.mark.parametrize("train", [{"baseline": False}, {"warm_start": True}])
def test_where_no_baseline_is_trained_ahead_it_has_no_turn(workspace, train):
    assert done(Turns(workspace(**train).project), ["2013-06-02"]) == [("2013-06-02", False)]


def test_while_the_ledger_does_not_answer_what_was_known_as_bad_stays_so(workspace):
    here = workspace()
    here.state.mkdir(exist_ok=True)
    ours, theirs = os.pipe()
    with Ahead(here, (None, []), ["2013-06-01", "2013-06-02", "2013-06-03"], depth=1) as helper:
        own, helper._process.stdin = helper._process.stdin, os.fdopen(theirs, "w")
        helper.begun("2013-06-01", lambda: {"2013-05-20": "why"})
        helper.begun("2013-06-02", lambda: None)
        helper._process.stdin.close()
        helper._process.stdin = own

    told = [json.loads(line) for line in os.fdopen(ours).read().splitlines()]
    assert told == [{"spans": [f"2013-06-0{day}"], "bad": ["2013-05-20"]} for day in (2, 3)]


def test_of_what_is_asked_for_the_newest_counts_and_half_a_line_waits_for_the_rest():
    ours, theirs = os.pipe()
    asked = Asked(ours)

    asked.look(wait=False)
    assert (asked.spans, asked.ended) == ((), False)
    first, second = (f"{json.dumps({'spans': [day], 'bad': ['2013-05-01']})}\n" for day in ("2013-06-02", "2013-06-03"))
    os.write(theirs, f"{first}{second}{first[:9]}".encode())
    asked.look(wait=True)
    assert (asked.spans, asked.bad) == (("2013-06-03",), ("2013-05-01",))
    os.write(theirs, first[9:].encode())
    asked.look(wait=True)
    assert asked.spans == ("2013-06-02",)
    os.close(theirs)
    asked.look(wait=True)
    assert asked.ended
