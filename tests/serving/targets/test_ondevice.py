import numpy as np
import pytest

from flywheel.config import OnDevice
from flywheel.errors import ServingError
from flywheel.serving import pyfunc
from flywheel.serving.targets.ondevice import Target
from tests.serving.targets.conftest import packaged
from tests.serving.targets.test_batch import QUERY, visits

pytestmark = pytest.mark.slow


def target(folder, **settings):
    return Target(OnDevice(target="ondevice", folder=str(folder), **settings), "flights")


def versions_in(folder):
    return sorted(int(path.name) for path in (folder / "flights").iterdir() if path.name.isdigit())


def test_the_file_answers_what_the_packaged_model_does(registry, keras_models, rows, tmp_path):
    import tensorflow as tf

    placed = target(tmp_path, quantise="none").put(registry.promote(1, keras_models[0]))

    predictor = pyfunc.load(keras_models[0].path)
    inputs = predictor.state.apply_frame(rows)
    interpreter = tf.lite.Interpreter(str(tmp_path / "flights" / "1" / "model.tflite"))
    interpreter.allocate_tensors()
    for about in interpreter.get_input_details():
        interpreter.set_tensor(about["index"], inputs[about["name"].split(":")[0]][:1])
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert np.allclose(found.reshape(-1)[0], predictor.predict(rows[:1]).prediction[0], atol=1e-5)
    assert placed.verdict.ok
    assert placed.facts["largest difference"] < 1e-5


@pytest.mark.parametrize("quantise", ["dynamic", "int8"])
def test_what_quantising_costs_is_measured(registry, keras_models, tmp_path, quantise):
    placed = target(tmp_path, quantise=quantise, max_loss=0.1).put(registry.promote(1, keras_models[0]))

    assert placed.verdict.ok
    assert [check.name for check in placed.checks] == ["at most 10 MB", "mean difference at most 0.1"]
    assert 0 <= placed.facts["mean difference"] < 0.1
    assert placed.facts["rows compared"] > 250


@pytest.mark.parametrize(
    ("bars", "remedy"), [({"max_mb": 1e-4}, "train a smaller model"), ({"max_loss": 0.0}, "quantise less")]
)
def test_a_file_that_misses_a_bar_is_not_published(registry, keras_models, tmp_path, bars, remedy):
    target(tmp_path, max_loss=0.1).put(registry.promote(1, keras_models[0]))

    placed = target(tmp_path, quantise="int8", **({"max_loss": 0.1} | bars)).put(registry.promote(2, keras_models[1]))

    assert [remedy in check.remedy for check in placed.verdict.failed] == [True]
    assert versions_in(tmp_path) == [1]
    assert target(tmp_path).current().version == "1"


@pytest.fixture
def labelled(tmp_path):
    """Where rows of two days are, with their labels."""
    visits(tmp_path / "visits.parquet", 700)
    query = QUERY.replace("word FROM", "word, label FROM")
    return {"query": query, "warehouse": f"parquet:///{tmp_path}/visits.parquet"}


@pytest.mark.parametrize("quantise", ["dynamic", "int8"])
def test_quality_is_judged_on_rows_of_the_versions_span(registry, keras_models, tmp_path, labelled, quantise):
    placed = target(tmp_path, quantise=quantise, max_loss=0.1, max_quality_loss=0.05, **labelled).put(
        registry.promote(1, keras_models[0])
    )

    assert placed.verdict.ok
    assert [check.name for check in placed.checks][2:] == ["loss of AUC at most 0.05"]
    assert (placed.facts["rows"], placed.facts["rows compared"]) == ("of 2013-06-01", 700)
    assert 0 < placed.facts["AUC packaged"] < 1
    assert placed.checks[2].observed == pytest.approx(placed.facts["AUC packaged"] - placed.facts["AUC on device"])


def test_a_file_that_knows_less_than_the_model_is_not_published(registry, state, tmp_path, labelled):
    """A difference of two large numbers knows the label: in 8 bits it is gone."""
    model = packaged(coarse(state), "keras", state, tmp_path / "model")

    order = registry.promote(1, model)
    lost = target(tmp_path / "a", quantise="int8", max_loss=1.0, **labelled).put(order)
    kept = target(tmp_path / "b", quantise="none", max_loss=1.0, **labelled).put(order)

    assert [check.name for check in lost.verdict.failed] == ["loss of AUC at most 0.01"]
    assert "AUC is" in lost.verdict.why
    assert not (tmp_path / "a" / "flights" / "1").exists()
    assert kept.verdict.ok


def coarse(state):
    import keras

    inputs = {each.name: keras.Input((), name=each.name) for each in state.inputs}
    columns = [keras.layers.Reshape((1,))(keras.ops.cast(each, "float32")) for each in inputs.values()]
    joined = keras.layers.Concatenate()(columns)
    hidden = keras.layers.Dense(2)
    summed = keras.layers.Dense(1, activation="sigmoid")
    model = keras.Model(inputs, summed(hidden(joined)))
    weights = np.zeros((len(columns), 2), np.float32)
    weights[0, 0] = 1.0
    weights[1] = 1e4
    hidden.set_weights([weights, np.zeros(2, np.float32)])
    summed.set_weights([np.array([[1.0], [-1.0]], np.float32), np.zeros(1, np.float32)])
    return model


def test_rows_without_labels_are_compared_all_the_same(registry, keras_models, tmp_path, labelled):
    given = labelled | {"query": QUERY}
    placed = target(tmp_path, max_loss=0.1, rows=200, **given).put(registry.promote(1, keras_models[0]))

    assert placed.facts["rows compared"] == 200
    assert len(placed.checks) == 2


def test_a_forest_is_no_litert_file(registry, forest, tmp_path):
    with pytest.raises(ServingError, match="'sklearn' is no LiteRT file"):
        target(tmp_path).put(registry.promote(1, forest))
