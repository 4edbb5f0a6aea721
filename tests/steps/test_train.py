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
from tests.training.worlds import FEATURES, KERAS, SKLEARN, SPANS, TORCH, batch_of, examples_in, project_in


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

    def call(text, name="trainer:train", parameters=None, champion="", target="model", settings=(), **files):
        code = project_in(tmp_path / f"project-{target}", trainer=text, **files)
        settings = {"name": "words", "trainer": name, "parameters": parameters or {}, "seed": 7, **dict(settings)}
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


def test_a_trainer_that_comes_along_makes_the_baseline(run):
    model = run("", "flywheel.trainers.boosting:train", {"max_iter": 20}, settings={"role": "baseline"})
    (logged,) = training_runs(run.ledger)
    answers = mlflow.pyfunc.load_model(str(model.path)).predict(raw.frame(batch_of(9, seed=9)))

    assert answers.prediction.between(0, 1).all()
    assert re.search(r"^scikit-learn==", (model.path / "requirements.txt").read_text(), re.M)
    assert logged.data.tags["flywheel.role"] == "baseline"
    assert logged.data.params["trainer"] == "flywheel.trainers.boosting:train"


def test_what_was_decided_on_a_warm_start_stands_with_the_model_and_in_mlflow(run):
    first = run(SKLEARN)
    asks = SKLEARN.replace("columns, labels", "context.warm_start(LogisticRegression())\n        columns, labels")
    second = run(asks, champion=first.path.as_uri(), target="second", settings={"warm_start": True})
    third = run(asks, target="third", settings={"warm_start": True})
    off = run(asks, champion=first.path.as_uri(), target="off")

    assert first.manifest.facts["warm_start"] == "cold: the trainer did not ask"
    assert second.manifest.facts["warm_start"] == "cold: models of scikit-learn start anew"
    assert third.manifest.facts["warm_start"] == "cold: no model is in service"
    assert off.manifest.facts["warm_start"] == "cold: train.warm_start is off"
    assert "cold: no model is in service" in {
        logged.data.tags.get("flywheel.warm_start") for logged in training_runs(run.ledger)
    }


def test_digests_and_versions_are_kept_with_the_run(run, data):
    run(SKLEARN)
    (logged,) = training_runs(run.ledger)

    assert logged.data.tags["flywheel.data"] == data[1].digest
    assert len(logged.data.tags["flywheel.code"]) == 64
    assert logged.data.params["environment.scikit-learn"][0].isdigit()


def test_a_search_keeps_the_best_model_and_leaves_no_study_behind(run, tmp_path):
    logs = "context.log('log_loss', 1 / context.parameters['C'])\n        columns, labels"
    text = SKLEARN.replace("columns, labels", logs)
    spaces = {"C": {"low": 1e-6, "high": 10.0, "log": True}}
    settings = {
        "tune": {"parameters": spaces, "trials": 8.0},
        "checkpoint": {"folder": str(tmp_path / "kept"), "every": 300.0},
    }
    model = run(text, settings=settings)
    (logged,) = training_runs(run.ledger)
    found = model.manifest.facts["tuned"]

    assert (found["trials"], found["metric"], found["model"]) == (8, "log_loss", "kept")
    assert found["best"] == model.manifest.facts["metrics"]["log_loss"]
    assert pyfunc.load(model.path).model.C == found["parameters"]["C"]
    assert float(logged.data.params["tuned.C"]) == found["parameters"]["C"]
    assert not list((tmp_path / "kept").rglob("*.study"))


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
        (
            SKLEARN,
            "flywheel.trainers.boost:train",
            r"no such trainer in flywheel.trainers(.|\n)*those there: boosting",
        ),
        (SKLEARN, "flywheel.trainers.boosting:fit", r"boosting.py has no function 'fit'"),
        ("def train():\n  return 1", "trainer:train", r"failed: TypeError(.|\n)*define it as `def train\(context"),
        (
            "def train(context):\n  return {'a': 1}",
            "trainer:train",
            r"returned 'dict', which is no model(.|\n)*keras.Model",
        ),
        ("def train(context):\n  return None", "trainer:train", r"returned nothing(.|\n)*`return model`"),
    ],
)
def test_a_wrong_trainer_is_explained_and_leaves_nothing(run, text, name, said):
    with pytest.raises(TrainerError, match=said):
        run(text, name, other="def fails():\n    raise ValueError('no')")

    assert not (run.folder / "model").exists()
    assert [logged.info.status for logged in training_runs(run.ledger)] == ["FAILED"]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("LinearSVC().fit(matrix(x), y)", r"'LinearSVC' gives no probabilities(.|\n)*predict_proba"),
        ("DecisionTreeClassifier().fit(matrix(x)[:, :1], y)", r"fitted on 1 columns(.|\n)*sklearn\.matrix"),
    ],
)
def test_a_classifier_that_cannot_be_asked_is_refused(run, made, said):
    text = f"""
        from sklearn.svm import LinearSVC
        from sklearn.tree import DecisionTreeClassifier
        from flywheel.training.sklearn import matrix

        def train(context):
            x, y = context.train.arrays()
            return {made}
    """
    with pytest.raises(TrainerError, match=said):
        run(text)


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


@pytest.mark.slow
@pytest.mark.parametrize("text", [SKLEARN, KERAS, TORCH], ids=["sklearn", "keras", "torch"])
def test_two_trainings_with_one_seed_are_the_same_model_to_the_byte(run, text):
    # Each is in a process of its own as a step: Keras numbers the layers of one process through.
    text = text.replace("import keras\n", "import keras\n\n    keras.utils.clear_session()\n")
    one, two = (run(text, target=name) for name in ("one", "two"))

    assert one.manifest.files == two.manifest.files
    assert one.digest == two.digest


def test_a_pytorch_model_answers_raw_rows_as_any_other(run):
    model = run(TORCH, parameters={"epochs": 3, "hidden": [8], "batch": 32})
    loaded = mlflow.pyfunc.load_model(str(model.path))
    rows = raw.frame(batch_of(50, seed=9))[["size", "hour", "word"]]
    answer = loaded.predict(rows)

    assert model.manifest.facts["framework"] == "torch"
    assert answer.prediction.between(0, 1).all()
    assert loaded.predict(rows[7:8]).prediction.iloc[0] == pytest.approx(answer.prediction[7], rel=1e-5)
    assert re.search(r"^torch==", (model.path / "requirements.txt").read_text(), re.M)


def test_a_trainer_that_hangs_is_ended_after_its_time_budget(run, monkeypatch):
    monkeypatch.setattr("flywheel.training.watchdog.grace_of", lambda budget: 0.5)
    text = "import time\ndef train(context):\n  while True:\n    time.sleep(0.1)"
    with pytest.raises(TrainerError, match=r"still running 0.5 s after its time budget of 0.3 s, at trainer.py:4"):
        run(text, settings={"time_budget": 0.3})

    assert [logged.info.status for logged in training_runs(run.ledger)] == ["FAILED"]


def test_a_trainer_that_catches_everything_is_ended_all_the_same(run, monkeypatch):
    monkeypatch.setattr("flywheel.training.watchdog.grace_of", lambda budget: 0.2)
    text = """
        import time
        def train(context):
          for _ in range(3):
            try:
              time.sleep(60)
            except Exception:
              pass
          raise ValueError("it was woken three times")
    """
    with pytest.raises(TrainerError, match="woken three times"):
        run(text, settings={"time_budget": 0.1})


def test_what_a_trainer_can_know_of_its_time_is_its_budget(run):
    text = SKLEARN.replace("columns, labels", "assert 50 < context.time_left() <= 60\n        columns, labels")
    assert run(text, settings={"time_budget": 60.0})


def test_a_gpu_that_is_not_there_is_said_at_once(run):
    with pytest.raises(TrainerError, match=r"asks for 8 GPUs, PyTorch finds \w+ here(.|\n)*resources.gpu to 0"):
        run(SKLEARN, settings={"gpus": 8.0})


@pytest.mark.parametrize("raised", ["MemoryError()", "RuntimeError('DefaultCPUAllocator: not enough memory: 9')"])
def test_out_of_memory_is_said_with_the_batch_and_the_peak(run, raised):
    with pytest.raises(
        TrainerError, match=r"ran out of memory with 512 rows a batch; its peak was \d+\.\d+ GiB(.|\n)*halve"
    ):
        run(f"def train(context):\n  raise {raised}", parameters={"batch": 512.0})


def checkpoint_folders(folder):
    return sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []


def test_checkpoints_outlive_a_failure_and_go_when_training_has_ended_well(run, tmp_path):
    kept = {"checkpoint": {"every": 300.0, "steps": None, "folder": str(tmp_path / "kept")}}
    saves = SKLEARN.replace(
        "columns, labels",
        "found = list(context.checkpoints.newest())\n"
        "        context.checkpoints.save(1, lambda: b'half', wait=True)\n"
        "        assert found == [(1, b'half')], 'nothing there yet'\n"
        "        columns, labels",
    )
    with pytest.raises(TrainerError, match="nothing there yet"):
        run(saves, settings=kept, target="one")
    first = checkpoint_folders(tmp_path / "kept")
    with pytest.raises(TrainerError, match="nothing there yet"):
        run(saves, settings=kept, parameters={"C": 2.0}, target="two")
    assert len(first) == 1
    assert len(checkpoint_folders(tmp_path / "kept")) == 2, "other settings are another training"

    assert run(saves, settings=kept, target="three")
    assert set(checkpoint_folders(tmp_path / "kept")) == set(checkpoint_folders(tmp_path / "kept")) - set(first)


@pytest.mark.long
def test_processes_that_train_together_give_one_model(run):
    parameters = {"epochs": 1, "hidden": [4], "batch": 64}

    assert run(TORCH, parameters=parameters, settings={"processes": 2.0}).manifest.facts["framework"] == "torch"
    (logged,) = training_runs(run.ledger)
    assert "val_loss" in logged.data.metrics


@pytest.mark.long
def test_what_fails_in_one_of_several_processes_is_said_with_its_line(run):
    with pytest.raises(TrainerError, match=r"process \d of those(.|\n)*failed at trainer.py:2(.|\n)*mend it there"):
        run("def train(context):\n  return 1 / 0", settings={"processes": 2.0})
