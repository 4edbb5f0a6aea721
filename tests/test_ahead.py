"""A helper fills the cache that runs look into, and what was trained ahead and is of no use does not stay in MLflow."""

import os
import signal

import yaml

from flywheel.ahead import Ahead, _root, sort_out
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
