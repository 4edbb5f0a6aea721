"""A helper fills the cache that runs look into, and what was trained ahead and is of no use does not stay in MLflow."""

import json
import os
import signal

import pytest
import yaml

from flywheel.ahead import Ahead, Asked, Helper, _root, sort_out
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

    sort_out(ledger, "flights", "2013-06-01", [used])

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
def helper(tmp_path, monkeypatch):
    """A helper of two weeks that judges on one day, and the span and `baseline` of each pipeline that it has run."""
    (tmp_path / "flywheel.yaml").write_text(yaml.safe_dump(FLIGHTS))
    (tmp_path / "flights.sql").write_text("SELECT 1")
    return Helper(Workspace.open(tmp_path, None, ["source.window=14", "source.judge=1"]), run=lambda *_, **__: None)


def turns(helper, spans, bad=()):
    """What a helper does until nothing is left."""
    while (todo := helper.next(spans, bad)) is not None:
        span, windows, baseline = todo
        helper._done.add((windows, baseline))
        yield span, baseline


def test_candidates_of_all_wanted_spans_come_before_their_baselines(helper):
    days = ["2013-06-02", "2013-06-03"]

    assert list(turns(helper, days)) == [(day, baseline) for baseline in (False, True) for day in days]
    assert list(turns(helper, [*days[1:], "2013-06-04"])) == [("2013-06-04", False), ("2013-06-04", True)]


def test_a_span_found_bad_meanwhile_is_left_out_of_windows_that_are_then_prepared_anew(helper):
    days = ["2013-06-10", "2013-06-30"]
    list(turns(helper, days))

    assert {span for span, _ in turns(helper, days, bad=["2013-06-05"])} == {"2013-06-10"}


def test_a_flywheel_without_a_baseline_gives_none_a_turn(tmp_path):
    (tmp_path / "flywheel.yaml").write_text(yaml.safe_dump(FLIGHTS | {"train": {"baseline": False}}))
    (tmp_path / "flights.sql").write_text("SELECT 1")

    assert list(turns(Helper(Workspace.open(tmp_path), run=lambda: None), ["2013-06-02"])) == [("2013-06-02", False)]


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
