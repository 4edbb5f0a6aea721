import numpy as np
import pytest

from flywheel.config import OnDevice
from flywheel.errors import ServingError
from flywheel.serving import pyfunc
from flywheel.serving.targets.ondevice import Target

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


def test_a_forest_is_no_litert_file(registry, forest, tmp_path):
    with pytest.raises(ServingError, match="'sklearn' is no LiteRT file"):
        target(tmp_path).put(registry.promote(1, forest))
