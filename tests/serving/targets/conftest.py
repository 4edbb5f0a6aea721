"""Packaged models of the small world in `tests.training.worlds`, put in service by hand."""

import shutil

import numpy as np
import pyarrow as pa
import pytest

from flywheel.artifacts import Model
from flywheel.ledger import Champion
from flywheel.serving.targets import Order
from flywheel.training import package
from tests.training.worlds import FEATURES, batch_of
from tests.transform import worlds


@pytest.fixture(scope="session")
def state():
    window = batch_of(300, seed=0)
    analysis = worlds.Analysis(FEATURES, "label")
    analysis.add(window)
    return analysis.finish(window.schema)


@pytest.fixture(scope="session")
def classes_state():
    """The same features, and a label of three classes."""
    window = batch_of(300, seed=0)
    words = pa.array(["low", "middle", "high"] * 100)
    window = pa.RecordBatch.from_arrays([*window.columns[:3], words], window.schema.names)
    analysis = worlds.Analysis(FEATURES, "label", "multiclass")
    analysis.add(window)
    return analysis.finish(window.schema)


@pytest.fixture(scope="session")
def keras_models(state, tmp_path_factory):
    """Three packaged models that answer differently."""
    return [packaged(_keras(state, seed), "keras", state, tmp_path_factory.mktemp("keras") / "m") for seed in range(3)]


@pytest.fixture(scope="session")
def forest(state, tmp_path_factory):
    from sklearn.ensemble import RandomForestClassifier

    from flywheel.training.sklearn import matrix

    rows = batch_of(300, seed=1)
    model = RandomForestClassifier(10, random_state=0).fit(matrix(state.apply_batch(rows)), rows.column(3).to_numpy())
    return packaged(model, "sklearn", state, tmp_path_factory.mktemp("forest") / "m")


def _keras(state, seed):
    import keras

    keras.utils.set_random_seed(seed)
    inputs = {each.name: keras.Input((), name=each.name) for each in state.inputs}
    columns = [keras.layers.Reshape((1,))(keras.ops.cast(each, "float32")) for each in inputs.values()]
    hidden = keras.layers.Dense(8, activation="relu")(keras.layers.Concatenate()(columns))
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))


def packaged(model, framework, state, folder, example=None):
    """Return a model artifact, as the train step packages one."""
    with Model.create(folder, producer="train", spans=["2013-05-01"]) as draft:
        package.write(draft.path / "model", model, framework, state, example or batch_of(5, seed=3))
        shutil.copytree(draft.path / "model", draft.path, dirs_exist_ok=True)
        shutil.rmtree(draft.path / "model")
    return Model.open(folder)


class Registry:
    """Who is champion, and the folders of all versions."""

    def __init__(self):
        self.models, self.champion = {}, None

    def promote(self, version, model):
        self.models[version] = model
        self.champion = Champion("flights", str(version), f"2013-06-{version:02d}", "run", model.digest)
        return self.order(self.champion)

    def order(self, champion):
        model = self.models[int(champion.version)]
        return Order(
            champion, str(model.path), lambda into: shutil.copytree(model.path, into / "model"), lambda: self.champion
        )


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def rows():
    """Raw rows that no model has seen, as clients send them."""
    from flywheel.transform import raw

    frame = raw.frame(batch_of(50, seed=9)).drop(columns="label")
    frame.loc[0, ["size", "hour"]] = np.nan
    frame.loc[1, "word"] = "zebra"
    return frame
