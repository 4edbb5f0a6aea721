import multiprocessing
import os
import runpy
import shutil
import signal
import sqlite3
import threading
import time

import pytest

from flywheel.artifacts import Check, Verdict
from flywheel.errors import LedgerError
from flywheel.ledger import Ledger, Row
from flywheel.ledger.rows import Decision
from flywheel.ledger.store import OPENED, Client, ensure_sqlite, without_secrets
from tests.stores import ledger_in

GOOD = Verdict("data", (Check("nulls", "pass"),), {"rows": 12})
BAD = Verdict("data", (Check("nulls", "fail", reason="column 'label' has nulls"),), {"rows": 12})
BETTER = Verdict("model", (Check("auc", "pass"),), {"metric": "auc", "candidate": 0.71, "champion": 0.7})
WORSE = Verdict("model", (Check("auc", "fail", reason="auc is 0.6"),), {"metric": "auc", "candidate": 0.6})

forked = multiprocessing.get_context("fork")


@pytest.fixture
def ledger(tmp_path):
    return Ledger(ledger_in(tmp_path))


def test_a_row_keeps_what_it_was_opened_with(ledger):
    run = ledger.open("flights", "2013-06-01", "job-1", {"code": "abc"})

    (row,) = ledger.rows("flights")

    assert (row.run, row.span, row.job, row.status) == (run, "2013-06-01", "job-1", "running")
    assert row.tags["flywheel.code"] == "abc"
    assert row.outcome is None
    assert row.seconds is None


def test_nothing_about_the_user_is_kept(ledger):
    ledger.open("flights", "2013-06-01", "job-1")

    assert not {"mlflow.user", "mlflow.source.name"} & set(ledger.rows("flights")[0].tags)


def test_a_job_that_opens_twice_has_one_row(ledger):
    first = ledger.open("flights", "2013-06-01", "job-1")

    assert ledger.open("flights", "2013-06-01", "job-1") == first
    assert len(ledger.rows("flights")) == 1


def test_rows_come_oldest_first_and_without_training_runs(tmp_path):
    now = iter(range(1000, 2000))
    ledger = Ledger(ledger_in(tmp_path), clock=lambda: next(now))
    for job in ("b", "a", "c"):
        ledger.open("flights", "2013-06-01", job)
    experiment = ledger.client.get_experiment_by_name("flights").experiment_id
    ledger.client.create_run(experiment, tags={"flywheel.kind": "training"})

    assert [row.job for row in ledger.rows("flights")] == ["b", "a", "c"]


def test_a_flywheel_that_never_ran_has_no_rows_and_no_champion(ledger):
    assert ledger.rows("flights") == []
    assert ledger.find("flights", "job-1") is None
    assert ledger.champion("flights") is None


@pytest.mark.parametrize(
    ("verdicts", "outcome", "why"),
    [
        ([BAD], "data-rejected", "column 'label' has nulls"),
        ([GOOD, WORSE], "kept-champion", "auc is 0.6"),
        ([GOOD, BETTER], None, ""),
        ([BAD, GOOD], None, ""),
        ([GOOD, WORSE, BETTER], None, ""),
    ],
    ids=["bad data", "worse model", "passed", "data mended", "model judged again"],
)
def test_the_outcome_follows_from_the_last_verdict_of_each_gate(ledger, verdicts, outcome, why):
    run = ledger.open("flights", "2013-06-01", "job-1")
    for verdict in verdicts:
        ledger.record(run, verdict)

    row = ledger.row(run)

    assert (row.outcome, row.why) == (outcome, why)


def test_figures_of_both_gates_are_read_back(ledger):
    run = ledger.open("flights", "2013-06-01", "job-1")
    ledger.record(run, GOOD)
    ledger.record(run, BETTER)

    row = ledger.row(run)

    assert row.decisions["data"].facts["rows"] == 12
    assert row.metric == "auc"
    assert row.figures == {"candidate": 0.71, "champion": 0.7, "baseline": None}
    assert row.decisions["model"].ok


def test_the_whole_verdict_is_kept_beside_the_run(ledger, tmp_path):
    run = ledger.open("flights", "2013-06-01", "job-1")
    ledger.record(run, BAD)

    text = next((tmp_path / ".flywheel").rglob("verdicts/data.json")).read_text()

    assert "column 'label' has nulls" in text


def test_facts_too_large_for_a_tag_are_left_to_the_artifact_and_small_ones_stay():
    decision = Decision("model", True, "fine", {"slices": ["x" * 50] * 500, "auc": 0.7})

    assert Decision.from_tag("model", decision.to_tag()).facts == {"auc": 0.7}


def test_a_row_survives_json(ledger):
    run = ledger.open("flights", "2013-06-01", "job-1")
    ledger.record(run, BETTER)
    ledger.close(run, ok=True)
    row = ledger.row(run)

    assert Row.from_dict(row.to_dict()) == row
    assert row.seconds is not None


def test_artifacts_lie_beside_the_database_and_not_in_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ledger = Ledger(ledger_in(tmp_path / "projekt mit # ü"))
    ledger.record(ledger.open("flights", "2013-06-01", "job-1"), GOOD)

    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert (tmp_path / "projekt mit # ü" / ".flywheel" / "mlartifacts" / "flights").is_dir()


def test_a_forked_process_opens_its_own_connection(ledger):
    ledger.open("flights", "2013-06-01", "job-1")
    children = [forked.Process(target=lambda n=n: ledger.open("flights", "2013-06-01", f"child-{n}")) for n in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()

    assert [child.exitcode for child in children] == [0] * 4
    assert len(ledger.rows("flights")) == 5


def test_of_processes_that_open_a_fresh_store_at_once_all_get_the_same_one(tmp_path):
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    children = [
        forked.Process(target=lambda n=n: Ledger(uri).open("flights", "2013-06-01", f"child-{n}")) for n in range(3)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()

    assert [child.exitcode for child in children] == [0] * 3
    assert len(Ledger(uri).rows("flights")) == 3


def test_a_store_whose_making_was_killed_is_made_again(tmp_path):
    file = tmp_path / "new" / "mlflow.db"
    child = forked.Process(target=ensure_sqlite, args=(file,))
    child.start()
    deadline = time.monotonic() + 30
    while not (file.parent / ".mlflow.db.partial").exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert not file.exists()

    assert Ledger(f"sqlite:///{file}").rows("flights") == []
    assert not (file.parent / ".mlflow.db.partial").exists()


def test_making_a_store_says_nothing(tmp_path, capfd):
    Ledger(f"sqlite:///{tmp_path}/mlflow.db").open("flights", "2013-06-01", "job-1")

    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_no_database_is_no_ledger(tmp_path):
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be taken for one" * 100)

    with pytest.raises(LedgerError, match=r"name another file in `ledger\.tracking_uri`"):
        Ledger(f"sqlite:///{tmp_path}/notes.txt").rows("flights")


def test_a_database_of_somebody_else_is_left_alone(tmp_path):
    file = tmp_path / "accounts.db"
    with sqlite3.connect(file) as connection:
        connection.execute("create table customers (name text)")

    with pytest.raises(LedgerError, match="it holds other tables, as 'customers'"):
        Ledger(f"sqlite:///{file}").rows("flights")


def test_a_ledger_of_another_mlflow_names_the_command_that_upgrades_it(tmp_path):
    uri = ledger_in(tmp_path)
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as connection:
        connection.execute("update alembic_version set version_num = '451aebb31d03'")

    with pytest.raises(LedgerError, match="mlflow db upgrade"):
        Ledger(uri).rows("flights")


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///:memory:"])
def test_a_ledger_needs_a_file(uri):
    with pytest.raises(LedgerError, match=r"write it as sqlite:////folder/mlflow\.db"):
        Ledger(uri).rows("flights")


def test_a_path_that_mlflow_would_misread_is_refused(tmp_path):
    with pytest.raises(LedgerError, match="rename the folder"):
        Ledger(f"sqlite:///{tmp_path}/100%25/mlflow.db").rows("flights")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(LedgerError, match="give a file that you may write to"):
        Ledger(f"sqlite:///{tmp_path}/file/mlflow.db").rows("flights")


def test_a_server_that_does_not_answer_is_reported_within_seconds(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

    with pytest.raises(LedgerError, match=r"check `ledger\.tracking_uri`"):
        Ledger("http://127.0.0.1:9").rows("flights")


def test_a_password_in_the_uri_is_not_shown():
    assert without_secrets("postgresql://me:secret@db/mlflow") == "postgresql://db/mlflow"


def test_a_locked_store_is_tried_again_and_then_reported():
    waits = []
    client = Client.__new__(Client)
    client.uri, client._sleep, client._client = "sqlite:////x.db", waits.append, _Locked(until=5)
    with pytest.raises(LedgerError, match="wait until other runs are done"):
        client.get_run("x")
    client._client = _Locked(until=2)

    assert client.get_run("x") == "run x"
    assert len(waits) == 3


class _Locked:
    """A store that is locked for the first calls, as SQLite's is while somebody else writes."""

    def __init__(self, until):
        self.until, self.calls = until, 0

    def get_run(self, run):
        from mlflow.exceptions import MlflowException

        self.calls += 1
        if self.calls < self.until:
            raise MlflowException("(sqlite3.OperationalError) database is locked")
        return f"run {run}"


def test_a_deleted_experiment_names_the_way_back(ledger):
    ledger.open("flights", "2013-06-01", "job-1")
    ledger.client.delete_experiment(ledger.client.get_experiment_by_name("flights").experiment_id)

    with pytest.raises(LedgerError, match="mlflow experiments restore"):
        ledger.open("flights", "2013-06-02", "job-2")


def test_a_ledger_that_vanished_meanwhile_is_a_clear_error(ledger, tmp_path):
    ledger.open("flights", "2013-06-01", "job-1")
    shutil.rmtree(tmp_path / ".flywheel")

    with pytest.raises(LedgerError, match=r"check `ledger\.tracking_uri`"):
        ledger.rows("flights")


def test_a_ledger_that_is_there_is_opened_before_steps_are_forked_and_none_is_made(tmp_path, monkeypatch):
    """Once in the parent of all of them; MLflow makes no store anew for who opens it then."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    there, missing = ledger_in(tmp_path), f"sqlite:///{tmp_path}/missing/mlflow.db"
    Ledger(there).open("flights", "2013-06-01", "job-1")
    threads = threading.active_count()
    for uri in (missing, there):
        monkeypatch.setenv(OPENED, uri)
        runpy.run_module("flywheel.ledger.opened")

    assert not (tmp_path / "missing").exists()
    assert threading.active_count() == threads
    monkeypatch.setattr(SqlAlchemyStore, "__init__", lambda *_: pytest.fail("a store is made"))
    assert [row.job for row in Ledger(there).rows("flights")] == ["job-1"]
