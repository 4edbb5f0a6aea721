"""Searches: within their budget, gone on with after a kill, shared by processes, ended early where it is no use."""

import multiprocessing
import time

import pytest

from flywheel.errors import ConfigError, TrainerError
from flywheel.training.tracking import training_run
from flywheel.training.tuning import Search
from tests.stores import ledger_in

SPACE = {"x": {"low": -4.0, "high": 4.0}, "kind": ["good", "bad"], "n": {"low": 1, "high": 8, "whole": True}}


def search(asked=None, folder=None, parameters=None, **options):
    asked = {"parameters": SPACE, "trials": 12, "metric": "auc"} | (asked or {})
    given = {"identity": "data", "task": "binary", "seed": 3, "folder": folder} | options
    return Search(asked=asked, parameters=parameters or {}, **given)


class Trainer:
    """Is best where x is 1 and kind is good; what it makes says what it was made with."""

    def __init__(self, after=None):
        self.tried, self.steps, self._after = [], [], after or (lambda: None)

    def __call__(self, parameters, run, passing):
        self.tried.append(parameters)
        value = 1 - (parameters["x"] - 1) ** 2 / 25 - 0.2 * (parameters["kind"] == "bad")
        record = passing(run.metrics)
        for step in range(5):
            record({"val_auc": value * (step + 1) / 5, "loss": 1 - value}, step)
            self.steps.append(step)
        self._after()
        return ("model", dict(parameters)), {"auc": value, "log_loss": 1 - value}


@pytest.fixture
def tracker(tmp_path):
    with training_run(ledger_in(tmp_path), "words", {}, watch=False) as tracker:
        yield tracker


def trials_of(tracker):
    run = tracker.client.get_run(tracker.run)
    return tracker.client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{tracker.run}'")


def test_the_best_model_is_kept_and_all_trials_are_in_mlflow(tracker):
    trainer = Trainer()
    found = search({"prune": False}).run(trainer, tracker)
    best = max(trainer.tried, key=lambda p: -((p["x"] - 1) ** 2) / 25 - 0.2 * (p["kind"] == "bad"))
    logged = trials_of(tracker)

    assert len(trainer.tried) == 12
    assert found.model == ("model", best)
    assert (found.facts["model"], found.facts["trials"], found.facts["best"]) == ("kept", 12, found.metrics["auc"])
    assert len(logged) == 12
    assert max(run.data.metrics["validation_auc"] for run in logged) == pytest.approx(found.metrics["auc"])
    assert all(isinstance(parameters["n"], int) for parameters in trainer.tried)


def test_equal_seeds_try_the_same(tracker):
    one, two = Trainer(), Trainer()
    search({"trials": 5}).run(one, tracker)
    search({"trials": 5}).run(two, tracker)

    assert one.tried == two.tried


def test_what_is_configured_is_tried_first_and_the_rest_is_handed_on(tracker):
    trainer = Trainer()
    search({"trials": 2}, parameters={"x": 0.5, "kind": "good", "n": 2, "epochs": 3}).run(trainer, tracker)

    assert trainer.tried[0] == {"x": 0.5, "kind": "good", "n": 2, "epochs": 3}
    assert trainer.tried[1]["epochs"] == 3


def test_trials_that_are_no_use_end_early(tracker):
    trainer = Trainer()
    found = search({"trials": 16}).run(trainer, tracker)
    ended = [run for run in trials_of(tracker) if run.info.status == "KILLED"]

    assert found.facts["pruned"] == len(ended) > 0
    assert len(trainer.steps) < 16 * 5
    assert found.facts["trials"] == 16


def test_a_search_that_was_killed_goes_on_and_trains_the_best_again(tracker, tmp_path):
    class Killed(BaseException):
        pass

    count = iter(range(100))

    def after():
        if next(count) == 5:
            raise Killed

    first = Trainer(after)
    asked = {"trials": 7, "prune": False}
    with pytest.raises(Killed):
        search(asked, tmp_path / "studies").run(first, tracker)
    second = Trainer()
    found = search(asked, tmp_path / "studies").run(second, tracker)
    other = search(asked, tmp_path / "studies", identity="other data")

    assert len(second.tried) <= 7 - 5 + 1
    assert found.facts["trials"] == 7
    assert found.model[1] == found.parameters
    assert found.study.exists()
    assert other.own_file != found.study


def test_no_trial_begins_after_the_time_is_over(tracker):
    trainer = Trainer(lambda: time.sleep(0.05))
    found = search({"trials": 10_000, "time_budget": 0.5}).run(trainer, tracker)

    assert 1 <= found.facts["trials"] < 20


def test_a_trial_that_fails_is_left_out_but_a_trainer_that_always_does_is_said_at_once(tracker):
    def fails_when(bad):
        trainer = Trainer()

        def call(parameters, run, passing):
            if bad(trainer.tried):
                trainer.tried.append(parameters)
                raise TrainerError("the loss is nan", "lower the rate.")
            return trainer(parameters, run, passing)

        return call, trainer

    sometimes, trainer = fails_when(lambda tried: len(tried) % 3 == 2)
    found = search({"trials": 6}).run(sometimes, tracker)
    always, other = fails_when(lambda tried: True)

    assert found.model[1] in trainer.tried
    with pytest.raises(TrainerError, match="the loss is nan"):
        search(identity="other").run(always, tracker)
    assert len(other.tried) == 1


def test_a_metric_that_is_not_measured_is_answered_with_those_that_are(tracker):
    with pytest.raises(ConfigError, match=r"'brier'(.|\n)*auc, log_loss"):
        search({"metric": "brier"}).run(Trainer(), tracker)


@pytest.mark.parametrize(
    ("metric", "task", "direction"),
    [(None, "binary", "minimize"), (None, "regression", "minimize"), ("auc", "binary", "maximize")],
)
def test_the_direction_follows_from_the_metric(metric, task, direction):
    assert search({"metric": metric}, task=task).direction == direction


def _share(ledger, storage, numbers, both_are_there):
    with training_run(ledger, "words", {}, watch=False) as tracker:
        trainer = Trainer(lambda: time.sleep(0.2))
        both_are_there.wait(60)
        found = search({"trials": 10, "storage": storage, "prune": False}).run(trainer, tracker)
        numbers.put((len(trainer.tried), found.facts["best"], found.facts["trials"], found.model[1]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_two_processes_share_a_study(tmp_path, kind):
    storage, ledger = f"{kind}:///{tmp_path / 'study'}", ledger_in(tmp_path)
    context = multiprocessing.get_context("fork")
    numbers, barrier = context.Queue(), context.Barrier(2)
    both = [context.Process(target=_share, args=(ledger, storage, numbers, barrier)) for _ in range(2)]
    for process in both:
        process.start()
    (one, best, total, model), (other, same, _, twin) = (numbers.get(timeout=120) for _ in both)
    for process in both:
        process.join()

    assert min(one, other) > 1
    assert 10 <= total <= 11
    assert 10 <= one + other <= 13  # with the one trial more that was under way, and the best trained again
    assert (best == same) == (model == twin)  # they differ when a last trial of one was better than what the other saw


def test_a_storage_that_is_none_is_explained(tracker, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(ConfigError, match=r"no study can be kept in nowhere(.|\n)*train.tune.storage"):
        search({"storage": "nowhere://study"}).run(Trainer(), tracker)
