import numpy as np
import onnxruntime
import pytest

from flywheel.config import Triton
from flywheel.errors import ServingError
from flywheel.serving import pyfunc
from flywheel.serving.targets.triton import Target
from flywheel.training.sklearn import matrix
from tests.serving.targets.conftest import packaged

pytestmark = pytest.mark.slow


def target(folder, **settings):
    return Target(Triton(target="triton", folder=str(folder), **settings), "flights")


def versions_in(folder):
    return sorted(int(path.name) for path in (folder / "flights").iterdir() if path.name.isdigit())


def answered(folder, version, inputs):
    session = onnxruntime.InferenceSession(str(folder / "flights" / version / "model.onnx"))
    return session.run(["prediction"], inputs)[0]


def test_a_keras_model_is_served_as_onnx_that_answers_what_the_packaged_one_does(
    registry, keras_models, rows, tmp_path
):
    placed = target(tmp_path).put(registry.promote(1, keras_models[0]))

    predictor = pyfunc.load(keras_models[0].path)
    found = answered(tmp_path, "1", predictor.state.apply_frame(rows))
    assert np.allclose(found, predictor.predict(rows).prediction, atol=1e-6)
    assert found.shape == (len(rows),)
    assert placed.facts["format"] == "ONNX"
    config = (tmp_path / "flights" / "config.pbtxt").read_text().splitlines()
    assert config == [
        'name: "flights"',
        'backend: "onnxruntime"',
        "max_batch_size: 1024",
        'input { name: "size" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } }',
        'input { name: "hour" data_type: TYPE_INT32 dims: [ 1 ] reshape { shape: [ ] } }',
        'input { name: "word" data_type: TYPE_INT32 dims: [ 1 ] reshape { shape: [ ] } }',
        'output { name: "prediction" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } }',
        "version_policy { latest { num_versions: 1 } }",
        "instance_group { kind: KIND_CPU }",
        "dynamic_batching { }",
    ]
    assert 'State.read("state.json")' in (tmp_path / "flights" / "1" / "README.md").read_text()
    assert (tmp_path / "flights" / "1" / "state.json").is_file()


def test_a_forest_takes_all_inputs_side_by_side(registry, forest, rows, tmp_path):
    target(tmp_path).put(registry.promote(1, forest))

    predictor = pyfunc.load(forest.path)
    inputs = {"features": matrix(predictor.state.apply_frame(rows)).astype(np.float32)}
    assert np.allclose(answered(tmp_path, "1", inputs), predictor.predict(rows).prediction, atol=1e-6)
    assert 'name: "features" data_type: TYPE_FP32 dims: [ 3 ]' in (tmp_path / "flights" / "config.pbtxt").read_text()


def test_a_torch_model_is_served_as_onnx(registry, state, rows, tmp_path):
    torch, ml_dtypes = pytest.importorskip("torch"), pytest.importorskip("ml_dtypes")
    torch.manual_seed(0)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.last = torch.nn.Linear(3, 8), torch.nn.Linear(8, 1)

        def forward(self, inputs):
            joined = torch.stack([inputs[name].float() for name in sorted(inputs)], dim=1)
            return torch.sigmoid(self.last(torch.relu(self.hidden(joined)))).reshape(-1)

    model = packaged(Net(), "torch", state, tmp_path / "model")

    if not hasattr(ml_dtypes, "float8_e8m0fnu"):
        with pytest.raises(ServingError, match="deploy from Python 3"):
            target(tmp_path / "repository").put(registry.promote(1, model))
        return
    target(tmp_path / "repository").put(registry.promote(1, model))

    predictor = pyfunc.load(model.path)
    found = answered(tmp_path / "repository", "1", predictor.state.apply_frame(rows))
    assert np.allclose(found, predictor.predict(rows).prediction, atol=1e-5)


def test_a_saved_model_takes_raw_columns(registry, keras_models, tmp_path):
    placed = target(tmp_path, format="savedmodel", gpu=True).put(registry.promote(1, keras_models[0]))

    config = (tmp_path / "flights" / "config.pbtxt").read_text()
    assert placed.facts["inputs"] == "raw columns"
    assert 'backend: "tensorflow"' in config
    assert 'name: "word" data_type: TYPE_STRING dims: [ 1 ]' in config
    assert 'name: "size" data_type: TYPE_FP64 dims: [ 1 ]' in config
    assert "KIND_GPU" in config
    assert (tmp_path / "flights" / "1" / "model.savedmodel" / "saved_model.pb").is_file()


def test_going_back_brings_the_former_versions_configuration_back(registry, keras_models, forest, tmp_path):
    first = registry.promote(1, keras_models[0])
    target(tmp_path).put(first)
    before = (tmp_path / "flights" / "config.pbtxt").read_text()
    target(tmp_path).put(registry.promote(2, forest))
    assert (tmp_path / "flights" / "config.pbtxt").read_text() != before

    registry.champion = first.champion
    target(tmp_path).put(first)

    assert versions_in(tmp_path) == [1]
    assert (tmp_path / "flights" / "config.pbtxt").read_text() == before


def test_a_model_that_the_converter_does_not_know_is_a_clear_error(registry, state, tmp_path):
    from sklearn.semi_supervised import LabelSpreading

    from tests.training.worlds import batch_of

    window = batch_of(60, seed=2)
    inputs, labels = matrix(state.apply_batch(window)), window.column(3).to_numpy()
    model = packaged(LabelSpreading().fit(inputs, labels), "sklearn", state, tmp_path / "model")

    with pytest.raises(ServingError, match=r"cannot be written as ONNX[\s\S]*`kserve` or `local`"):
        target(tmp_path / "repository").put(registry.promote(1, model))
    assert versions_in(tmp_path / "repository") == []
