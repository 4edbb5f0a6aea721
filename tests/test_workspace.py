import glob

import pytest
import yaml

from flywheel.errors import ConfigError
from flywheel.workspace import Workspace
from tests.test_config import FLIGHTS


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "flywheel.yaml").write_text(yaml.safe_dump(FLIGHTS))
    (tmp_path / "flights.sql").write_text("SELECT 1")
    (tmp_path / "trainer.py").write_text("def train(context): ...")
    return tmp_path


def test_addresses_are_absolute_and_state_is_hidden(folder):
    workspace = Workspace.open(folder)

    assert workspace.warehouse == f"duckdb:///{folder}/w.duckdb"
    assert workspace.ledger == f"sqlite:///{folder}/.flywheel/mlflow.db"
    assert workspace.state == folder / ".flywheel"


@pytest.mark.parametrize("url", ["duckdb:////data/w.duckdb", "bigquery://my-project"])
def test_an_address_that_is_absolute_stays_as_it_is(folder, url):
    assert Workspace.open(folder, overrides=[f"source.warehouse={url}"]).warehouse == url


def test_a_pattern_of_files_matches_below_a_folder_of_any_name(tmp_path):
    folder = tmp_path / "project [1]"
    (folder / "data").mkdir(parents=True)
    (folder / "flywheel.yaml").write_text(yaml.safe_dump(FLIGHTS))
    (folder / "data" / "flights.parquet").touch()
    pattern = Workspace.open(folder, overrides=["source.warehouse=parquet:///data/*.parquet"]).warehouse

    assert glob.glob(pattern.removeprefix("parquet:///")) == [str(folder / "data" / "flights.parquet")]


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("parquet:///data", "data/flights.parquet"),
        ("parquet:///data/**/*.parquet", "data/day=1/flights.parquet"),
        ("duckdb:///data/w.duckdb", "data/w.duckdb"),
    ],
)
def test_data_in_the_folder_is_no_code(folder, url, file):
    (folder / file).parent.mkdir(parents=True)
    (folder / file).write_text("rows")
    workspace = Workspace.open(folder, overrides=[f"source.warehouse={url}"])
    before = workspace.pack()

    (folder / file).write_text("more rows")

    assert workspace.pack() == before


def test_what_runs_leave_in_the_folder_is_not_committed(folder):
    Workspace.open(folder).pack()

    assert (folder / ".flywheel" / ".gitignore").read_text() == "*\n"


def test_a_missing_query_is_answered_with_those_there_are(folder):
    with pytest.raises(ConfigError, match=r"SQL files there: flights\.sql"):
        Workspace.open(folder, overrides=["source.query=flight.sql"]).query()


def test_an_empty_query_is_refused(folder):
    (folder / "flights.sql").write_text("\n")
    with pytest.raises(ConfigError, match="write a SELECT"):
        Workspace.open(folder).query()


@pytest.mark.parametrize(
    ("trainer", "source", "message"),
    [
        ("trainer:fit", "def train(c): ...", "define `def fit"),
        ("trainer:trian", "def train(c): ...", "did you mean 'train'"),
        ("models:train", "", r"Python files there: trainer\.py"),
        ("trainer:train", "def train(:", "line 1"),
    ],
)
def test_a_trainer_that_is_not_there_is_found_before_anything_runs(folder, trainer, source, message):
    (folder / "trainer.py").write_text(source)
    with pytest.raises(ConfigError, match=message):
        Workspace.open(folder, overrides=[f"train.trainer={trainer}"]).check_trainer()


@pytest.mark.parametrize("source", ["def train(c): ...", "from x import train", "train = fit", "class train: ..."])
def test_a_trainer_may_be_bound_in_any_way(folder, source):
    (folder / "trainer.py").write_text(source)
    Workspace.open(folder).check_trainer()


def test_a_trainer_that_comes_along_needs_no_file_in_the_folder(folder):
    (folder / "trainer.py").unlink()
    given = ["train.trainer=flywheel.trainers.boosting:train"]
    Workspace.open(folder, overrides=given).check_trainer()

    assert "sklearn.ensemble" in Workspace.open(folder, overrides=given).trainer_imports()["train"]
    with pytest.raises(ConfigError, match=r"Python files there: (.|\n)*boosting\.py"):
        Workspace.open(folder, overrides=["train.trainer=flywheel.trainers.boost:train"]).check_trainer()


def test_the_trainer_of_the_baseline_is_looked_for_too(folder):
    with pytest.raises(ConfigError, match=r"train\.baseline names module 'simple'"):
        Workspace.open(folder, overrides=["train.baseline=simple:train"]).check_trainer()


def test_what_the_trainer_imports_is_worth_loading_beforehand(folder):
    (folder / "layers.py").write_text("")
    (folder / "trainer.py").write_text(
        "import keras\nimport layers\nfrom . import other\ndef train(c):\n    import numpy.linalg\n"
    )
    alone = Workspace.open(folder, overrides=["train.baseline=false"])

    assert alone.trainer_imports() == {"train": ("keras", "numpy.linalg")}


def test_logged_requests_of_a_warehouse_of_their_own_are_compared_once_there_are_any(folder):
    (folder / "requests.sql").write_text("SELECT 2")
    where = "source={serving: requests.sql, serving_warehouse: 'parquet:///.flywheel/requests/**/*.parquet'}"
    workspace = Workspace.open(folder, overrides=[where])
    assert workspace.serving_query() == ""

    file = workspace.requests / "flights" / "day=2013-06-01" / "part.parquet"
    file.parent.mkdir(parents=True)
    file.touch()

    assert workspace.serving_query() == "SELECT 2"
    compiled = workspace.compilable().source.serving_warehouse
    assert glob.glob(compiled.removeprefix("parquet:///"), recursive=True) == [str(file)]
