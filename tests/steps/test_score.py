"""Each span is scored once by who is champion, promoted or not."""

import pyarrow.parquet as pq
import pytest
import yaml

from flywheel.artifacts import Verdict
from flywheel.serving.targets.batch import Target
from flywheel.steps.deploy import deploy
from flywheel.steps.promote import promote
from flywheel.steps.score import score
from flywheel.workspace import Workspace
from tests.cli.test_batch import NAME, champion, project  # noqa: F401 - fixtures
from tests.serving.targets.conftest import forest, state  # noqa: F401 - fixtures


@pytest.fixture
def target(project):  # noqa: F811
    about = yaml.safe_load((project / "flywheel.yaml").read_text())
    about["deploy"] = {"target": "batch", "into": "scores", "columns": ["id"], "score": "each_span"}
    (project / "flywheel.yaml").write_text(yaml.safe_dump(about))
    return Workspace.open(project).target


@pytest.fixture
def versions(project):  # noqa: F811
    def of(span):
        file = project / "scores" / "predictions" / f"{span}.parquet"
        return set(pq.read_table(file)["flywheel_version"].to_pylist()) if file.exists() else set()

    return of


def test_a_span_that_promotes_nothing_is_scored_by_who_is_champion(project, champion, target, versions, tmp_path):  # noqa: F811
    _, _, ledger = champion
    run = ledger.open(NAME, "2013-06-02", "job 2")
    report = tmp_path / "report.html"

    where = score(NAME, "2013-06-02", target, ledger, report, run=run)

    assert where == str(project / "scores" / "predictions")
    assert versions("2013-06-02") == {"1"}
    assert "0 of 40 rows of 2013-06-02 could not be scored" in report.read_text()
    assert ledger.verdict(run, "score").ok
    assert ledger.row(run).outcome is None  # what comes of the training says that


def test_what_the_table_has_stays_until_a_promoted_version_scores_its_span(
    champion,  # noqa: F811
    target,
    versions,
    forest,  # noqa: F811
):
    _, _, ledger = champion
    score(NAME, "2013-06-02", target, ledger)
    run = ledger.open(NAME, "2013-06-02", "job 2")
    later = promote(forest, NAME, "2013-06-02", ledger, run).version

    score(NAME, "2013-06-02", target, ledger)
    assert versions("2013-06-02") == {"1"}

    deploy(NAME, later, target, ledger, run)
    assert versions("2013-06-02") == {later}


@pytest.mark.parametrize(("span", "outcome"), [("2013-06-02", "not-ready"), ("2013-07-01", "")])
def test_a_span_without_its_rows_is_left_for_later(champion, target, versions, span, outcome):  # noqa: F811
    assert score(NAME, span, target, champion[2], outcome=outcome) == ""
    assert versions(span) == set()


def test_the_first_run_has_nobody_to_score_with(project, target, versions):  # noqa: F811
    assert score(NAME, "2013-06-02", target, f"sqlite:///{project}/.flywheel/mlflow.db") == ""
    assert versions("2013-06-02") == set()


def test_too_many_bad_rows_keep_the_table_and_the_run_goes_on(champion, target, versions, monkeypatch):  # noqa: F811
    _, _, ledger = champion
    run = ledger.open(NAME, "2013-06-02", "job 2")
    check = Target._check

    def bad(self, made, span):
        made.bad["size", "is not a number"] = 30
        return check(self, made, span)

    monkeypatch.setattr(Target, "_check", bad)
    assert score(NAME, "2013-06-02", target, ledger, run=run) == ""

    verdict: Verdict = ledger.verdict(run, "score")
    assert (verdict.ok, ledger.row(run).outcome) == (False, None)
    assert versions("2013-06-02") == set()


def test_a_version_that_becomes_champion_meanwhile_scores_it(champion, target, versions, forest, monkeypatch):  # noqa: F811
    _, _, ledger = champion
    check, later = Target._check, []

    def promoted(self, made, span):
        if not later:
            run = ledger.open(NAME, "2013-06-02", "job 2")
            later.append(promote(forest, NAME, "2013-06-02", ledger, run).version)
        return check(self, made, span)

    monkeypatch.setattr(Target, "_check", promoted)
    score(NAME, "2013-06-02", target, ledger)

    assert versions("2013-06-02") == set(later)
