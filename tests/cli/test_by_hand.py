import os

import pytest
import yaml

from flywheel.ledger import Ledger
from flywheel.steps.promote import promote
from tests.stores import ledger_in, model_in
from tests.test_config import FLIGHTS

NAME = "flight-delays"


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("FLYWHEEL_USER", "ada")
    (tmp_path / "flywheel.yaml").write_text(yaml.safe_dump(FLIGHTS))
    ledger_in(tmp_path)
    return tmp_path


@pytest.fixture
def ledger(project):
    return Ledger(f"sqlite:///{project}/.flywheel/mlflow.db")


@pytest.fixture
def trained(ledger, project):
    """Give a function that promotes a model for a span."""

    def train(span, **options):
        run = ledger.open(NAME, span, span)
        return promote(model_in(project / f"model-{span}", span), NAME, span, ledger, run, **options)

    return train


def test_a_rollback_says_what_it_did_and_status_shows_it(command, project, trained):
    trained("2013-06-01"), trained("2013-06-08")

    done = command("rollback", project, "--reason", "it calls every flight late")

    assert done.code == 0, done.err
    assert "rolled back to version 1 by ada" in done.out
    assert os.readlink(project / ".flywheel" / "serving" / NAME / "current") == "1"
    status = command("status", project).out
    assert "by hand: rolled back to version 1 by ada" in status
    assert "champion: version 1 of span 2013-06-01" in status


def test_a_version_waits_for_approval_and_gets_it(command, project, trained):
    trained("2013-06-01", approval=True)
    assert "awaiting-approval v1" in command("status", project).out

    done = command("approve", "--in", project, "--reason", "looked at the slices")

    assert done.code == 0, done.err
    assert "version 1 was approved by ada" in done.out
    assert "promoted v1" in command("status", project).out


def test_a_frozen_flywheel_says_so_until_it_is_unfrozen(command, project, trained):
    assert command("freeze", project, "--reason", "the holidays").code == 0
    trained("2013-06-01")
    status = command("status", project).out
    assert "no run promotes: frozen by ada" in status
    assert "kept-champion v1" in status

    assert command("unfreeze", project, "--reason", "they are over").code == 0
    assert command("promote", "1", project, "--reason", "it passed").code == 0

    status = command("status", project).out
    assert "no run promotes" not in status
    assert "champion: version 1" in status


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["rollback"], 'say why, for whoever asks later: --reason "…"'),
        (["rollback", "--to", "9", "--reason", "x"], "has no version '9'\n  those there are: 1, 2."),
        (["promote", "2", "--reason", "x"], "nothing to do"),
        (["promote", "1", "--reason", "x"], "flywheel rollback --to 1"),
        (["approve", "--reason", "x"], "waiting: none"),
        (["unfreeze", "--reason", "x"], "nothing to do"),
    ],
)
def test_what_cannot_be_done_says_what_can(command, project, trained, arguments, remedy):
    trained("2013-06-01"), trained("2013-06-08")
    at = ["--in", project] if arguments[0] == "approve" else [project]
    where = 2 if arguments[0] == "promote" else 1

    done = command(*arguments[:where], *at, *arguments[where:])

    assert done.code in (1, 2)
    assert remedy in done.err
