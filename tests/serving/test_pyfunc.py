"""The packaged model: its inputs are those of training, bit by bit, in a process that never trained."""

import json
import subprocess
import sys

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.models.utils import _enforce_schema
from sklearn.ensemble import RandomForestClassifier

from flywheel.errors import ArtifactError, DataError
from flywheel.serving import pyfunc
from flywheel.training import package
from flywheel.training.sklearn import matrix
from flywheel.transform import raw
from tests.training.worlds import FEATURES, batch_of
from tests.transform import worlds

WINDOW = batch_of(200, seed=0)


@pytest.fixture(scope="module")
def packaged(tmp_path_factory):
    """A model folder with a forest, whose predictions jump where an input changes by a bit that matters."""
    analysis = worlds.Analysis(FEATURES, "label")
    analysis.add(WINDOW)
    state = analysis.finish(WINDOW.schema)
    model = RandomForestClassifier(20, random_state=0).fit(
        matrix(state.apply_batch(WINDOW)), WINDOW.column(3).to_numpy()
    )
    folder = tmp_path_factory.mktemp("packaged") / "model"
    package.write(folder, model, "sklearn", state, WINDOW.slice(0, 5))
    return folder, model, state


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """A model folder whose transform has every type of column."""
    values = {"count": [1, 2], "share": [0.1, 0.7], "weight": [1.5, 2.5], "flag": [True, None], "word": ["a", "é"]}
    window = pa.Table.from_pydict(values | {"code": [3, None], "label": [0, 1]}, worlds.SCHEMA).to_batches()[0]
    state = worlds.learned(window)
    model = RandomForestClassifier(1).fit(matrix(state.apply_batch(window)), [0, 1])
    folder = tmp_path_factory.mktemp("strange") / "model"
    package.write(folder, model, "sklearn", state, window)
    return mlflow.pyfunc.load_model(str(folder)), state


def test_thresholds_travel_with_the_model_and_it_answers_a_decision_by_them(packaged, tmp_path):
    _, model, state = packaged
    package.write(tmp_path / "model", model, "sklearn", state, WINDOW.slice(0, 5), {"1": 0.6})
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    answer = loaded.predict(raw.frame(WINDOW)[list(state.columns)])

    assert loaded.metadata.get_output_schema().input_names() == ["prediction", "decision"]
    assert loaded.metadata.metadata == {"thresholds": {"1": 0.6}}
    assert answer.decision.tolist() == (answer.prediction >= 0.6).astype(int).tolist()
    assert 0 < answer.decision.sum() < len(answer)
    package.write(tmp_path / "never", model, "sklearn", state, WINDOW.slice(0, 5), {"1": None})
    assert pyfunc.load(tmp_path / "never").predict(raw.frame(WINDOW)).decision.sum() == 0


@given(rows=worlds.batches(least=1))
@settings(max_examples=100, deadline=None)
def test_mlflow_hands_the_packaged_transform_the_bits_of_training(strange, rows):
    loaded, state = strange
    columns = list(state.columns)
    enforced = _enforce_schema(raw.frame(rows)[columns], loaded.metadata.get_input_schema())
    inputs = loaded._model_impl.state.apply_frame(enforced)

    assert {name: values.tobytes() for name, values in inputs.items()} == {
        name: values.tobytes() for name, values in state.apply_batch(rows).items()
    }


@given(seed=st.integers(0, 2**31), rows=st.integers(0, 40))
@settings(max_examples=50, deadline=None)
def test_predictions_are_those_of_training(packaged, seed, rows):
    folder, model, state = packaged
    batch = batch_of(rows, seed)
    found = pyfunc.load(folder).predict(raw.frame(batch)).prediction.to_numpy()

    if rows:
        assert found.tolist() == model.predict_proba(matrix(state.apply_batch(batch)))[:, 1].tolist()
    else:
        assert found.tolist() == []


def test_a_row_is_predicted_alike_alone_and_among_others(packaged):
    predictor, rows = pyfunc.load(packaged[0]), raw.frame(batch_of(20, seed=4))
    together = predictor.predict(rows).prediction

    assert [predictor.predict(rows[i : i + 1]).prediction.iloc[0] for i in range(20)] == together.tolist()


def test_unseen_and_missing_values_are_predicted_and_extra_columns_left_aside(packaged):
    rows = pd.DataFrame({"other": [1, 2], "word": ["never seen", None], "hour": [None, 99.0], "size": [np.nan, -1e30]})

    assert pyfunc.load(packaged[0]).predict(rows).prediction.between(0, 1).all()


def test_a_missing_column_is_named(packaged):
    with pytest.raises(DataError, match=r"no column 'size', 'hour'(.|\n)*send all of size, hour, word"):
        pyfunc.load(packaged[0]).predict(pd.DataFrame({"word": ["a"]}))


def test_a_package_of_another_version_is_refused(packaged, tmp_path):
    about = tmp_path / pyfunc.ABOUT
    about.write_text(json.dumps({"version": 2, "framework": "sklearn"}))

    with pytest.raises(ArtifactError, match=r"install the ai-flywheel of the model's requirements"):
        pyfunc._load_pyfunc(str(tmp_path))


def test_a_fresh_process_predicts_with_the_folder_alone(packaged, tmp_path):
    heavy = "apache_beam", "tensorflow", "keras", "kfp", "pydantic", "mlflow"
    raw.frame(batch_of(5, seed=1)).to_pickle(tmp_path / "rows.pickle")
    code = f"""
import sys, pandas
from pathlib import Path
from flywheel.serving import pyfunc
rows = pandas.read_pickle({str(tmp_path / "rows.pickle")!r})
print(pyfunc.load(Path({str(packaged[0])!r})).predict(rows).prediction.tolist())
print([name for name in {heavy!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    predictions, loaded = done.stdout.splitlines()

    assert json.loads(predictions) == pyfunc.load(packaged[0]).predict(batch_of(5, seed=1)).prediction.tolist()
    assert loaded == "[]"
