"""The PyTorch trainers: each task learnt, each switch harmless, and what is said when training goes wrong."""

import numpy as np
import pytest
import torch

from flywheel.errors import ConfigError, TrainerError
from flywheel.trainers import torch_image, torch_tabular
from flywheel.training import torch as framework
from tests.trainers.worlds import FEATURES, context_of

QUICK = {"epochs": 30, "batch": 64, "hidden": (16,), "patience": 30, "rate": 0.02, "dropout": 0.0}


def trained(context, trainer=torch_tabular.train):
    framework.seed(context.seed)
    return trainer(context)


def quality(model, context):
    """Return accuracy, or the share of the label's deviation that is left."""
    inputs, labels = context.validation.arrays()
    found = framework.predict(model, inputs)
    if context.task == "regression":
        return 1 - np.sqrt(((found - labels) ** 2).mean()) / labels.std()
    chosen = found.argmax(1) if context.task == "multiclass" else found > 0.5
    return (chosen == labels).mean()


@pytest.mark.parametrize(("task", "at_least"), [("binary", 0.85), ("multiclass", 0.75), ("regression", 0.6)])
def test_a_table_with_inputs_of_every_kind_is_learnt(tmp_path, task, at_least):
    context = context_of(tmp_path / "e", task=task, parameters=QUICK)
    model = trained(context)
    framework.save(model, tmp_path, context.validation.arrays()[0])
    found = framework.predict(framework.load(tmp_path), context.validation.arrays()[0])

    assert quality(model, context) > at_least
    assert found.shape == ((200, 3) if task == "multiclass" else (200,))
    assert np.allclose(found, framework.predict(model, context.validation.arrays()[0]), atol=1e-5)
    if task == "multiclass":
        assert np.allclose(found.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_images_are_learnt_with_a_column_beside_them(tmp_path, task):
    parameters = {"epochs": 6, "batch": 32, "channels": (8, 8), "rate": 0.01, "flip": True, "shift": 1}
    context = context_of(tmp_path / "e", rows=120, task=task, images=True, parameters=parameters)
    model = trained(context, torch_image.train)
    framework.save(model, tmp_path, context.validation.arrays()[0])

    assert quality(framework.load(tmp_path), context) > 0.85


@pytest.mark.parametrize(
    "switch",
    [
        {"mixed": True},
        {"ema": 0.9},
        {"accumulate": 3},
        {"clip": None},
        {"loss": "cross_entropy", "class_weights": "balanced"},
        {"workers": 2},
        pytest.param({"compile": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_switch_learns_as_well(tmp_path, switch):
    context = context_of(tmp_path / "e", parameters=QUICK | {"epochs": 15} | switch)

    assert quality(trained(context), context) > 0.8


def test_batches_that_are_accumulated_are_one_large_batch(tmp_path):
    quick = QUICK | {"epochs": 2}
    whole = trained(context_of(tmp_path / "e", parameters=quick | {"batch": 60}))
    parts = trained(context_of(tmp_path / "e", parameters=quick | {"batch": 20, "accumulate": 3}))

    for (name, one), other in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        assert torch.allclose(one, other, atol=1e-4), name


def test_loading_in_other_processes_changes_nothing(tmp_path):
    quick = QUICK | {"epochs": 2}
    models = [trained(context_of(tmp_path / "e", parameters=quick | {"workers": count})) for count in (0, 2)]

    assert all(torch.equal(*each) for each in zip(*(model.state_dict().values() for model in models), strict=True))


def test_rows_without_weight_do_not_count(tmp_path):
    context = context_of(tmp_path / "e", weights=lambda label: (np.asarray(label) == 1) * 2.0, parameters=QUICK)

    found = framework.predict(trained(context), context.validation.arrays()[0])
    assert found.mean() > 0.9


def test_balanced_weights_bring_a_rare_class_up(tmp_path):
    def mean(number, **more):
        context = context_of(tmp_path / str(number), task="multiclass", parameters=QUICK | {"epochs": 3} | more)
        return framework.predict(trained(context), context.validation.arrays()[0]).mean(0)

    rare = mean(0).argmin()
    assert mean(1, class_weights="balanced")[rare] > mean(0)[rare]


def test_training_stops_when_validation_rows_see_no_better(tmp_path):
    logged = []
    context = context_of(
        tmp_path / "e",
        parameters=QUICK | {"epochs": 60, "patience": 2, "rate": 0.05},
        record=lambda metrics, step: logged.append((step, metrics)),
    )
    trained(context)
    losses = [metrics["val_loss"] for _, metrics in logged]

    assert len(losses) < 60
    assert losses.index(min(losses)) == len(losses) - 3
    assert {"loss", "val_loss", "rate", "samples_per_second", "data_wait_share"} <= logged[0][1].keys()


def test_training_ends_in_time_with_the_best_model_so_far(tmp_path):
    clock = iter(np.arange(0, 1e6, 0.5))
    context = context_of(
        tmp_path / "e",
        parameters=QUICK | {"epochs": 1000, "patience": 1000, "warmup": 0.0},
        deadline=40.0,
        clock=lambda: float(next(clock)),
    )

    assert quality(trained(context), context) > 0.6
    assert context.time_left() < 10


def test_a_loss_that_is_not_finite_ends_training_and_says_at_which_step(tmp_path):
    context = context_of(tmp_path / "e", parameters=QUICK | {"rate": 1e30, "clip": None, "warmup": 0.0})

    with pytest.raises(
        TrainerError, match=r"not finite at step \d+ \(epoch \d+, rate 1e\+30\)(.|\n)*lower parameters.rate"
    ):
        trained(context)


@pytest.mark.parametrize(
    ("parameters", "task", "said"),
    [
        ({"epoch": 3}, "binary", "epoch is not known; did you mean 'epochs'"),
        ({"loss": "squared"}, "binary", "'squared', which is no loss of binary(.|\n)*cross_entropy"),
        ({"class_weights": {"hihg": 2}}, "multiclass", "names 'hihg', which no label is(.|\n)*did you mean 'high'"),
        ({"class_weights": "balanced"}, "regression", "this is a regression"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_trained(tmp_path, parameters, task, said):
    with pytest.raises(ConfigError, match=said):
        trained(context_of(tmp_path / "e", task=task, parameters=parameters))


def test_each_trainer_says_which_inputs_it_is_not_for(tmp_path):
    with pytest.raises(TrainerError, match="torch_image:train"):
        trained(context_of(tmp_path / "a", rows=4, images=True))
    with pytest.raises(TrainerError, match="no input is an image"):
        trained(context_of(tmp_path / "b", rows=4, features=FEATURES), torch_image.train)
