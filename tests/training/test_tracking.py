"""How figures reach MLflow: soon, in few calls, and also when training fails."""

import time

import pytest

from flywheel.errors import LedgerError
from flywheel.ledger.store import Client
from flywheel.training.tracking import Tracker, training_run, trial_run
from tests.stores import ledger_in


class Counting:
    """Counts what is sent, as MLflow's client would send it."""

    def __init__(self):
        self.calls = []

    def log_batch(self, run, metrics=(), params=()):
        self.calls.append(len(metrics) or len(params))


def history(ledger, run, metric):
    return [(point.step, point.value) for point in Client(ledger).get_metric_history(run, metric)]


def test_figures_go_in_few_calls_of_at_most_a_thousand_and_none_is_lost():
    client = Counting()
    with Tracker(client, "run") as tracker:
        for step in range(5500):
            tracker.metrics({"loss": 1.0 / (step + 1), "rate": 0.1}, step)
        tracker.parameters({f"p{number}": number for number in range(250)})

    assert sum(client.calls) == 11_250
    assert max(client.calls) <= 1000
    assert len(client.calls) < 30


def test_logging_a_step_costs_microseconds():
    with Tracker(Counting(), "run") as tracker:
        began = time.perf_counter()
        for step in range(20_000):
            tracker.metrics({"loss": 1.0}, step)
        each = (time.perf_counter() - began) / 20_000

    assert each < 100e-6


def test_what_was_logged_before_a_failure_is_there_and_the_run_has_failed(tmp_path):
    ledger = ledger_in(tmp_path)
    begun = []

    def train():
        with training_run(ledger, "words", {}) as tracker:
            begun.append(tracker.run)
            tracker.metrics({"loss": 0.5}, 3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    assert history(ledger, begun[0], "loss") == [(3, 0.5)]
    assert Client(ledger).get_run(begun[0]).info.status == "FAILED"


def test_figures_are_there_while_training_goes_on(tmp_path):
    ledger = ledger_in(tmp_path)
    with training_run(ledger, "words", {}) as tracker:
        tracker.metrics({"loss": 0.5})
        for _ in range(100):
            if found := history(ledger, tracker.run, "loss"):
                break
            time.sleep(0.1)

    assert found == [(0, 0.5)]


def test_a_ledger_that_cannot_be_written_to_is_said_at_the_end():
    class Gone:
        def log_batch(self, *_, **__):
            raise LedgerError("the ledger is gone")

    def train(fails):
        with Tracker(Gone(), "run") as tracker:
            tracker.metrics({"loss": 1 / (1 - fails)})

    with pytest.raises(LedgerError, match="gone"):
        train(fails=False)
    with pytest.raises(ZeroDivisionError):
        train(fails=True)


def test_trials_stand_below_their_search(tmp_path):
    ledger = ledger_in(tmp_path)
    with training_run(ledger, "words", {}) as parent, trial_run(parent, 2, {"units": 8}) as trial:
        trial.metrics({"auc": 0.7})
    found = Client(ledger).get_run(trial.run).data

    assert found.tags["mlflow.parentRunId"] == parent.run
    assert (found.params["units"], found.metrics["auc"]) == ("8", 0.7)


def test_the_machine_is_watched(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    ledger = ledger_in(tmp_path)
    with training_run(ledger, "words", {}) as tracker:
        time.sleep(1)

    assert "system/system_memory_usage_megabytes" in Client(ledger).get_run(tracker.run).data.metrics
