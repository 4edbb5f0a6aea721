"""One span asked for by several processes at the same time."""

import json

import pytest

from flywheel.ledger import Ledger
from tests.flights.conftest import SMALL

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]
SPAN = "2013-03-01"


def test_a_span_that_is_run_several_times_at_once_is_done_once(make_project):
    """Two runs and a backfill: one does it, the others wait and find it done; one version, one row, one training."""
    flywheel = make_project()
    asked = ["--span", SPAN, "--json", *SMALL]
    running = [flywheel.start("run", *asked), flywheel.start("run", *asked)]
    running.append(flywheel.start("backfill", "--from", SPAN, "--to", SPAN, "--json", *SMALL))

    said = [process.communicate(timeout=500) for process in running]

    assert [process.returncode for process in running] == [0, 0, 0], said
    told = [json.loads(out.splitlines()[-1])["outcome"] for out, _ in said]
    assert sorted(told) == ["not-needed", "not-needed", "promoted"]
    assert sum("is under way (process" in err for _, err in said) == 2
    assert [(row["outcome"], row["version"]) for row in flywheel.rows()] == [("promoted", "1")]
    ledger = Ledger(f"sqlite:///{flywheel.folder}/.flywheel/mlflow.db")
    trainings = ledger.client.search_runs([ledger.experiment("flight-delays")], "tags.`flywheel.kind` = 'training'")
    assert sorted(run.data.tags["flywheel.role"] for run in trainings) == ["baseline", "candidate"]
