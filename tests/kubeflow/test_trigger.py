"""New data starts a run on the cluster, at most once a span."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from flywheel.cli.main import app
from flywheel.errors import ClusterError, ConfigError, LedgerError
from flywheel.kubeflow import submit
from flywheel.kubeflow.cluster import Cluster
from flywheel.kubeflow.submit import start
from flywheel.kubeflow.versions import Package
from flywheel.ledger import MONITOR, Ledger
from flywheel.steps.promote import promote
from flywheel.trigger import trigger
from flywheel.workspace import Workspace
from tests.evaluation import worlds
from tests.stores import ledger_in

duckdb = pytest.importorskip("duckdb")
pytestmark = pytest.mark.filterwarnings("ignore:.*input example:UserWarning")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def rows(tmp_path):
    """Rows of the warehouse; those of another day arrive by calling it."""
    file = tmp_path / "warehouse.duckdb"

    def arrive(day):
        with duckdb.connect(str(file)) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS flights (day DATE, late INT, distance INT)")
            connection.execute(f"INSERT INTO flights VALUES (DATE '{day}', 0, 100)")

    arrive("2026-02-28")
    arrive.url = f"duckdb:///{file}"
    return arrive


@pytest.fixture
def folder(flywheel):
    return flywheel()


@pytest.fixture
def look(folder, where, rows):
    overrides, how = where

    def call(at=NOON, *, folder=folder, more=()):
        return trigger(folder, overrides=[*overrides, f"source.warehouse={rows.url}", *more], clock=lambda: at, **how)

    return call


def test_nothing_is_started_before_the_data_has_arrived(look, kubeflow):
    found = look()

    assert not found.started
    assert found.why == "span 2026-03-01 has no rows yet; there is data from 2026-02-28 00:00 to 2026-02-28 00:00"
    assert kubeflow.asked == []


def test_new_data_starts_a_run_and_that_once(look, kubeflow, rows):
    rows("2026-03-01")
    first, second = look(), look()

    assert (first.started, first.span, first.why) == (True, "2026-03-01", "")
    assert (second.started, second.why, second.link) == (False, "its run goes on: running", first.link)
    (run,) = kubeflow.runs.values()
    assert run["display_name"] == "flights 2026-03-01"
    assert run["runtime_config"]["parameters"]["span"] == "2026-03-01"


def test_the_next_span_starts_the_next_run(look, kubeflow, rows):
    rows("2026-03-01")
    look()
    rows("2026-03-02")
    found = look(datetime(2026, 3, 3, 1, tzinfo=UTC))

    assert (found.started, found.span) == (True, "2026-03-02")
    assert len(kubeflow.runs) == 2


def test_a_watermark_says_what_has_arrived(look, rows):
    rows("2026-03-01")
    watermark = "source.watermark=SELECT MAX(day) FROM flights"
    found = look(more=[watermark])

    assert found.span == "2026-02-28"  # the day of the watermark may still grow


@pytest.mark.parametrize("ended", ["FAILED", "CANCELED"])
def test_a_run_that_failed_or_was_stopped_is_not_started_again(look, kubeflow, rows, ended):
    kubeflow.on_run = lambda run: ended
    rows("2026-03-01")
    look()
    kubeflow.advance(kubeflow.takes)

    assert look().why == f"its run ended: {ended.lower()}"
    assert len(kubeflow.runs) == 1


def test_a_person_may_start_it_again(look, kubeflow, rows, folder, where):
    kubeflow.on_run = lambda run: "FAILED"
    rows("2026-03-01")
    look()
    kubeflow.advance(kubeflow.takes)
    overrides, how = where

    assert submit(folder, "2026-03-01", overrides=[*overrides, f"source.warehouse={rows.url}"], **how).started


def test_several_at_once_leave_one_run(kubeflow, folder, where):
    overrides, how = where
    package = Package.of(Workspace.open(folder, None, overrides))
    Cluster(package.workspace.project.kubeflow, **how).experiment(package.name)
    package.send(Cluster(package.workspace.project.kubeflow, **how))
    handle, making, settled = kubeflow.handle, threading.Barrier(3), threading.Barrier(3)

    def together(verb, path, *rest):
        if verb == "POST" and path.endswith("/runs"):
            making.wait(20)  # none has seen another's
        return handle(verb, path, *rest)

    def one(_):
        cluster = Cluster(package.workspace.project.kubeflow, **how | {"sleep": lambda _: settled.wait(20)})
        return start(cluster, package, "2026-03-01", once=True)

    kubeflow.handle = together
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(one, range(3)))

    going = [run for run in kubeflow.runs.values() if run["state"] in ("PENDING", "RUNNING")]
    assert len(kubeflow.runs) == 3
    assert {each.run for each in found} == {each["run_id"] for each in going}
    assert len(going) == 1


def test_what_a_schedule_has_done_is_not_done_again(look, kubeflow, rows, tmp_path):
    rows("2026-03-01")
    uri = ledger_in(tmp_path / "ledger")
    ledger = Ledger(uri)
    run = ledger.open("flights", "2026-03-01", "job", {})
    assert look(more=[f"ledger.tracking_uri={uri}"]).why == "a run for it goes on"
    ledger.settle(run, "kept-champion", "as good")
    ledger.close(run, ok=True)

    assert look(more=[f"ledger.tracking_uri={uri}"]).why == "it is done: kept-champion"
    assert kubeflow.runs == {}


def test_where_monitoring_is_asked_only_what_it_asks_for_is_run(look, kubeflow, rows, tmp_path, monkeypatch):
    rows("2026-03-01")
    uri = ledger_in(tmp_path / "ledger")
    more, ledger = [f"ledger.tracking_uri={uri}", "trigger.when=retrain"], Ledger(uri)
    promote(
        worlds.model(tmp_path / "champion"), "flights", "2026-02-20", uri, ledger.open("flights", "2026-02-20", "j")
    )
    version = ledger.champion("flights").version
    assert look(more=more).why == f"monitoring asks for no training of version {version}"

    seen = ledger.open("flights", "2026-02-28", "look", {"champion": version}, MONITOR)
    ledger.settle(seen, "retrain", "live auc fell")
    assert look(more=more).started
    assert look(more=more).why == "its run goes on: running"
    assert len(kubeflow.runs) == 1


def test_what_monitoring_says_has_to_be_known_where_it_is_asked(look, kubeflow, rows):
    rows("2026-03-01")

    with pytest.raises(LedgerError, match=r"cannot be reached from here\n.*--when data"):
        look(more=["trigger.when=retrain"])
    assert kubeflow.runs == {}


def test_it_runs_from_the_archive_that_the_runs_fetch(look, kubeflow, rows, folder, root, where):
    rows("2026-03-01")
    overrides, _ = where
    package = Package.of(Workspace.open(folder, None, overrides))
    (root / "code").mkdir(parents=True)
    (root / "code" / package.archive.name).write_bytes(package.archive.read_bytes())
    found = look(folder=package.code)

    (run,) = kubeflow.runs.values()
    assert found.started
    assert run["runtime_config"]["parameters"]["code"] == package.code
    assert not look().started  # from the folder it is the same


@pytest.mark.parametrize(
    ("name", "message"),
    [("code.zip", "is no archive of code"), ("0" * 32 + ".zip", "there is no file.*\n.*--put-code` puts it there")],
)
def test_an_archive_that_is_not_there_is_told(look, root, name, message):
    with pytest.raises(ConfigError, match=message):
        look(folder=f"file://{root}/code/{name}")


def test_an_archive_of_other_files_is_refused(look, root, folder, where):
    package = Package.of(Workspace.open(folder, None, where[0]))
    (root / "code").mkdir(parents=True)
    (root / "code" / ("0" * 32 + ".zip")).write_bytes(package.archive.read_bytes())

    with pytest.raises(ConfigError, match="holds other files than it is named by"):
        look(folder=f"file://{root}/code/{'0' * 32}.zip")


def test_a_cluster_out_of_reach_is_no_run(look, kubeflow, rows):
    rows("2026-03-01")
    kubeflow.fail(503, times=100)

    with pytest.raises(ClusterError, match="answers 503"):
        look()
    assert kubeflow.runs == {}


def test_the_command_tells_what_it_did_and_the_exit_code_too_if_asked(folder, where, rows, monkeypatch):
    overrides, how = where
    monkeypatch.setenv("FLYWHEEL_KFP_TOKEN", how["environment"]["FLYWHEEL_KFP_TOKEN"])
    said = ["trigger", str(folder), "--set", f"source.warehouse={rows.url}"]
    said += [part for each in overrides for part in ("--set", each)]
    yesterday = f"{datetime.now(UTC):%Y-%m-%d}"
    plain, detailed = CliRunner().invoke(app, said), CliRunner().invoke(app, [*said, "--detailed-exit-code"])
    told = CliRunner().invoke(app, [*said, "--json"])

    assert (plain.exit_code, detailed.exit_code) == (0, 3)
    assert "nothing to start, span" in plain.output
    assert json.loads(told.output)["started"] is False
    assert json.loads(told.output)["span"] < yesterday
