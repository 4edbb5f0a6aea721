import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from flywheel.cli.main import app
from flywheel.config import Schedule
from flywheel.errors import ClusterError, ConfigError
from flywheel.kubeflow import schedules
from flywheel.ledger import Row
from flywheel.spans import last_complete
from flywheel.steps.due import due
from tests.kubeflow.conftest import copy, edit, write
from tests.stand_ins.kfp import StandIn

DAILY = 'schedule: {cron: "0 6 * * *", time_zone: Europe/Berlin}\n'
BERLIN = ZoneInfo("Europe/Berlin")


class Planner:
    """What `plan` does with a scheduled run, with a ledger of rows in memory; spans are days, each is kept-champion."""

    def __init__(self, stand_in):
        self.stand_in, self.rows, self.runs = stand_in, [], 0
        stand_in.on_run = self

    def __call__(self, run):
        self.runs += 1
        now = self.stand_in.now
        schedule = Schedule.read(run["runtime_config"]["parameters"]["schedule"])
        since = datetime.fromisoformat(run["runtime_config"]["parameters"]["schedule"]["since"])
        span, idle = due(schedule, self.rows, lambda at: last_complete("day", at), now, since)
        if not idle and all(row.span != span.name for row in self.rows):
            made = Row.without_a_run(span.name, run["run_id"], "kept-champion", "", 60.0)
            self.rows.append(replace(made, started=now))

    @property
    def spans(self):
        return [row.span for row in self.rows]

    @property
    def times(self):
        """When spans were run, on a wall in Berlin."""
        return [f"{row.started.astimezone(BERLIN):%H:%M}" for row in self.rows]


@pytest.fixture
def planner(kubeflow):
    return Planner(kubeflow)


@pytest.fixture
def of(kubeflow, where):
    """Return the schedules of folders, on the stand-in and by its clock."""
    overrides, how = where

    def call(*folders, more=(), **options):
        return schedules(*folders, overrides=[*overrides, *more], clock=lambda: kubeflow.now, **how | options)

    return call


@pytest.fixture
def folder(flywheel):
    return flywheel(more=DAILY)


def kinds(changes):
    return [change.kind for change in changes]


WRITES = ("create", "delete", "enable", "disable", "upload")


def writes(kubeflow):
    return sum(count for name, count in kubeflow.calls.items() if name.startswith(WRITES))


def days(first, count):
    begin = datetime.fromisoformat(first)
    return [f"{begin + timedelta(days=number):%Y-%m-%d}" for number in range(count)]


# What is declared is made true


def test_what_is_declared_is_made(of, folder, kubeflow, root):
    assert kinds(of(folder).apply()) == ["create"]

    (made,) = kubeflow.recurring_runs.values()
    (version,) = kubeflow.pipeline_versions.values()
    given = made["runtime_config"]["parameters"]
    assert made["trigger"] == {"cron_schedule": {"cron": "0 0 4,5 * * *"}}
    assert (made["mode"], made["no_catchup"], made["max_concurrency"]) == ("ENABLE", True, "1")
    assert made["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]
    assert given["schedule"] == {
        "cron": "0 6 * * *",
        "time_zone": "Europe/Berlin",
        "catch_up": "latest",
        "since": "2026-03-02T00:00:00Z",
    }
    assert (given["span"], given["code"].startswith(f"file://{root}/code/")) == ("", True)
    assert made["description"].startswith("flights: cron '0 6 * * *' in Europe/Berlin, catch_up latest\n")


def test_applied_twice_nothing_is_written(of, folder, kubeflow):
    of(folder).apply()
    before = writes(kubeflow)

    assert kinds(of(folder).diff()) == kinds(of(folder).apply()) == ["none"]
    assert writes(kubeflow) == before


def test_diff_sends_nothing_and_says_what_apply_does(of, folder, kubeflow, root):
    (created,) = of(folder).diff()
    assert not root.exists()
    assert writes(kubeflow) == 0
    of(folder).apply()
    later = ["schedule.cron=0 7 * * *"]

    (replaced,) = of(folder, more=later).diff()

    assert "cron: 0 6 * * *" in created.details
    assert replaced.details == ("cron: 0 6 * * * → 0 7 * * *",)
    assert kinds(of(folder, more=later).apply()) == ["replace"]


@pytest.mark.parametrize("what", ["flights.sql", "trainer.py"])
def test_a_changed_pipeline_and_changed_code_refresh_the_schedule(of, folder, kubeflow, what):
    of(folder).apply()
    (folder / what).write_text((folder / what).read_text() + "\n")
    if what == "flights.sql":
        (folder / what).write_text("SELECT 0 AS late, distance FROM flights WHERE day >= @start AND day < @end")

    (change,) = of(folder).apply()

    (made,) = kubeflow.recurring_runs.values()
    version = made["pipeline_version_reference"]["pipeline_version_id"]
    assert change.kind == "replace"
    assert version == list(kubeflow.pipeline_versions)[-1]


def test_after_an_upgrade_of_kubeflow_all_is_made_anew_once(of, folder, kubeflow):
    of(folder).apply()
    (before,) = kubeflow.recurring_runs

    assert kinds(of(folder).apply(refresh=True)) == ["replace"]
    (after,) = kubeflow.recurring_runs
    assert after != before
    assert kinds(of(folder).diff()) == ["none"]


def test_paused_is_declared_and_undone_without_a_new_schedule(of, folder, kubeflow):
    of(folder, more=["schedule.paused=true"]).apply()
    (made,) = kubeflow.recurring_runs.values()
    assert made["mode"] == "DISABLE"

    assert kinds(of(folder).apply()) == ["resume"]
    assert [each["mode"] for each in kubeflow.recurring_runs.values()] == ["ENABLE"]
    assert list(kubeflow.recurring_runs.values()) == [made]


def test_a_schedule_that_is_no_longer_declared_is_deleted_and_its_runs_stay(of, folder, kubeflow):
    of(folder).apply()
    kubeflow.advance(timedelta(days=3))
    edit(folder, DAILY, "")

    assert kinds(of(folder).diff()) == kinds(of(folder).apply()) == ["delete"]
    assert not kubeflow.recurring_runs
    assert kubeflow.runs


def test_what_others_have_made_is_never_touched(of, folder, kubeflow):
    of(folder).apply()
    (ours,) = kubeflow.recurring_runs.values()
    texts = (None, "", "flywheel-schedule: not json", 'flywheel-schedule: {"name": "flights"}', "by hand")
    for number, text in enumerate(texts):
        other = {key: value for key, value in ours.items() if key != "description"}
        other |= {"recurring_run_id": f"other-{number}"} | ({} if text is None else {"description": text})
        kubeflow.recurring_runs[f"other-{number}"] = other
    others = json.dumps([kubeflow.recurring_runs[f"other-{number}"] for number in range(5)], default=str)

    edit(folder, "0 6", "0 7")
    of(folder).apply()
    of(folder).pause()
    of(folder).delete()

    assert json.dumps(list(kubeflow.recurring_runs.values()), default=str) == others


def test_profiles_of_one_flywheel_do_not_meet(of, folder, kubeflow):
    with (folder / "flywheel.yaml").open("a") as file:
        file.write("profiles: {prod: {schedule: {time_zone: UTC}}, test: {schedule: {time_zone: Asia/Tokyo}}}\n")
    of(folder, profile="prod").apply()
    of(folder, profile="test").apply()

    assert kinds(of(folder, profile="prod").diff()) == ["none"]
    of(folder, profile="test").delete()
    assert [each["display_name"] for each in kubeflow.recurring_runs.values()] == ["flights prod"]


def test_a_folder_of_flywheels_is_applied_at_once(of, flywheel, kubeflow, tmp_path):
    flywheel("one", DAILY)
    flywheel("two", "schedule: {every: 6h}\n")
    flywheel("three")

    changes = of(tmp_path).apply()

    assert {change.name: change.kind for change in changes} == {"one": "create", "two": "create", "three": "none"}
    assert kinds(of(tmp_path).diff()) == ["none"] * 3
    assert [standing.name for standing, _ in of(tmp_path).standing()] == ["one", "two"]


def test_nothing_is_applied_when_one_of_many_is_wrong(of, flywheel, kubeflow, tmp_path):
    flywheel("one", DAILY)
    (flywheel("two", DAILY) / "trainer.py").unlink()

    with pytest.raises(ConfigError, match=r"two\n"):
        of(tmp_path).apply()
    assert writes(kubeflow) == 0


def test_two_flywheels_of_one_name_are_refused(of, folder, tmp_path):
    copy(folder, tmp_path / "again")

    with pytest.raises(ConfigError, match="are both named 'flights'\n  give one another `name`"):
        of(tmp_path)


def test_more_schedules_than_a_page_holds_are_all_seen(of, folder, kubeflow):
    of(folder).apply()
    (ours,) = kubeflow.recurring_runs.values()
    for number in range(250):
        said = ours["description"].replace('"name": "flights"', f'"name": "flights-{number}"')
        kubeflow.recurring_runs[str(number)] = ours | {"recurring_run_id": str(number), "description": said}

    assert len(of(folder).standing()) == 251


def test_what_the_server_refuses_leaves_the_old_schedule_running(of, folder, kubeflow):
    of(folder).apply()
    edit(folder, "0 6", "0 7")
    kubeflow.fail(400, only="create_recurring_run")

    with pytest.raises(ClusterError, match="answers 400"):
        of(folder).apply()
    assert [each["mode"] for each in kubeflow.recurring_runs.values()] == ["ENABLE"]


def test_pausing_what_is_not_there_says_what_to_do(of, folder):
    with pytest.raises(
        ClusterError, match=r"flights: no schedule on the cluster\n  make it by `flywheel schedule apply`"
    ):
        of(folder).pause()


# When spans are run: months on the stand-in's clock


def test_every_day_of_eight_months_is_run_once_at_six_by_the_wall(of, folder, kubeflow, planner):
    of(folder).apply()
    kubeflow.advance(datetime(2026, 11, 15, 12, tzinfo=UTC))

    assert planner.spans == days("2026-03-01", 259)
    assert set(planner.times) == {"06:00"}


def test_a_time_that_the_clocks_leap_over_or_show_twice_is_run_once(of, folder, kubeflow, planner):
    edit(folder, "0 6 * * *", "30 2 * * *")
    of(folder).apply()
    kubeflow.advance(datetime(2026, 11, 15, 12, tzinfo=UTC))

    assert planner.spans == days("2026-03-01", 259)
    assert Counter(planner.times) == {"02:30": 258, "03:30": 1}


def test_a_cluster_whose_clock_is_elsewhere_is_told_other_hours(flywheel, tmp_path):
    folder = flywheel(more=DAILY)
    with StandIn(now=datetime(2026, 3, 2, tzinfo=UTC), zone="America/New_York") as kubeflow:
        planner = Planner(kubeflow)
        overrides = [f"kubeflow.endpoint={kubeflow.url}", f"kubeflow.pipeline_root=file://{tmp_path}/root"]
        overrides.append("kubeflow.time_zone=America/New_York")
        schedules(folder, overrides=overrides, environment={}, clock=lambda: kubeflow.now).apply()
        kubeflow.advance(datetime(2026, 11, 15, 12, tzinfo=UTC))

        assert planner.spans == days("2026-03-01", 259)
        assert set(planner.times) == {"06:00"}


@pytest.mark.parametrize(("catch_up", "runs"), [("latest", 1), ("all", 7), ("none", 0)])
@pytest.mark.parametrize("how", ["paused", "outage"])
def test_after_a_week_catch_up_is_run_and_nothing_else(of, folder, kubeflow, planner, catch_up, runs, how):
    edit(folder, "Europe/Berlin}", f"Europe/Berlin, catch_up: {catch_up}}}")
    of(folder).apply()
    kubeflow.advance(datetime(2026, 3, 10, 12, tzinfo=UTC))
    before = planner.spans

    kubeflow.controller = how != "outage"
    if how == "paused":
        of(folder).pause()
    kubeflow.advance(timedelta(days=7))
    assert planner.spans == before
    kubeflow.controller = True
    if how == "paused":
        of(folder).resume()
    kubeflow.advance(timedelta(hours=8))

    missed = days("2026-03-10", 7)
    assert planner.spans == before + (missed[-runs:] if runs else [])
    kubeflow.advance(timedelta(days=2))
    assert planner.spans[-2:] == days("2026-03-17", 2)


def test_kubeflow_itself_replays_nothing_but_for_all(of, folder, kubeflow, planner):
    of(folder).apply()
    of(folder).pause()
    kubeflow.advance(timedelta(days=30))
    of(folder).resume()

    assert planner.runs == 1


def test_run_takes_longer_than_a_day_and_none_overlap(of, folder, kubeflow, planner):
    kubeflow.takes = timedelta(hours=30)
    of(folder).apply()
    kubeflow.advance(timedelta(days=20))

    begun = sorted(datetime.fromisoformat(run["created_at"]) for run in kubeflow.runs.values())
    assert all(later - sooner >= kubeflow.takes for sooner, later in pairwise(begun))


def test_start_and_end_are_kept(of, folder, kubeflow, planner):
    edit(folder, "Europe/Berlin}", "Europe/Berlin, start: 2026-03-05T06:00, end: 2026-03-08T06:00}")
    of(folder).apply()
    kubeflow.advance(timedelta(days=30))

    assert planner.spans == days("2026-03-04", 4)


@pytest.mark.parametrize("every", ["36h", "5h", "2d", "90m"])
def test_an_interval_does_not_drift_through_an_outage(of, flywheel, kubeflow, planner, every):
    folder = flywheel(more=f"schedule: {{every: {every}, start: 2026-03-02T01:00}}\n")
    of(folder).apply()
    ticks = Schedule(every=every, start="2026-03-02T01:00").ticks()
    kubeflow.advance(timedelta(days=5))
    kubeflow.controller = False
    kubeflow.advance(timedelta(days=3, minutes=17))
    kubeflow.controller = True
    kubeflow.advance(timedelta(days=1))
    settled = len(planner.rows)
    kubeflow.advance(timedelta(days=20))

    late = [row.started - ticks.last(row.started) for row in planner.rows[settled:]]
    assert len(late) >= 10
    assert set(late) == {timedelta()}


# Updates: no tick twice, none missed


def fired(kubeflow):
    """For which times runs were started by recurring runs."""
    return sorted(run["_due"] for run in kubeflow.runs.values() if "recurring_run_id" in run)


@pytest.mark.parametrize("minutes", [0, 1, 360, 361, 900])
def test_a_replacement_neither_doubles_nor_misses_a_tick(of, folder, kubeflow, minutes):
    edit(folder, "Europe/Berlin", "UTC")
    of(folder).apply()
    for day in range(1, 15):
        kubeflow.advance(datetime(2026, 3, 2 + day, tzinfo=UTC) + timedelta(minutes=minutes))
        (folder / "trainer.py").write_text(f"def train(context):\n    return {day}\n")
        assert kinds(of(folder).apply()) == ["replace"]
    kubeflow.advance(datetime(2026, 3, 18, tzinfo=UTC))

    assert fired(kubeflow) == [datetime(2026, 3, 2 + day, 6, tzinfo=UTC) for day in range(16)]


@pytest.mark.parametrize("done", [False, True])
def test_a_tick_during_the_replacement_is_run_once(of, folder, kubeflow, done):
    """Time passes with every request, from before the tick to after it."""
    edit(folder, "Europe/Berlin", "UTC")
    of(folder).apply()
    for start in range(12):
        day = datetime(2026, 3, 3 + start, 6, tzinfo=UTC)
        kubeflow.advance(day - timedelta(seconds=start + 1))
        (folder / "trainer.py").write_text(f"def train(context):\n    return {start}\n")
        handle = kubeflow.handle

        def slow(*args, handle=handle):
            if not done:
                kubeflow.advance(timedelta(seconds=1))
            answer = handle(*args)
            if done:
                kubeflow.advance(timedelta(seconds=1))
            return answer

        kubeflow.handle = slow
        of(folder).apply()
        kubeflow.handle = handle
    kubeflow.advance(datetime(2026, 3, 17, tzinfo=UTC))

    assert fired(kubeflow) == [datetime(2026, 3, 2 + day, 6, tzinfo=UTC) for day in range(15)]


@pytest.mark.parametrize("done", [False, True])
def test_killed_at_any_request_and_applied_again_it_ends_the_same(of, folder, kubeflow, done):
    of(folder).apply()
    for after in range(16):
        (folder / "trainer.py").write_text(f"def train(context):\n    return {after}\n")
        kubeflow.fail(500, after=after, done=done)
        try:
            of(folder).apply()
        except ClusterError:
            kubeflow.heal()
            of(folder).apply()
        kubeflow.heal()

        (made,) = kubeflow.recurring_runs.values()
        assert made["mode"] == "ENABLE"
        assert kinds(of(folder).diff()) == ["none"]


@pytest.mark.parametrize("what", ["create_recurring_run", "disable_recurring_run", "delete_recurring_run"])
def test_an_answer_that_is_lost_while_replacing_does_no_harm(of, folder, kubeflow, what):
    of(folder).apply()
    edit(folder, "0 6", "0 7")
    kubeflow.fail(503, done=True, only=what)

    of(folder).apply()

    assert len(kubeflow.recurring_runs) == 1
    assert kinds(of(folder).diff()) == ["none"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["0 */6 * * *", "30 4 * * *"]),
        st.integers(0, 3),
        st.booleans(),
        st.one_of(st.none(), st.tuples(st.integers(0, 14), st.booleans())),
        st.integers(0, 60 * 30),
    ),
    min_size=1,
    max_size=6,
)


@given(STEPS, st.booleans())
@settings(max_examples=25, phases=[Phase.generate])  # to shrink one takes minutes
def test_any_declarations_and_kills_end_in_the_last_declaration_with_no_tick_twice(
    tmp_path_factory, compiled, steps, tokyo
):
    """Catching up on all, no tick is missed either, however long a kill let the schedule stand still."""
    folder = write(tmp_path_factory.mktemp("any") / "flights", compiled)
    zone = "Asia/Tokyo" if tokyo else "UTC"
    with StandIn(now=datetime(2026, 3, 2, 0, 30, tzinfo=UTC), takes=timedelta(minutes=5)) as kubeflow:
        overrides = [f"kubeflow.endpoint={kubeflow.url}", f"kubeflow.pipeline_root=file://{folder}/../root"]

        def apply(cron, version, paused):
            declared = {"cron": cron, "time_zone": zone, "catch_up": "all", "paused": paused}
            more = [f"schedule={json.dumps(declared)}", f"train.parameters.version={version % 2}"]
            (folder / "trainer.py").write_text(f"def train(context):\n    return {version}\n")
            schedules(folder, overrides=overrides + more, environment={}, clock=lambda: kubeflow.now).apply()

        for cron, version, paused, kill, minutes in steps:
            if kill:
                kubeflow.fail(500, after=kill[0], done=kill[1])
            try:
                apply(cron, version, paused)
            except ClusterError:
                assert kill
            kubeflow.heal()
            kubeflow.advance(timedelta(minutes=minutes))
        cron, version, *_ = steps[-1]
        apply(cron, version, False)

        (standing,) = kubeflow.recurring_runs.values()
        assert json.loads(standing["description"].partition("flywheel-schedule: ")[2])["about"]["cron"] == cron
        assert standing["mode"] == "ENABLE"
        kubeflow.advance(timedelta(days=8))
        times = fired(kubeflow)
        assert len(times) == len(set(times))
        if len({step[0] for step in steps}) == 1:
            ticks = Schedule(cron=cron, time_zone=zone).ticks()
            assert times == [
                *takewhile(lambda tick: tick <= kubeflow.now, ticks.after(times[0] - timedelta(seconds=1)))
            ]
        assert kubeflow.violations == []


# The command


@pytest.fixture
def command(where, kubeflow):
    overrides, _ = where

    def call(name, folder, *arguments):
        """Run it; pause, resume, delete and list take no --set, and are led by kfp's own variables."""
        options = [part for override in overrides for part in ("--set", override)] if name in ("diff", "apply") else []
        environment = {"FLYWHEEL_KFP_TOKEN": "let me in", "KF_PIPELINES_ENDPOINT": kubeflow.url, "COLUMNS": "300"}
        return CliRunner().invoke(app, ["schedule", name, str(folder), *options, *arguments], env=environment)

    return call


def test_the_commands_tell_what_they_do(command, folder, kubeflow):
    assert command("diff", folder).output.startswith("+ flights: to create\n    cron: 0 6 * * *\n")
    assert command("diff", folder, "--check").exit_code == 1
    assert command("apply", folder).output == "+ flights: created\n"
    assert command("apply", folder).output == "= flights: as declared\n"
    assert command("diff", folder, "--check").exit_code == 0
    assert command("pause", folder).output == "~ flights: paused\n"
    assert command("pause", folder).output == "= flights: is paused already\n"
    assert "paused" in command("list", folder).output
    assert command("diff", folder).output == "~ flights: to resume\n"
    assert command("resume", folder).output == "~ flights: resumed\n"
    edit(folder, "0 6", "0 7")
    assert command("apply", folder).output.startswith(
        "~ flights: replaced\n    cron: 0 6 * * * → 0 7 * * *\n    code: "
    )
    (listed,) = [json.loads(line) for line in command("list", folder, "--json").output.splitlines()]
    assert listed["schedule"] == "cron '0 7 * * *' in Europe/Berlin, catch_up latest"
    assert command("delete", folder).output == "- flights: deleted\n"
    assert command("list", folder).output.startswith("no schedules")
