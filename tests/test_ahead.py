"""What was trained ahead and is of no use does not stay in MLflow."""

from flywheel.ahead import sort_out
from flywheel.ledger import Ledger
from flywheel.training.tracking import AHEAD


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
