import io
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flywheel.cli.main import app
from flywheel.errors import ClusterError, ConfigError
from flywheel.kubeflow import submit
from flywheel.ledger import Ledger
from flywheel.runner.progress import Live, Plain
from tests.stand_ins.kfp import StandIn
from tests.stores import ledger_in


@pytest.fixture
def folder(flywheel):
    return flywheel()


@pytest.fixture
def start(folder, where):
    """Submit, with what leads to the stand-in."""
    overrides, how = where

    def call(span="2026-03-01", *, more=(), **options):
        return submit(folder, span, overrides=[*overrides, *more], **how | options)

    return call


def test_a_run_is_started_with_code_version_name_and_parameters(start, kubeflow, root, folder):
    run = start()

    (kept,) = kubeflow.runs.values()
    (version,) = kubeflow.pipeline_versions.values()
    (code,) = (root / "code").iterdir()
    assert (run.started, run.state, run.over) == (True, "RUNNING", False)
    assert run.link == f"{kubeflow.url}/#/runs/details/{run.run}"
    assert kept["display_name"] == run.name == "flights 2026-03-01"
    assert kept["runtime_config"]["parameters"] == {"code": f"file://{root}/code/{code.name}", "span": "2026-03-01"}
    assert kept["runtime_config"]["pipeline_root"] == f"file://{root}"
    assert kept["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]
    assert re.fullmatch("[0-9a-f]{20}", version["display_name"])
    labels = json.loads(kept["description"].partition("flywheel-run: ")[2])
    assert labels == {"name": "flights", "span": "2026-03-01", "version": version["display_name"], "code": code.stem}
    assert [each["display_name"] for each in kubeflow.experiments.values()] == ["flights"]


def test_what_is_there_is_not_sent_again(start, kubeflow):
    start()
    start("2026-02-28")

    assert kubeflow.calls["upload_pipeline_version"] == kubeflow.calls["create_pipeline"] == 1
    assert kubeflow.calls["create_experiment"] == 1
    assert kubeflow.calls["create_run"] == 2


def test_a_changed_pipeline_is_a_new_version_and_changed_code_a_new_archive(start, kubeflow, folder, root):
    start()
    (folder / "trainer.py").write_text("def train(context):\n    return None\n")
    start("2026-02-28")
    (folder / "flights.sql").write_text("SELECT 1 AS late, 2 AS distance FROM f WHERE day >= @start AND day < @end")
    start("2026-02-27")

    assert len(list((root / "code").iterdir())) == 3
    assert len(kubeflow.pipeline_versions) == 2
    assert len(kubeflow.pipelines) == 1


def test_a_span_that_runs_is_not_started_again(start, kubeflow):
    first, second = start(), start()

    assert second.run == first.run
    assert not second.started
    assert len(kubeflow.runs) == 1


def test_a_span_that_has_run_is_not_started_again_unless_asked_for(start, kubeflow):
    first = start()
    kubeflow.advance(kubeflow.takes)

    assert (start().run, start().over) == (first.run, True)
    assert start(again=True).run != first.run


def test_a_span_whose_run_failed_is_started_again(start, kubeflow):
    kubeflow.on_run = lambda run: "FAILED"
    first = start()
    kubeflow.advance(kubeflow.takes)

    again = start()

    assert again.started
    assert again.run != first.run


def test_others_runs_of_the_same_name_do_not_count(start, kubeflow):
    start()
    for run in kubeflow.runs.values():
        run["description"] = "by hand"

    assert start().started


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(start, kubeflow, status):
    waited = []
    kubeflow.fail(status, times=3)

    assert start(sleep=waited.append).started
    assert waited[:3] == [1, 2, 4]


def test_a_server_that_stays_busy_is_given_up(start, kubeflow):
    kubeflow.fail(503, times=100)

    with pytest.raises(
        ClusterError, match=r"answers 503: as the test has it\n  try again later: what was done stays done"
    ):
        start()
    assert len(kubeflow.asked) < 10


@pytest.mark.parametrize("what", ["create_experiment", "create_pipeline", "upload_pipeline_version", "create_run"])
def test_an_answer_that_is_lost_leads_to_nothing_twice(start, kubeflow, what):
    kubeflow.fail(503, done=True, only=what)

    assert start().run in kubeflow.runs
    for kept in (kubeflow.experiments, kubeflow.pipelines, kubeflow.pipeline_versions, kubeflow.runs):
        assert len(kept) == 1


@pytest.mark.parametrize("done", [False, True])
def test_killed_at_any_request_and_said_again_there_is_one_run(flywheel, tmp_path, done):
    folder = flywheel()
    for after in range(15):
        with StandIn() as kubeflow:
            how = [f"kubeflow.endpoint={kubeflow.url}", f"kubeflow.pipeline_root=file://{tmp_path}/{after}-{done}"]
            kubeflow.fail(500, after=after, done=done)
            try:
                submit(folder, "2026-03-01", overrides=how, environment={})
            except ClusterError:
                kubeflow.heal()
                submit(folder, "2026-03-01", overrides=how, environment={})
            kept = (kubeflow.experiments, kubeflow.pipelines, kubeflow.pipeline_versions, kubeflow.runs)
            assert [len(each) for each in kept] == [1, 1, 1, 1]


def test_of_two_that_submit_at_once_one_run_goes_on(start, kubeflow):
    start("2026-02-01")  # so that both come to the run at the same time
    settled = threading.Barrier(2)
    gate, handle = threading.Barrier(2), kubeflow.handle

    def together(verb, path, *rest):
        if verb == "POST" and path.endswith("/runs"):
            gate.wait(60)
        return handle(verb, path, *rest)

    kubeflow.handle = together
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: start(sleep=lambda _: settled.wait(60)), range(2)))

    going = [
        run for run in kubeflow.runs.values() if run["display_name"].endswith("03-01") and run["state"] == "RUNNING"
    ]
    assert {run.run for run in found} == {going[0]["run_id"]}
    assert len(going) == 1


def test_of_two_that_make_the_pipeline_at_once_both_use_the_one(start, kubeflow):
    """Whoever finds the name taken looks again."""
    handle, gate = kubeflow.handle, threading.Barrier(2)

    def together(verb, path, *rest):
        if verb == "POST" and path.endswith(("/pipelines", "/experiments", "/upload_version")):
            gate.wait(60)
        return handle(verb, path, *rest)

    kubeflow.handle = together
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(start, ["2026-03-01", "2026-02-28"]))

    assert len({run.run for run in found}) == 2
    assert [len(kept) for kept in (kubeflow.experiments, kubeflow.pipelines, kubeflow.pipeline_versions)] == [1, 1, 1]


def test_without_the_right_token_it_says_how_to_give_one(start):
    with pytest.raises(ClusterError, match=r"answers 401: Unauthenticated.*\n  set FLYWHEEL_KFP_TOKEN"):
        start(environment={"FLYWHEEL_KFP_TOKEN": "wrong"})


def test_a_token_that_expires_is_read_again(start, kubeflow):
    environment = {"FLYWHEEL_KFP_TOKEN": "let me in"}
    kubeflow.play(("RUNNING", {}), ("RUNNING", {}), ("SUCCEEDED", {}))

    def wait(_):
        kubeflow.token = environment["FLYWHEEL_KFP_TOKEN"] = "another"

    assert start(wait=True, environment=environment, sleep=wait).state == "SUCCEEDED"


def test_a_server_that_is_not_there_is_named(start, kubeflow):
    with pytest.raises(ClusterError, match=r"http://127.0.0.1:9 cannot be reached"):
        start(more=["kubeflow.endpoint=http://127.0.0.1:9"])


def test_several_users_have_namespaces(folder, tmp_path):
    with StandIn(multi_user=True) as kubeflow:
        how = [f"kubeflow.endpoint={kubeflow.url}", f"kubeflow.pipeline_root=file://{tmp_path}/root"]
        submit(folder, "2026-03-01", overrides=[*how, "kubeflow.namespace=team-a"], environment={})

        assert [each["namespace"] for each in kubeflow.experiments.values()] == ["team-a"]
        assert [each["namespace"] for each in kubeflow.pipelines.values()] == ["team-a"]
        assert kubeflow.violations == []


def test_kfps_own_variables_lead_to_the_cluster_and_the_experiment(folder, kubeflow, root):
    environment = {
        "KF_PIPELINES_ENDPOINT": kubeflow.url,
        "KF_PIPELINES_UI_ENDPOINT": "https://ui.example.com",
        "KF_PIPELINES_DEFAULT_EXPERIMENT_NAME": "all of us",
        "FLYWHEEL_KFP_TOKEN": "let me in",
    }
    run = submit(folder, "2026-03-01", overrides=[f"kubeflow.pipeline_root=file://{root}"], environment=environment)

    assert run.link.startswith("https://ui.example.com/#/runs/details/")
    assert [each["display_name"] for each in kubeflow.experiments.values()] == ["all of us"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("kubeflow.pipeline_root=null", "kubeflow.pipeline_root is not set"),
        ("kubeflow.pipeline_root=bucket/path", "kubeflow.pipeline_root is 'bucket/path'"),
        ("ledger.tracking_uri=sqlite:///a.db", "a file of this machine that no step on a cluster sees"),
        ("source.warehouse=duckdb:///a.db", "source.warehouse is 'duckdb:///a.db', a file of this machine"),
        ("kubeflow.pipeline_root=nope://a/b", "kubeflow.pipeline_root cannot be used"),
    ],
)
def test_what_no_cluster_could_run_is_refused_before_anything_is_started(start, kubeflow, override, message):
    with pytest.raises(ConfigError, match=message):
        start(more=[override])
    assert not kubeflow.runs


def test_without_an_endpoint_nothing_is_guessed(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"set kubeflow.endpoint in flywheel.yaml"):
        submit(
            folder,
            "2026-03-01",
            overrides=[f"kubeflow.pipeline_root=file://{tmp_path}"],
            environment={"KUBECONFIG": str(tmp_path / "none")},
        )


FRAMES = (
    ("PENDING", {}),
    ("RUNNING", {"exit-handler-1": "RUNNING", "plan": "RUNNING"}),
    ("RUNNING", {"exit-handler-1": "RUNNING", "plan": "SUCCEEDED", "condition-2": "RUNNING", "extract": "RUNNING"}),
    (
        "RUNNING",
        {"exit-handler-1": "FAILED", "plan": "SUCCEEDED", "condition-2": "FAILED", "extract": "FAILED",
         "conclude": "RUNNING"},
    ),
    (
        "FAILED",
        {"exit-handler-1": "FAILED", "plan": "SUCCEEDED", "condition-2": "FAILED", "extract": "FAILED",
         "conclude": "SUCCEEDED"},
    ),
)  # fmt: skip


def test_a_run_is_followed_with_the_lines_of_a_run_here(start, kubeflow):
    kubeflow.play(*FRAMES)
    lines = io.StringIO()

    run = start(wait=True, events=Plain(lines))

    assert (run.state, run.outcome, run.why) == ("FAILED", "failed", "the run ended failed")
    assert lines.getvalue().splitlines() == [
        "run flights 2026-03-01",
        "plan: started",
        "plan: SUCCEEDED in 10.0 s",
        "extract: started",
        "extract: FAILED in 10.0 s: extract: main: Error (exit code 1)",
        "conclude: started",
        "conclude: SUCCEEDED in 10.0 s",
        "run flights 2026-03-01: FAILED in 50.0 s",
    ]


def test_the_live_tree_shows_the_same_tasks(start, kubeflow):
    from rich.console import Console

    kubeflow.play(*FRAMES)
    live = Live(io.StringIO())

    start(wait=True, events=live)

    drawn = io.StringIO()
    Console(file=drawn, width=100).print(live.tree())
    assert "✓ plan  10.0 s" in drawn.getvalue()
    assert "✗ extract  10.0 s" in drawn.getvalue()
    assert "driver" not in drawn.getvalue()


def test_following_outlives_a_busy_server(start, kubeflow):
    kubeflow.play(("RUNNING", {}), ("SUCCEEDED", {}))
    kubeflow.fail(503, times=4, only="get_run")

    assert start(wait=True).state == "SUCCEEDED"


@pytest.fixture
def ledger(tmp_path):
    return ledger_in(tmp_path)


def settle(ledger, outcome, why="so it was"):
    """Let a run open its row and reach an outcome, as the steps do."""

    def on_run(run):
        book = Ledger(ledger)
        row = book.open("flights", run["runtime_config"]["parameters"]["span"], run["run_id"])
        book.settle(row, outcome, why)
        book.close(row, ok=True)

    return on_run


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Commands do not wait from one look to the next."""
    monkeypatch.setattr("flywheel.kubeflow.follow._EVERY", 0.0)
    monkeypatch.setattr("flywheel.kubeflow.cluster._SECOND", 0.0)


def call(folder, where, ledger, *arguments):
    overrides, _ = where
    options = [part for override in overrides for part in ("--set", override)]
    environment = {"FLYWHEEL_KFP_TOKEN": "let me in", "COLUMNS": "200"}
    return CliRunner().invoke(
        app, ["submit", str(folder), *options, "--set", f"ledger.tracking_uri={ledger}", *arguments], env=environment
    )


def test_the_command_tells_what_it_started_and_how_to_follow(folder, where, ledger):
    first = call(folder, where, ledger, "--span", "2026-03-01")
    second = call(folder, where, ledger, "--span", "2026-03-01")

    assert first.exit_code == second.exit_code == 0
    assert re.fullmatch(
        r"started flights 2026-03-01\nhttp://.*/#/runs/details/.*\nfollow it with --wait\n", first.output
    )
    assert second.output.startswith("flights 2026-03-01 is running already\n")


@pytest.mark.parametrize(
    ("outcome", "code"), [("promoted", 0), ("kept-champion", 0), ("data-rejected", 0), ("failed", 1)]
)
def test_the_exit_code_is_that_of_the_outcome(folder, where, ledger, kubeflow, outcome, code):
    kubeflow.play(("SUCCEEDED", {}))
    kubeflow.on_run = settle(ledger, outcome)

    ended = call(folder, where, ledger, "--span", "2026-03-01", "--wait")

    assert ended.exit_code == code
    assert f"2026-03-01: {outcome} (so it was)" in ended.output


def test_a_run_whose_data_has_not_arrived_ends_with_3_and_may_be_started_again(folder, where, ledger, kubeflow):
    kubeflow.play(("SUCCEEDED", {}))

    ended = call(folder, where, ledger, "--span", "2026-03-01", "--wait")
    again = call(folder, where, ledger, "--span", "2026-03-01")

    assert ended.exit_code == 3
    assert "2026-03-01: not-ready" in ended.output
    assert "started flights 2026-03-01" in again.output


def test_a_run_for_a_span_that_is_done_is_not_needed(folder, where, ledger, kubeflow):
    kubeflow.play(("SUCCEEDED", {}))
    settle(ledger, "kept-champion")({"run_id": "earlier", "runtime_config": {"parameters": {"span": "2026-03-01"}}})

    ended = call(folder, where, ledger, "--span", "2026-03-01", "--wait")

    assert ended.exit_code == 0
    assert "2026-03-01: not-needed" in ended.output


def test_where_the_ledger_cannot_be_reached_the_state_is_told(folder, where, kubeflow):
    kubeflow.play(("SUCCEEDED", {}))

    ended = call(folder, where, "sqlite:////nowhere/at/all.db", "--span", "2026-03-01", "--wait")

    assert ended.exit_code == 0
    assert "the ledger says what became of it, and cannot tell from here" in ended.output


def test_ctrl_c_leaves_the_run_going(folder, where, ledger, kubeflow):
    kubeflow.play(("RUNNING", {}))
    handle = kubeflow.handle

    def interrupted(*args):
        if kubeflow.calls["get_run"] == 3:
            import _thread

            _thread.interrupt_main()
        return handle(*args)

    kubeflow.handle = interrupted
    ended = call(folder, where, ledger, "--span", "2026-03-01", "--wait")

    assert ended.exit_code == 130
    assert "the same command follows it" in ended.output
    assert [run["state"] for run in kubeflow.runs.values()] == ["RUNNING"]


def test_as_json_every_line_is_an_event(folder, where, ledger, kubeflow):
    kubeflow.play(*FRAMES)

    ended = call(folder, where, ledger, "--span", "2026-03-01", "--wait", "--json")

    events = [json.loads(line) for line in ended.output.splitlines()]
    assert [events[0]["event"], events[-1]["event"]] == ["RunStarted", "Submission"]
    assert ended.exit_code == 1


def test_a_wrong_span_is_refused_before_the_cluster_is_asked(start, kubeflow):
    with pytest.raises(ConfigError, match="write it as '2013-06-01'"):
        start("yesterday")
    assert kubeflow.asked == []


def test_no_token_is_in_what_is_sent(start, kubeflow, root):
    start()

    assert "let me in" not in json.dumps([*kubeflow.pipeline_versions.values(), *kubeflow.runs.values()], default=str)
    assert all(b"let me in" not in file.read_bytes() for file in Path(root).rglob("*") if file.is_file())


def test_the_newest_span_may_be_run_again_and_again(start, kubeflow):
    first = start("")
    kubeflow.advance(datetime(2026, 3, 3, tzinfo=UTC))

    assert start("").run != first.run
