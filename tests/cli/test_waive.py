import pytest
import yaml

from flywheel.artifacts import Check, Verdict
from flywheel.ledger import Ledger
from tests.stores import ledger_in
from tests.test_config import FLIGHTS

NULLS = Check("nulls of dest", "fail", reason="dest is null in 12% of the rows", column="dest")
BAD = Verdict("data", (NULLS, Check("rows", "pass")))
GOOD = Verdict("data", (Check("rows", "pass"),))


@pytest.fixture
def project(tmp_path):
    (tmp_path / "flywheel.yaml").write_text(yaml.safe_dump(FLIGHTS))
    ledger_in(tmp_path)
    return tmp_path


@pytest.fixture
def ledger(project):
    return Ledger(f"sqlite:///{project}/.flywheel/mlflow.db")


def judged(ledger, verdict, span="2013-06-01"):
    ledger.record(ledger.open("flight-delays", span, f"job {span}"), verdict)


def test_a_rejected_span_is_waived_with_its_reason_and_who_said_so(command, project, ledger, monkeypatch):
    monkeypatch.setenv("FLYWHEEL_USER", "ada")
    judged(ledger, BAD)

    done = command("waive", "2013-06-01", project, "--reason", "a new airport, and it is right")

    assert done.code == 0, done.err
    assert "it was rejected: dest is null in 12% of the rows" in done.out
    assert f"flywheel run {project} --span 2013-06-01" in done.out
    waiver = ledger.waivers("flight-delays")["2013-06-01"]
    assert (waiver.reason, waiver.who, waiver.checks) == ("a new airport, and it is right", "ada", ())


def test_a_span_is_waived_by_its_own_name_however_it_was_written(command, project, ledger):
    judged(ledger, BAD)

    done = command("waive", "2013-6-1", project, "--reason", "right")

    assert done.code == 0, done.err
    assert "it was rejected" in done.out
    assert list(ledger.waivers("flight-delays")) == ["2013-06-01"]


@pytest.mark.parametrize("name", ["nulls of dest", "dest"])
def test_one_check_is_waived_by_its_name_or_its_column(command, project, ledger, name):
    judged(ledger, BAD)

    done = command("waive", "2013-06-01", project, "--reason", "right", "--check", name)

    assert done.code == 0, done.err
    assert ledger.waivers("flight-delays")["2013-06-01"].checks == (name,)


@pytest.mark.parametrize(
    ("verdict", "said"),
    [(None, "it was not judged yet"), (GOOD, "it was not rejected")],
    ids=["not judged", "not rejected"],
)
def test_a_span_may_be_waived_beforehand_and_that_is_said(command, project, ledger, verdict, said):
    if verdict:
        judged(ledger, verdict)

    done = command("waive", "2013-06-01", project, "--reason", "a backfill is under way")

    assert done.code == 0, done.err
    assert said in done.out
    assert "2013-06-01" in ledger.waivers("flight-delays")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["2013-6", "--reason", "right"], "write it as '2013-06-01'"),
        (["2013-06-01"], "cannot be waived without a reason"),
        (["2013-06-01", "--reason", "  "], "cannot be waived without a reason"),
        (["2013-06-01", "--reason", "right", "--check", "nulls of dets"], "did you mean 'nulls of dest'?"),
        (["2013-06-01", "--reason", "right", "--check", "rows"], "these did: dest, nulls of dest."),
    ],
)
def test_what_would_waive_nothing_is_refused_and_nothing_recorded(command, project, ledger, arguments, said):
    judged(ledger, BAD)

    done = command("waive", arguments[0], project, *arguments[1:])

    assert done.code == 2
    assert said in done.err
    assert ledger.waivers("flight-delays") == {}


def test_status_tells_what_was_waived_also_before_the_first_run(command, project, monkeypatch):
    monkeypatch.setenv("FLYWHEEL_USER", "ada")
    command("waive", "2013-06-01", project, "--reason", "storm")

    done = command("status", project)

    assert "has not run yet" in done.out
    assert "waived: 2013-06-01 by ada" in done.out
    assert "storm" in done.out


def test_help_tells_what_a_waiver_does(command):
    done = command("waive", "--help")

    assert "does not teach the bars" in " ".join(done.out.split())
