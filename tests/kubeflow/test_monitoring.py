"""The monitoring pipeline on a cluster: submitted, and on a schedule of its own."""

from pathlib import Path

import pytest

from flywheel.errors import ConfigError
from flywheel.kubeflow import schedules, submit
from flywheel.ledger import MONITOR, Ledger
from tests.kubeflow.conftest import edit
from tests.stores import ledger_in

HOURLY = """\
monitor: {schedule: {cron: "0 * * * *"}}
"""


@pytest.fixture
def folder(flywheel):
    made = flywheel(more=HOURLY)
    (made / "serving.sql").write_text("SELECT distance FROM requests WHERE day >= @start AND day < @end\n")
    edit(made, "query: flights.sql}", "query: flights.sql, serving: serving.sql}")
    return made


@pytest.fixture
def of(kubeflow, where):
    overrides, how = where
    return lambda *folders: schedules(*folders, overrides=overrides, clock=lambda: kubeflow.now, **how)


def told(changes):
    return [(change.kind, change.name) for change in changes]


def test_a_look_is_a_run_of_a_pipeline_of_its_own(folder, where, kubeflow, root):
    overrides, how = where
    first, second = (submit(folder, "2026-03-01", monitoring=True, overrides=overrides, **how) for _ in range(2))

    (run,) = kubeflow.runs.values()
    (pipeline,) = kubeflow.pipelines.values()
    assert (first.started, second.started) == (True, False)
    assert run["display_name"] == "flights-monitoring 2026-03-01"
    assert run["runtime_config"]["parameters"] == {"span": "2026-03-01"}
    assert pipeline["display_name"] == "flights-monitoring"
    assert not (root / "code").exists()


def test_what_it_says_is_read_from_the_ledger(folder, where, kubeflow, tmp_path):
    overrides, how = where
    uri = ledger_in(tmp_path / "ledger")
    overrides = [*overrides, f"ledger.tracking_uri={uri}"]
    run = submit(folder, "2026-03-01", monitoring=True, overrides=overrides, **how)
    ledger = Ledger(uri)
    row = ledger.open("flights", "2026-03-01", run.run, {}, MONITOR)
    ledger.settle(row, "retrain", "quality fell")
    ledger.close(row, ok=True)
    kubeflow.advance(kubeflow.takes)

    again = submit(folder, "2026-03-01", monitoring=True, overrides=overrides, **how)

    assert (again.outcome, again.why) == ("retrain", "quality fell")


def test_its_schedule_is_made_kept_replaced_and_deleted(of, folder, kubeflow):
    assert told(of(folder).apply()) == [("none", "flights"), ("create", "flights-monitoring")]
    (made,) = kubeflow.recurring_runs.values()
    assert made["trigger"] == {"cron_schedule": {"cron": "0 0 * * * *"}}
    assert made["runtime_config"]["parameters"] == {"span": ""}
    assert told(of(folder).diff()) == [("none", "flights"), ("none", "flights-monitoring")]

    edit(folder, "0 * * * *", "30 * * * *")
    assert told(of(folder).apply())[1] == ("replace", "flights-monitoring")
    edit(folder, HOURLY.replace("0 *", "30 *"), "")
    assert told(of(folder).apply())[1] == ("delete", "flights-monitoring")
    assert kubeflow.recurring_runs == {}
    assert told(of(folder).apply()) == [("none", "flights")]


def test_training_and_looking_have_a_schedule_each(of, folder, kubeflow):
    edit(folder, HOURLY, HOURLY + 'schedule: {cron: "0 6 * * *"}\n')
    of(folder).apply()

    assert sorted(each["display_name"] for each in kubeflow.recurring_runs.values()) == [
        "flights",
        "flights-monitoring",
    ]
    assert told(of(folder).pause()) == [("pause", "flights"), ("pause", "flights-monitoring")]
    assert told(of(folder).delete()) == [("delete", "flights"), ("delete", "flights-monitoring")]


def test_new_code_replaces_what_trains_and_not_what_looks(of, folder):
    edit(folder, HOURLY, HOURLY + 'schedule: {cron: "0 6 * * *"}\n')
    of(folder).apply()
    (Path(folder) / "trainer.py").write_text("def train(context):\n    return None\n")

    assert told(of(folder).diff()) == [("replace", "flights"), ("none", "flights-monitoring")]


def test_when_it_looks_is_no_part_of_the_version(folder, where):
    from flywheel.kubeflow.versions import Package
    from flywheel.workspace import Workspace

    one, other = (
        Package.of(Workspace.open(folder, None, [*where[0], *more]), monitoring=True)
        for more in ((), ("monitor.schedule=null",))
    )
    assert one.version == other.version


def test_without_a_query_of_requests_there_is_nothing_to_look_at(flywheel, where):
    with pytest.raises(ConfigError, match=r"source\.serving is not set"):
        submit(flywheel("other"), monitoring=True, overrides=where[0], **where[1])


def test_there_is_nothing_to_catch_up(flywheel, of):
    bad = flywheel("bad", more="monitor: {schedule: {cron: '0 * * * *', catch_up: all}}\n")
    with pytest.raises(ConfigError, match=r"monitor.schedule: .*newest span alone"):
        of(bad)
