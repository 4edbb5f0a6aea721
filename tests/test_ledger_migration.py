"""A ledger that an older MLflow wrote is migrated on first use; one of a newer MLflow is left as it is."""

import sqlite3
from contextlib import closing

import pytest

from flywheel.errors import LedgerError
from flywheel.ledger import Ledger
from flywheel.ledger.rows import Decision

OLDER = "0584bdc529eb"  # MLflow 2.x: runs, tags and registered models, without the tables of MLflow 3


@pytest.fixture
def older(tmp_path):
    """Give a store as an older MLflow left it, made by MLflow's own first migrations, with a row in it."""
    import sqlalchemy
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base

    file = tmp_path / "mlflow.db"
    engine = sqlalchemy.create_engine(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    command.upgrade(_get_alembic_config(f"sqlite:///{file}"), OLDER)
    engine.dispose()
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(
            "insert into experiments (experiment_id, name, artifact_location, lifecycle_stage) "
            f"values (7, 'flights', '{tmp_path.as_uri()}/artifacts', 'active')"
        )
        database.execute(
            "insert into runs (run_uuid, name, user_id, source_type, status, start_time, end_time, lifecycle_stage, "
            "artifact_uri, experiment_id) "
            f"values ('{'a' * 32}', 'x', 'ada', 'LOCAL', 'FINISHED', 1000, 3000, 'active', '{tmp_path.as_uri()}', 7)"
        )
        tags = {"kind": "ledger", "span": "2013-06-01", "job": "job-1", "outcome": "promoted", "version": "1"}
        database.executemany(
            "insert into tags (key, value, run_uuid) values (?, ?, ?)",
            [(f"flywheel.{key}", value, "a" * 32) for key, value in tags.items()],
        )
    return file


def test_an_older_ledger_is_migrated_and_keeps_its_rows(older, capsys):
    before = older.read_bytes()
    ledger = Ledger(f"sqlite:///{older}")

    (row,) = ledger.rows("flights")
    ledger.open("flights", "2013-06-02", "job-2")

    assert (row.span, row.outcome, row.version, row.seconds) == ("2013-06-01", "promoted", "1", 2.0)
    assert [row.span for row in ledger.rows("flights")] == ["2013-06-01", "2013-06-02"]
    assert (older.parent / f"mlflow.db.before-{OLDER}").read_bytes() == before
    assert f"as it was it lies in mlflow.db.before-{OLDER}" in capsys.readouterr().out
    assert not list(older.parent.glob(".*migrated"))


def test_a_ledger_of_a_newer_mlflow_is_refused_and_not_touched(older):
    with closing(sqlite3.connect(older)) as database, database:
        database.execute("update alembic_version set version_num = 'fffffffffff0'")
    before = older.read_bytes()

    with pytest.raises(LedgerError, match=r"install the MLflow that made it, or .* nothing was changed"):
        Ledger(f"sqlite:///{older}").rows("flights")

    assert older.read_bytes() == before
    assert [path.name for path in older.parent.glob("*mlflow.db*") if "lock" not in path.name] == ["mlflow.db"]


def test_what_another_version_wrote_into_a_decision_does_not_hinder_reading_it():
    text = '{"ok": true, "why": "fine", "facts": {"rows": 3}, "severity": "none"}'

    assert Decision.from_tag("data", text) == Decision("data", True, "fine", {"rows": 3})
