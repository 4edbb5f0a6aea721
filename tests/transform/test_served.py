"""Behind the HTTP server the model sees the same bits as in training, for every kind of feature."""

import base64
import json
import math
import shutil
import subprocess
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import mlflow.pyfunc
import pytest
from hypothesis import HealthCheck, given, settings
from sklearn.tree import DecisionTreeClassifier

from flywheel.artifacts import Model
from flywheel.serving import background
from flywheel.serving.ports import Ports
from flywheel.serving.request import curl_line, example_request
from flywheel.serving.root import Roots, ServingRoot
from flywheel.training import package
from flywheel.training.sklearn import matrix
from flywheel.transform import raw
from flywheel.transform.tensors import tensor
from tests.serving.service import free_ports
from tests.serving.toys import NAME, put_in_service
from tests.transform.worlds import EVERY_KIND, WIDE, WINDOW, batches, functions_in, learned

pytestmark = pytest.mark.slow
BITS = """
from pathlib import Path

import mlflow, pandas
from flywheel.serving import pyfunc

PACKAGED = pyfunc.load(Path({folder!r}))


class Bits(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        inputs = PACKAGED.state.apply_frame(model_input).values()
        rows = range(len(model_input))
        return pandas.DataFrame({{"bits": [b"".join(each[row].tobytes() for each in inputs).hex() for row in rows]}})


mlflow.models.set_model(Bits())
"""


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    code = functions_in(tmp_path_factory.mktemp("project") / "code")
    return replace(learned(WINDOW, features=EVERY_KIND, code=code), code=code)


@pytest.fixture(scope="module")
def packaged(state, tmp_path_factory):
    """A model folder as `train` makes it."""
    folder = tmp_path_factory.mktemp("packaged") / "model"
    model = DecisionTreeClassifier().fit(matrix(state.apply_batch(WINDOW)), [0, 1, 0, 1, 0])
    package.write(folder, model, "sklearn", state, WINDOW)
    package.check_reloads(folder, model, WINDOW, "trainer:train")
    return folder


@pytest.fixture(scope="module")
def served(packaged, tmp_path_factory):
    """Where a model listens that answers with the bits of the inputs that the packaged one sees."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "bits.py").write_text(BITS.format(folder=str(packaged)))
    about = mlflow.pyfunc.load_model(str(packaged)).metadata
    with Model.create(folder / "model", producer="train") as draft:
        mlflow.pyfunc.save_model(
            draft.path / "model", python_model=str(folder / "bits.py"), signature=about.signature, pip_requirements=[]
        )
        shutil.copytree(draft.path / "model", draft.path, dirs_exist_ok=True)
        shutil.rmtree(draft.path / "model")
    put_in_service(Model.open(folder / "model"), folder / "serving", 1)
    roots = Roots((ServingRoot(folder / "serving", {}),))
    yield background.start(roots, folder / "state", Ports("127.0.0.1", *free_ports()), say=lambda _: None)
    background.stop(folder / "state")


def request(rows):
    """Raw rows as a request, as docs/stages/transform.md says."""
    inputs = []
    for name, column in raw.frame(rows).items():
        values = column.tolist()
        if column.dtype == float:
            values, kind = [value if math.isfinite(value) else None for value in values], "FP64"
        else:
            kind = "BYTES"
            if raw.form(rows.schema.field(name).type) == "bytes":
                values = [base64.b64encode(value or b"").decode() for value in values]
        inputs.append({"name": name, "datatype": kind, "shape": [len(values), 1], "data": values})
    return {"inputs": inputs}


def ask(url, body):
    asked = urllib.request.Request(
        f"{url}/v2/models/{NAME}/infer", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return json.load(answer)["outputs"][0]["data"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["error"]


def bits(state, rows):
    """What training sees of each row."""
    stored = state.apply(state.columns_of(rows))
    inputs = [tensor(stored[each.name], each) for each in state.inputs]
    return [b"".join(each[row].tobytes() for each in inputs).hex() for row in range(rows.num_rows)]


@given(rows=batches(least=1, most=8, schema=WIDE))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_behind_the_server_a_model_sees_the_bits_of_training(served, state, rows):
    assert ask(served, request(rows)) == bits(state, rows)


def test_a_row_that_cannot_be_transformed_is_told_why(served):
    broken = request(WINDOW)
    for column in broken["inputs"]:
        if column["name"] == "photo":
            column["data"][1] = base64.b64encode(b"no image").decode()
    status, said = ask(served, broken)

    assert status == 400
    assert "row 1 cannot be transformed: 'photo': an image that cannot be decoded" in said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("when", "yesterday", "column 'when' holds 'yesterday' in row 0"),
        ("vector", "[1, 2, 3]", "'vector': 3 numbers, not 2"),
        ("tags", "a, b", "send a list in JSON"),
    ],
)
def test_a_value_that_nobody_can_read_is_named(served, name, value, said):
    broken = request(WINDOW)
    next(column for column in broken["inputs"] if column["name"] == name)["data"][0] = value
    status, answer = ask(served, broken)

    assert status == 400
    assert said in answer


def test_the_example_request_of_a_packaged_model_is_one_that_it_answers(packaged, served, state):
    body = example_request(packaged)

    assert ask(served, body) == bits(state, WINDOW.slice(0, 1))


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_the_curl_line_of_a_packaged_model_works_as_it_stands(packaged, served, tmp_path):
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "current").symlink_to(Path(packaged))
    line = curl_line(tmp_path, NAME, served)

    answer = subprocess.run(["bash", "-c", line], capture_output=True, check=True, text=True).stdout
    assert json.loads(answer)["outputs"][0]["name"] == "bits"
