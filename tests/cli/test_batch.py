"""`flywheel batch` on a project with a packaged scikit-learn model as champion."""

import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from flywheel.ledger import Ledger
from flywheel.steps.deploy import TakenBack, deploy
from flywheel.steps.promote import promote
from flywheel.training.sklearn import matrix
from flywheel.workspace import Workspace
from tests.serving.targets.conftest import forest, packaged, state  # noqa: F401 - fixtures
from tests.serving.targets.test_batch import QUERY, moody, visits  # noqa: F401 - a fixture
from tests.stores import ledger_in
from tests.training.worlds import FEATURES, batch_of

NAME = "visits"


@pytest.fixture
def project(tmp_path):
    about = {
        "name": NAME,
        "source": {"warehouse": "parquet:///data/*.parquet", "query": "visits.sql"},
        "label": "label",
        "features": FEATURES,
    }
    (tmp_path / "flywheel.yaml").write_text(yaml.safe_dump(about))
    (tmp_path / "visits.sql").write_text(QUERY)
    (tmp_path / "data").mkdir()
    visits(tmp_path / "data" / "visits.parquet", 40)
    ledger_in(tmp_path)
    return tmp_path


@pytest.fixture
def champion(project, forest):  # noqa: F811
    ledger = Ledger(f"sqlite:///{project}/.flywheel/mlflow.db")
    run = ledger.open(NAME, "2013-06-01", "job")
    return promote(forest, NAME, "2013-06-01", ledger, run).version, run, ledger


def test_a_span_is_scored_once_into_a_folder_of_the_project(command, project, champion):
    first, second = (command("batch", project, "--span", "2013-06-02", "--into", "scores") for _ in range(2))

    assert first.code == 0, first.err
    assert f"2013-06-02: 40 rows scored, in {project}/scores/predictions" in first.out
    assert "40 rows were scored already (--again scores them once more)" in second.out
    assert pq.read_table(project / "scores" / "predictions" / "2013-06-02.parquet").num_rows == 40
    report = (project / ".flywheel" / "reports" / "2013-06-02" / "batch.html").read_text()
    assert (
        "0 of 40 rows of 2013-06-02 could not be scored" in report
    )  # the first one's: the second had nothing to judge


def test_what_flywheel_yaml_declares_needs_no_option(command, project, champion):
    about = yaml.safe_load((project / "flywheel.yaml").read_text())
    into = "duckdb:///scores.duckdb"
    about["deploy"] = {"target": "batch", "into": into, "table": "scored", "columns": ["id"]}
    (project / "flywheel.yaml").write_text(yaml.safe_dump(about))

    done = command("batch", project, "--span", "2013-06-01", "--span", "2013-06-02")

    assert done.code == 0, done.err
    assert done.out.count("40 rows scored, in table scored of") == 2


def test_promoting_scores_the_span_and_a_version_that_cannot_is_taken_back(
    project,
    champion,
    state,  # noqa: F811
    moody,  # noqa: F811
    tmp_path,
):
    version, run, ledger = champion
    about = yaml.safe_load((project / "flywheel.yaml").read_text())
    about["deploy"] = {"target": "batch", "into": "scores", "columns": ["id"]}
    (project / "flywheel.yaml").write_text(yaml.safe_dump(about))
    target = Workspace.open(project).target

    assert deploy(NAME, version, target, ledger, run) == str(project / "scores" / "predictions")
    assert ledger.row(run).endpoint == str(project / "scores" / "predictions")

    moody(nan=0.0)
    later = ledger.open(NAME, "2013-06-02", "job")
    rows = batch_of(40, seed=2)
    model = LogisticRegression().fit(matrix(state.apply_batch(rows)), rows.column(3).to_numpy())
    other = packaged(model, "sklearn", state, tmp_path / "other")
    version = promote(other, NAME, "2013-06-02", ledger, later).version
    with pytest.raises(TakenBack, match="of 40 rows of 2013-06-02 could not be scored"):
        deploy(NAME, version, target, ledger, later)

    assert ledger.champion(NAME).version == "1"
    assert ledger.row(later).outcome == "kept-champion"
    assert [file.name for file in (project / "scores" / "predictions").iterdir()] == ["2013-06-01.parquet"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "nothing says where predictions go"),
        (("--into", "mysql://x", "--span", "2013-06-01"), 2, "--into or --table is wrong: predictions are written to"),
        (("--into", "scores", "--span", "June"), 2, "span 'June' does not name a day"),
        (("--into", "scores", "--span", "2013-07-01"), 3, "there are no rows in span 2013-07-01; there is data from"),
        (("--into", "scores", "--query", "users.sql"), 2, "--query names 'users.sql', which is no file"),
        (("--into", "scores", "--span", "2013-06-01", "--column", "idd"), 1, "did you mean 'id'?"),
    ],
)
def test_wrong_input_is_named(command, project, champion, arguments, code, message):
    done = command("batch", project, *arguments)

    assert message in done.err
    assert done.code == code
    assert not (project / "scores").exists()


def test_without_a_champion_there_is_nothing_to_score_with(command, project):
    done = command("batch", project, "--span", "2013-06-01", "--into", "scores")

    assert (done.code, "visits has no champion to score with" in done.err) == (1, True)


def test_without_a_span_the_last_one_is_scored_whose_data_has_arrived(command, project, champion):
    about = yaml.safe_load((project / "flywheel.yaml").read_text())
    about["source"]["watermark"] = "SELECT TIMESTAMP_ADD(MAX(at), INTERVAL 13 HOUR) FROM visits"
    (project / "flywheel.yaml").write_text(yaml.safe_dump(about))

    done = command("batch", project, "--into", "scores")

    assert done.code == 0, done.err
    assert "2013-06-02: 40 rows scored" in done.out
