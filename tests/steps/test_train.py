"""Train, with a real MLflow store: what a model folder holds, and what is said when the user's code is wrong."""

import re
import shutil

import mlflow.pyfunc
import pytest

from flywheel.errors import TrainerError
from flywheel.ledger.store import Client
from flywheel.serving import pyfunc
from flywheel.steps.train import train
from flywheel.steps.transform import transform
from flywheel.transform import raw
from tests.stores import ledger_in
from tests.training.worlds import FEATURES, KERAS, SKLEARN, SPANS, batch_of, examples_in, project_in


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Raw examples, transformed ones, and the state."""
    folder = tmp_path_factory.mktemp("data")
    examples = examples_in(folder / "examples")
    state, transformed = transform(examples, FEATURES, "label", SPANS[:4], folder / "state", folder / "transformed")
    return examples, transformed, state


@pytest.fixture
def run(data, tmp_path):
    """Train with the given trainer."""
    ledger = ledger_in(tmp_path / "ledger")

    def call(text, name="trainer:train", parameters=None, champion="", target="model", **files):
        code = project_in(tmp_path / f"project-{target}", trainer=text, **files)
        settings = {"name": "words", "trainer": name, "parameters": parameters or {}, "seed": 7}
        return train(*data, code, settings, champion, ledger, tmp_path / target)

    call.ledger, call.folder = ledger, tmp_path
    return call


def training_runs(ledger):
    client = Client(ledger)
    experiment = client.get_experiment_by_name("words")
    return client.search_runs([experiment.experiment_id], "tags.`flywheel.kind` = 'training'")


def test_a_model_folder_is_an_mlflow_model_of_raw_columns(run):
    model = run(SKLEARN, parameters={"C": 0.5})
    loaded = mlflow.pyfunc.load_model(str(model.path))
    rows = raw.frame(batch_of(50, seed=9))
    answer = loaded.predict(rows[["size", "hour", "word"]])

    assert list(answer.columns) == ["prediction"]
    assert answer.prediction.between(0, 1).all()
    assert loaded.metadata.get_input_schema().input_names() == ["size", "hour", "word"]
    assert [str(kind) for kind in loaded.metadata.get_input_schema().input_types()] == [
        "DataType.double",
        "DataType.double",
        "DataType.string",
    ]
    assert len(loaded.input_example) == 5
    requirements = (model.path / "requirements.txt").read_text()
    assert all(re.search(rf"^{name}==", requirements, re.M) for name in ("ai-flywheel", "mlflow", "scikit-learn"))


def test_what_was_trained_stands_in_the_manifest_and_in_mlflow(run):
    model = run(SKLEARN, parameters={"C": 0.5})
    (logged,) = training_runs(run.ledger)
    facts = model.manifest.facts

    assert facts["training_run"] == logged.info.run_id
    assert logged.info.status == "FINISHED"
    assert (facts["framework"], facts["trainer"], facts["rows"]) == ("sklearn", "trainer:train", 180)
    assert facts["metrics"]["auc"] > 0.6
    assert logged.data.metrics["validation_auc"] == pytest.approx(facts["metrics"]["auc"])
    assert logged.data.params["parameters.C"] == "0.5"
    assert model.manifest.spans == tuple(SPANS[:4])
    assert logged.data.tags["flywheel.span"] == SPANS[-1]


def test_the_champion_is_loaded_only_when_the_trainer_asks_for_it(run):
    first = run(SKLEARN)
    asks = SKLEARN.replace("columns, labels", "assert context.champion.coef_.shape == (1, 3)\n        columns, labels")

    assert run(SKLEARN, champion="models:/nothing/1", target="second").digest
    assert run(asks, champion=first.path.as_uri(), target="third").digest


def test_a_seed_gives_the_same_model_again(run):
    text = SKLEARN.replace("def train", "import random\n\n    import numpy as np\n\n    def train").replace(
        "LogisticRegression(**context.parameters)", "LogisticRegression(C=random.random() + np.random.random())"
    )
    rows = batch_of(20, seed=3)
    predictions = [pyfunc.load(run(text, target=name).path).predict(rows) for name in ("one", "two")]

    assert predictions[0].equals(predictions[1])


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (SKLEARN, "trainr:train", r"no trainr.py in the project(.|\n)*Python files there: other.py, trainer.py"),
        (SKLEARN, "trainer:trian", r"no function 'trian'(.|\n)*did you mean 'train'"),
        (
            "import nowhere_to_be_found",
            "trainer:train",
            r"trainer.py:1 \(import nowhere(.|\n)*install 'nowhere_to_be_found'",
        ),
        ("def train(context):\n  return 1 +", "trainer:train", r"cannot be imported at trainer.py:2(.|\n)*SyntaxError"),
        (
            "def train(context):\n  return 1 / 0",
            "trainer:train",
            r"failed at trainer.py:2 \(return 1 / 0\): ZeroDivision",
        ),
        (
            "import other\ndef train(context):\n  other.fails()",
            "trainer:train",
            r"failed at other.py:2 \(raise ValueError\('no'\)\): ValueError: no(.|\n)*mend it there",
        ),
        ("def train():\n  return 1", "trainer:train", r"failed: TypeError(.|\n)*define it as `def train\(context"),
        (
            "def train(context):\n  return {'a': 1}",
            "trainer:train",
            r"returned 'dict', which is no model(.|\n)*keras.Model",
        ),
        ("def train(context):\n  return None", "trainer:train", r"returned 'NoneType'"),
    ],
)
def test_a_wrong_trainer_is_explained_and_leaves_nothing(run, text, name, said):
    with pytest.raises(TrainerError, match=said):
        run(text, name, other="def fails():\n    raise ValueError('no')")

    assert not (run.folder / "model").exists()
    assert [logged.info.status for logged in training_runs(run.ledger)] == ["FAILED"]


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ("np.full((len(x), 2), np.nan)", r"gives nan for 60 of 60 rows(.|\n)*learning rate"),
        ("np.full((len(x), 2), 1.5)", r"gives 1.5, which is no probability(.|\n)*sigmoid"),
        ("np.full((3, 2), 0.5)", r"shape \(3,\) for 60 rows"),
    ],
)
def test_outputs_that_are_no_probabilities_are_refused(run, outputs, said):
    text = f"""
        import numpy as np
        from sklearn.base import BaseEstimator

        class Wrong(BaseEstimator):
            classes_ = [0, 1]
            def predict_proba(self, x):
                return {outputs}

        def train(context):
            return Wrong()
    """
    with pytest.raises(TrainerError, match=said):
        run(text)

    assert not (run.folder / "model").exists()


def test_a_model_that_needs_the_users_code_to_load_is_refused(run):
    text = """
        import numpy as np
        from sklearn.base import BaseEstimator

        class Own(BaseEstimator):
            classes_ = [0, 1]
            def predict_proba(self, x):
                return np.full((len(x), 2), 0.5)

        def train(context):
            return Own()
    """
    with pytest.raises(TrainerError, match=r"the model (.|\n)*saved(.|\n)*serving has none of your code"):
        run(text)

    assert not (run.folder / "model").exists()


def test_modules_of_one_archive_are_not_those_of_the_next(run):
    run("import other\n" + SKLEARN.replace("\n    ", "\n"), other="depth = 1", target="one")

    with pytest.raises(TrainerError, match="is other's second"):
        run("import other\ndef train(context):\n  raise ValueError(other.text)", other='text = "is other\'s second"')


def test_a_feature_function_travels_into_the_model_and_needs_nothing_of_the_project(data, tmp_path):
    functions = "import pyarrow.compute as pc\ndef twice(batch):\n    return pc.multiply(batch.columns[0], 2.0)\n"
    code = project_in(tmp_path / "project", trainer=SKLEARN, features=functions)
    specs = [*FEATURES, {"name": "twice", "columns": ["size"], "function": "features:twice", "as": "numeric"}]
    state, transformed = transform(data[0], specs, "label", SPANS[:4], tmp_path / "state", tmp_path / "rows", code)
    settings = {"name": "words", "trainer": "trainer:train", "parameters": {}, "seed": 7}
    model = train(data[0], transformed, state, code, settings, "", ledger_in(tmp_path / "ledger"), tmp_path / "model")
    shutil.rmtree(tmp_path / "project")
    shutil.rmtree(tmp_path / "archives")
    loaded = mlflow.pyfunc.load_model(str(model.path))

    assert loaded.metadata.get_input_schema().input_names() == ["size", "hour", "word"]
    assert loaded.predict(raw.frame(batch_of(20, seed=9))).prediction.between(0, 1).all()
    inputs = pyfunc.load(model.path).state.apply_batch(batch_of(20, seed=9))
    assert inputs["twice"].tolist() == pytest.approx(inputs["size"].tolist(), abs=1e-5)


@pytest.mark.slow
def test_a_keras_model_predicts_alike_alone_and_among_others(run):
    model = run(KERAS)
    packaged, rows = pyfunc.load(model.path), raw.frame(batch_of(50, seed=5))
    together = packaged.predict(rows).prediction

    assert model.manifest.facts["framework"] == "keras"
    for index in range(0, 50, 7):
        alone = packaged.predict(rows[index : index + 1]).prediction
        assert alone.iloc[0] == pytest.approx(together[index], rel=1e-5)


@pytest.mark.slow
def test_a_keras_model_with_a_layer_of_ones_own_is_refused(run):
    text = KERAS.replace(
        "def train",
        "class Twice(keras.layers.Layer):\n        def call(self, x):\n            return x * 2\n\n    def train",
    ).replace(
        "keras.layers.Concatenate()(list(inputs.values()))",
        "Twice()(keras.layers.Concatenate()(list(inputs.values())))",
    )

    with pytest.raises(TrainerError, match=r"part of your own, 'trainer.Twice'(.|\n)*Keras's own layers"):
        run(text)
