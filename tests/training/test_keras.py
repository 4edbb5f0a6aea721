"""Keras: a retried fit goes on after its last whole epoch."""

import keras
import numpy as np
import pytest

from flywheel.training import keras as framework
from flywheel.training.checkpoints import Checkpoints
from tests.trainers.worlds import context_of

pytestmark = pytest.mark.slow


class Stop(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def test_a_fit_that_was_stopped_goes_on_after_the_last_whole_epoch(tmp_path):
    context = context_of(tmp_path / "e", rows=8, checkpoints=Checkpoints(str(tmp_path / "c"), every=60))

    def model():
        framework.seed(3)
        made = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        made.compile("adam", "mse")
        return made

    def fit(made, *callbacks):
        x = np.arange(8, dtype=np.float32)[:, None]
        made.fit(x, x, epochs=4, shuffle=False, verbose=0, callbacks=[*framework.backup(context), *callbacks])
        return made

    with pytest.raises(KeyboardInterrupt):
        fit(model(), Stop())
    seen = []
    resumed = fit(model(), keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch)))

    assert seen == [2, 3]
    for one, other in zip(resumed.get_weights(), fit(model()).get_weights(), strict=True):
        assert np.allclose(one, other, atol=1e-6)


def test_without_a_folder_nothing_is_kept(tmp_path):
    assert framework.backup(context_of(tmp_path / "e", rows=8)) == []


def test_rows_of_any_number_are_answered_without_tracing_the_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    x = np.arange(20_001, dtype=np.float32)[:, None]

    answers = framework.predict(model, {"x": x})

    assert np.allclose(answers, model(x), atol=1e-3)
    assert model.predict_function is None


def test_a_model_that_is_asked_often_for_few_rows_is_traced_once():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, activation="sigmoid")])
    x = np.linspace(-1, 1, 3, dtype=np.float32)[:, None]

    answers = [framework.predict(model, {"x": x}) for _ in range(12)]

    assert model.predict_function.experimental_get_tracing_count() == 1
    for each in answers[1:]:
        assert np.allclose(answers[0], each, rtol=1e-6)


def fitted(loss, outputs, held, weights, by_keras):
    """Return a model after five epochs, and what was told of each; `held` rows validate it."""
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(3000, 2)).astype(np.float32), draw.integers(0, 2, 3000).astype(np.float32)
    framework.seed(1)
    hidden = [keras.layers.Dense(8, activity_regularizer=keras.regularizers.L2(0.1)), keras.layers.Dropout(0.3)]
    model = keras.Sequential([keras.Input((2,)), *hidden, outputs()])
    model.compile("adam", loss)
    ours = [] if by_keras else [framework.Validation({"x": x[:held]}, y[:held], weights, batch=128)]
    theirs = {"validation_data": (x[:held], y[:held], weights)} if by_keras else {}
    told = model.fit(x[held:], y[held:], epochs=5, batch_size=128, verbose=0, callbacks=ours, **theirs)
    return model, told.history["val_loss"]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("held", [50, 1000])
@pytest.mark.parametrize(
    ("loss", "outputs"),
    [
        (keras.losses.BinaryCrossentropy(), lambda: keras.layers.Dense(1, "sigmoid", kernel_regularizer="l2")),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), lambda: keras.layers.Dense(3)),
        (keras.losses.MeanSquaredError(reduction="sum"), lambda: keras.layers.Dense(1)),
    ],
    ids=["binary", "multiclass", "sum"],
)
def test_the_loss_of_validation_rows_is_that_of_keras_and_no_graph_is_made_for_it(loss, outputs, held, weighted):
    weights = np.random.default_rng(1).uniform(0, 3, held).astype(np.float32) if weighted else None

    theirs, expected = fitted(loss, outputs, held, weights, by_keras=True)
    ours, found = fitted(loss, outputs, held, weights, by_keras=False)

    assert found == pytest.approx(expected, rel=1e-5)
    assert all(np.array_equal(*pair) for pair in zip(theirs.get_weights(), ours.get_weights(), strict=True))
    assert ours.test_function is None
    assert ours.predict_function is None
