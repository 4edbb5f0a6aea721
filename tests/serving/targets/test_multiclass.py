"""Models of several classes, by the trainers that come along, exported: classes in their order, equal chances."""

from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from flywheel.artifacts import Examples
from flywheel.config import OnDevice, TFServing, Triton
from flywheel.errors import ServingError
from flywheel.serving import pyfunc
from flywheel.serving.export import litert, savedmodel
from flywheel.serving.targets import ondevice, tfserving, triton
from flywheel.steps.train import train
from flywheel.steps.transform import transform
from flywheel.training.sklearn import matrix
from flywheel.transform import raw
from tests.serving.targets.conftest import packaged
from tests.steps.test_tasks import FEATURES, rows
from tests.stores import ledger_in
from tests.training.worlds import batch_of, project_in

pytestmark = pytest.mark.slow
DAYS = [f"2013-05-{day:02d}" for day in range(1, 7)]
CLASSES = ["large", "medium", "small"]


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    """Raw and transformed rows, and what was learned of them."""
    folder = tmp_path_factory.mktemp("window")
    with Examples.writer(folder / "examples", rows("multiclass", 0).schema, producer="extract") as writer:
        for seed, day in enumerate(DAYS):
            writer.write(day, rows("multiclass", seed).to_batches())
    examples = Examples.open(folder / "examples")
    seen = transform(examples, FEATURES, "kind", DAYS, folder / "state", folder / "rows", task="multiclass")
    return examples, seen, ledger_in(folder / "ledger"), project_in(folder / "project", trainer="")


@pytest.fixture(scope="module")
def trained(window, tmp_path_factory):
    """Give a function that trains a model by a trainer that comes along, once each."""
    made = {}

    def model(trainer):
        if trainer not in made:
            examples, (state, transformed), ledger, code = window
            parameters = {"epochs": 3, "hidden": [8]}
            told = {
                "name": "sizes",
                "trainer": f"flywheel.trainers.{trainer}:train",
                "parameters": parameters,
                "seed": 1,
            }
            path = tmp_path_factory.mktemp(trainer) / "model"
            made[trainer] = train(examples, transformed, state, code, told, "", ledger, path)
        return made[trainer]

    return model


@pytest.fixture
def asked():
    """Raw rows that no model has seen."""
    frame = raw.frame(rows("multiclass", 99).select(["size", "word"]).to_batches()[0])
    frame.loc[0, "size"], frame.loc[1, "word"] = np.nan, "zebra"
    return frame


def answers(model, asked):
    """Return the packaged model's classes and chances."""
    found = pyfunc.load(model.path).predict(asked)
    return found["prediction"].tolist(), found[[f"probability_{name}" for name in CLASSES]].to_numpy()


def onnx_chances(folder, model, asked, features=False):
    import onnxruntime

    inputs = pyfunc.load(model.path).state.apply_frame(asked)
    given = {"features": matrix(inputs).astype(np.float32)} if features else inputs
    session = onnxruntime.InferenceSession(str(folder / "flights" / "1" / "model.onnx"))
    return session.run(["prediction"], given)[0]


def test_a_saved_model_names_the_class_and_gives_the_chance_of_each(trained, registry, asked, tmp_path):
    import tensorflow as tf

    model = trained("keras_tabular")
    tfserving.Target(TFServing(target="tfserving", folder=str(tmp_path)), "flights").put(registry.promote(1, model))

    names, chances = answers(model, asked)
    loaded = tf.saved_model.load(str(tmp_path / "flights" / "1")).signatures["serving_default"]
    found = loaded(**{name: tf.constant(savedmodel.sent(asked[name].to_numpy())) for name in asked.columns})
    assert [each.decode() for each in found["prediction"].numpy()] == names
    assert found["probabilities"].numpy() == pytest.approx(chances, abs=1e-6)
    assert len(set(names)) > 1


def test_onnx_gives_the_chances_of_keras_classes_in_their_order(trained, registry, asked, tmp_path):
    model = trained("keras_tabular")
    target = triton.Target(Triton(target="triton", folder=str(tmp_path)), "flights")
    target.put(registry.promote(1, model))

    assert onnx_chances(tmp_path, model, asked) == pytest.approx(answers(model, asked)[1], abs=1e-5)
    assert "dims: [ 3 ]" in (tmp_path / "flights" / "config.pbtxt").read_text()


def test_onnx_gives_the_chances_of_pytorch_classes_in_their_order(trained, registry, asked, tmp_path):
    pytest.importorskip("torch")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    model = trained("torch_tabular")
    order = registry.promote(1, model)
    target = triton.Target(Triton(target="triton", folder=str(tmp_path)), "flights")

    if not hasattr(ml_dtypes, "float8_e8m0fnu"):
        with pytest.raises(ServingError, match="deploy from Python 3"):
            target.put(order)
        return
    target.put(order)
    assert onnx_chances(tmp_path, model, asked) == pytest.approx(answers(model, asked)[1], abs=1e-5)


@pytest.mark.parametrize("target", ["tfserving", "ondevice"])
def test_what_takes_keras_alone_says_so_of_pytorch(trained, registry, tmp_path, target):
    pytest.importorskip("torch")
    where = {
        "tfserving": lambda: tfserving.Target(TFServing(target="tfserving", folder=str(tmp_path)), "flights"),
        "ondevice": lambda: ondevice.Target(OnDevice(target="ondevice", folder=str(tmp_path)), "flights"),
    }[target]()

    with pytest.raises(ServingError, match="a model of 'torch' is no"):
        where.put(registry.promote(1, trained("torch_tabular")))


@pytest.mark.parametrize("quantise", ["none", "dynamic", "int8"])
def test_a_litert_file_gives_the_chance_of_each_class_and_its_accuracy_is_judged(
    trained, registry, asked, tmp_path, quantise
):
    import pyarrow.parquet as pq

    table = rows("multiclass", 20, count=400)
    noon = pa.array([datetime(2013, 6, 1, 12)] * len(table))
    pq.write_table(table.append_column("at", noon), tmp_path / "sizes.parquet")
    query = "SELECT size, word, kind FROM sizes WHERE at >= @start AND at < @end"
    given = {"query": query, "warehouse": f"parquet:///{tmp_path}/sizes.parquet"}
    settings = OnDevice(
        target="ondevice", folder=str(tmp_path / "d"), quantise=quantise, max_loss=0.05, max_quality_loss=0.1, **given
    )
    model = trained("keras_tabular")

    placed = ondevice.Target(settings, "flights").put(registry.promote(1, model))

    assert placed.verdict.ok
    found = litert.ask(pyfunc.load(model.path), tmp_path / "d" / "flights" / "1", asked)
    assert found == pytest.approx(answers(model, asked)[1], abs=1e-5 if quantise == "none" else 0.2)
    truth = np.array([CLASSES.index(kind) for kind in table["kind"].to_pylist()])
    _, chances = answers(model, raw.frame(table.select(["size", "word"]).to_batches()[0]))
    assert placed.facts["accuracy packaged"] == pytest.approx((chances.argmax(1) == truth).mean())


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The state of a task with two classes that have names."""
    from tests.training.worlds import FEATURES as KINDS
    from tests.transform import worlds

    batch = batch_of(300, seed=0)
    words = pa.array(["bad", "good"] * 150)
    batch = pa.RecordBatch.from_arrays([*batch.columns[:3], words], batch.schema.names)
    analysis = worlds.Analysis(KINDS, "label", "multiclass")
    analysis.add(batch)
    return analysis.finish(batch.schema)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("target", ["tfserving", "triton", "ondevice"])
def test_of_two_classes_a_model_may_give_the_chance_of_the_second_alone(pair, registry, tmp_path, target, width):
    import keras

    keras.utils.set_random_seed(0)
    inputs = {each.name: keras.Input((), name=each.name) for each in pair.inputs}
    joined = keras.layers.Concatenate()(
        [keras.layers.Reshape((1,))(keras.ops.cast(each, "float32")) for each in inputs.values()]
    )
    last = keras.layers.Dense(width, activation="sigmoid" if width == 1 else "softmax")(joined)
    model = packaged(keras.Model(inputs, last), "keras", pair, tmp_path / "model")
    given = {"target": target, "folder": str(tmp_path / "out")} | ({"quantise": "none"} if target == "ondevice" else {})
    settings, module = {
        "tfserving": (TFServing, tfserving),
        "triton": (Triton, triton),
        "ondevice": (OnDevice, ondevice),
    }[target]

    placed = module.Target(settings.model_validate(given), "flights").put(registry.promote(1, model))

    assert placed.verdict.ok
    assert placed.facts["largest difference"] < 1e-5


def test_a_scikit_learn_model_of_two_named_classes_gives_both_chances(pair, registry, tmp_path):
    from sklearn.linear_model import LogisticRegression

    batch = batch_of(300, seed=1)
    fitted = LogisticRegression().fit(matrix(pair.apply_batch(batch)), np.arange(300) % 2)
    model = packaged(fitted, "sklearn", pair, tmp_path / "model")

    triton.Target(Triton(target="triton", folder=str(tmp_path / "out")), "flights").put(registry.promote(1, model))

    frame = raw.frame(batch).drop(columns="label")
    expected = pyfunc.load(model.path).outputs(frame)
    assert onnx_chances(tmp_path / "out", model, frame, features=True) == pytest.approx(expected, abs=1e-6)
    assert expected.shape == (300, 2)
