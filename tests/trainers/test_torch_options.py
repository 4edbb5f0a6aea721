"""What the PyTorch trainers share with the others: losses, calibration, warm starts."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")

from flywheel.errors import ConfigError
from flywheel.serving.pyfunc import Predictor
from flywheel.trainers.torch_tabular import train
from flywheel.training import torch as framework
from flywheel.training.warm_start import decide
from tests.trainers.tables import context_in, rows_of
from tests.training.test_warm_start import AFTER, BEFORE, batch_of, state_of

QUICK = {"epochs": 3, "batch": 128, "rate": 0.02, "hidden": (16,)}


def trained(folder, task="binary", parameters=None, **options):
    framework.seed(1)
    return train(context_in(folder, task, parameters={**QUICK, **(parameters or {})}, **options))


def predictions(model, task="binary"):
    columns, labels = rows_of(task, 500, 99)
    return framework.predict(model, columns), labels


@pytest.mark.parametrize("loss", ["focal", "generalised_cross_entropy"])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_robust_losses_teach_as_well(tmp_path, loss, task):
    found, labels = predictions(trained(tmp_path / "e", task, {"loss": loss, "epochs": 8}), task)
    chosen = found.argmax(axis=1) if task == "multiclass" else found.ravel() > 0.5

    assert (chosen == labels).mean() > 0.6


def test_a_temperature_changes_no_ranking_and_takes_away_what_a_robust_loss_does_to_probabilities(tmp_path):
    def log_loss(found, labels):
        return -np.mean(np.log(np.where(labels == 1, found, 1 - found)))

    plain, labels = predictions(trained(tmp_path / "a", parameters={"loss": "focal", "gamma": 5.0}))
    scaled, _ = predictions(trained(tmp_path / "b", parameters={"loss": "focal", "gamma": 5.0, "calibrate": True}))
    slope = np.polyfit(np.log(plain / (1 - plain)).ravel(), np.log(scaled / (1 - scaled)).ravel(), 1)

    assert slope[0] > 1.1
    assert slope[1] == pytest.approx(0, abs=1e-3)
    assert log_loss(scaled.ravel(), labels) < log_loss(plain.ravel(), labels)


def test_a_loss_of_classes_is_refused_in_a_regression(tmp_path):
    with pytest.raises(ConfigError, match="'focal', which is no loss of regression"):
        trained(tmp_path / "e", "regression", {"loss": "focal"})


def test_a_trainer_begins_with_the_answers_of_the_champion(tmp_path):
    old, new = state_of(BEFORE), state_of(AFTER)

    def of(state, folder, **options):
        context = context_in(tmp_path / folder, parameters={**QUICK, "epochs": 1, "rate": 1e-12, "decay": 0.0})
        sizes = {each.name: each.cardinality for each in state.inputs}
        features = tuple(dataclasses.replace(each, cardinality=sizes[each.name]) for each in context.features)
        framework.seed(len(folder))
        return train(dataclasses.replace(context, features=features, **options))

    champion = of(old, "champion")
    framework.save(champion, tmp_path, old.apply_batch(BEFORE))
    predictor, decisions = Predictor(old, framework.load(tmp_path), "torch"), []

    def start(model):
        decisions.append(decide(model, "torch", new, predictor))
        return decisions[-1]

    model, rows = of(new, "new", start=start), batch_of("bcd")

    assert decisions[0].warm, decisions
    assert "word vocabulary 1 new 1 gone" in decisions[0].reason
    assert np.allclose(
        framework.predict(model, new.apply_batch(rows)), framework.predict(champion, old.apply_batch(rows)), atol=1e-5
    )
