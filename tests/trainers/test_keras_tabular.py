"""The network that comes along: each task, its losses, what it saves, and that it gives the same again."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

pytestmark = pytest.mark.slow
keras = pytest.importorskip("keras")

from flywheel.artifacts import Examples  # noqa: E402
from flywheel.errors import ConfigError, TrainerError  # noqa: E402
from flywheel.trainers.keras_tabular import train  # noqa: E402
from flywheel.training import keras as framework  # noqa: E402
from flywheel.training.context import FeatureSpec, TrainContext  # noqa: E402
from flywheel.training.rows import split  # noqa: E402
from tests.trainers.tables import context_in, rows_of  # noqa: E402

QUICK = {"epochs": 3, "batch": 128, "rate": 0.02, "hidden": (16,)}


def trained(folder, task="binary", parameters=None, **options):
    framework.seed(1)
    return train(context_in(folder, task, parameters={**QUICK, **(parameters or {})}, **options))


def predictions(model, task="binary"):
    columns, labels = rows_of(task, 500, 99)
    return framework.predict(model, columns), labels


def test_a_binary_label_gets_probabilities_and_the_same_again_with_one_seed(tmp_path):
    from sklearn.metrics import roc_auc_score

    found, labels = predictions(trained(tmp_path / "one"))
    again, _ = predictions(trained(tmp_path / "two"))

    assert found.shape == (500, 1)
    assert roc_auc_score(labels, found.ravel()) > 0.75
    assert found.tobytes() == again.tobytes()


def test_several_classes_get_calibrated_probabilities_under_the_focal_loss_and_load_without_our_code(tmp_path):
    model = trained(tmp_path / "e", "multiclass", {"loss": "focal", "calibrate": True, "class_weights": "balanced"})
    found, labels = predictions(model, "multiclass")
    framework.save(model, tmp_path, {})
    loaded = framework.load(tmp_path)

    assert found.shape == (500, 3)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    assert (found.argmax(axis=1) == labels).mean() > 0.5
    assert np.array_equal(predictions(loaded, "multiclass")[0], found)


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_several_labels_are_learned_from_the_rows_of_which_each_is_known(loss, tmp_path):
    from sklearn.metrics import roc_auc_score

    model = trained(tmp_path / "e", "multilabel", {"loss": loss, "calibrate": True})
    found, labels = predictions(model, "multilabel")
    known = ~np.isnan(labels[:, 1])

    assert found.shape == (500, 2)
    assert roc_auc_score(labels[:, 0], found[:, 0]) > 0.75
    assert roc_auc_score(labels[known, 1], found[known, 1]) > 0.75


def test_a_number_is_predicted_in_its_own_unit(tmp_path):
    found, values = predictions(trained(tmp_path / "e", "regression"), "regression")

    assert np.corrcoef(found.ravel(), values)[0, 1] > 0.8
    assert abs(found.mean() - values.mean()) < 1


def test_prior_correction_takes_class_weights_out_of_the_answers(tmp_path):
    weighted = {"class_weights": {"1": 8}}
    plain, labels = predictions(trained(tmp_path / "a", parameters=weighted))
    corrected, _ = predictions(trained(tmp_path / "b", parameters={**weighted, "prior_correction": True}))

    assert plain.mean() > labels.mean() + 0.15
    assert abs(corrected.mean() - labels.mean()) < 0.1
    logit = np.log(plain / (1 - plain)) - np.log(corrected / (1 - corrected))
    assert np.allclose(logit, np.log(8), atol=1e-2)


@pytest.mark.parametrize(
    ("task", "parameters", "error", "said"),
    [
        ("binary", {"loss": "huber"}, ConfigError, "'huber' is none of a binary task(.|\n)*generalised_cross_entropy"),
        ("binary", {"units": 3}, ConfigError, "units is not known"),
        ("binary", {"prior_correction": True}, ConfigError, "set class_weights"),
        ("regression", {"class_weights": "balanced"}, ConfigError, "use `train.weight`"),
        ("regression", {"rate": 1e30, "hidden": ()}, TrainerError, "the loss is (nan|inf) in epoch"),
    ],
)
def test_what_cannot_be_is_explained(tmp_path, task, parameters, error, said):
    with pytest.raises(error, match=said):
        trained(tmp_path / "e", task, parameters)


def test_inputs_of_any_shape_have_their_place(tmp_path):
    features = (
        FeatureSpec("tags", "ids", 9, (4,), "int32"),
        FeatureSpec("vector", "embedding", None, (3,)),
        FeatureSpec("word", "category", 5, (), "int32"),
    )
    types = [pa.list_(pa.int32(), 4), pa.list_(pa.float32(), 3), pa.int32(), pa.float32()]
    names = [*(each.name for each in features), "label"]
    schema = pa.schema(list(zip(names, types, strict=True)))
    random = np.random.default_rng(0)
    with Examples.writer(tmp_path / "e", schema, producer="transform") as writer:
        for day in (1, 2):
            tags = pa.FixedSizeListArray.from_arrays(pa.array(random.integers(0, 9, 240), pa.int32()), 4)
            vector = pa.FixedSizeListArray.from_arrays(pa.array(random.normal(size=180), pa.float32()), 3)
            word, label = (pa.array(random.integers(0, 2, 60), kind) for kind in types[2:])
            batch = pa.RecordBatch.from_arrays([tags, vector, word, label], schema=schema)
            writer.write(f"2013-05-0{day}", [batch])
    rows = split(Examples.open(tmp_path / "e"), "label", 1, features)
    context = TrainContext(*rows, features, "label", parameters={"epochs": 1})
    empty = {"tags": np.zeros((2, 4), np.int32), "vector": np.zeros((2, 3), np.float32), "word": np.zeros(2, np.int32)}
    model = train(context)

    assert np.isfinite(framework.predict(model, empty)).all()  # a row of no tags at all
    framework.save(model, tmp_path, {})
    assert np.array_equal(framework.predict(framework.load(tmp_path), empty), framework.predict(model, empty))


def test_it_ends_when_its_time_is_over(tmp_path):
    logged, ticks = [], iter(range(1000))
    context = context_in(tmp_path / "e", parameters={**QUICK, "epochs": 50, "patience": 50})
    train(
        dataclasses.replace(
            context, deadline=5.0, clock=lambda: float(next(ticks)), record=lambda metrics, step: logged.append(step)
        )
    )

    assert 1 <= len(logged) <= 3
