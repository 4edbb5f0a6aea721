"""The runner from the command line: any pipeline that kfp compiled, and what is kept of its runs."""

import json
import os
import subprocess
import sys

import pytest
from kfp import compiler, dsl

from tests.runner.components import SMALL


@dsl.component(**SMALL)
def double(number: int) -> int:
    print("doubling")  # noqa: T201
    return number * 2


@dsl.component(**SMALL)
def divide(number: int, by: int) -> float:
    return number / by


@dsl.pipeline(name="arithmetic")
def arithmetic(number: int, by: int = 2, name: str = "") -> float:
    return divide(number=double(number=number).output, by=by).output


@pytest.fixture
def flywheel(tmp_path):
    compiler.Compiler().compile(arithmetic, str(tmp_path / "pipeline.yaml"))

    def call(*arguments):
        command = [sys.executable, "-m", "flywheel", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False)

    return call


def events(done, kind):
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [event for event in found if event["event"] == kind]


def states(done):
    return {event["task"]: event["state"] for event in events(done, "TaskFinished")}


def started(done):
    return [event["task"] for event in events(done, "TaskStarted")]


def test_a_compiled_pipeline_runs_and_gives_its_outputs(flywheel):
    done = flywheel("run", "pipeline.yaml", "-p", "number=21", "-p", "name=007")

    assert done.returncode == 0, done.stderr
    assert "Output: 21" in done.stdout


def test_an_equal_run_takes_its_results_from_the_cache_unless_told_not_to(flywheel):
    first = flywheel("run", "pipeline.yaml", "-p", "number=21", "--json")
    second = flywheel("run", "pipeline.yaml", "-p", "number=21", "--json")
    third = flywheel("run", "pipeline.yaml", "-p", "number=21", "--json", "--no-cache")

    assert states(first) == states(third) == {"double": "SUCCEEDED", "divide": "SUCCEEDED"}
    assert states(second) == {"double": "CACHED", "divide": "CACHED"}


def test_a_failed_run_is_shown_and_its_finished_steps_stay_when_it_goes_on(flywheel):
    failed = flywheel("run", "pipeline.yaml", "-p", "number=21", "-p", "by=0", "--no-cache")
    shown = flywheel("show")
    resumed = flywheel("run", "pipeline.yaml", "--resume", "latest", "--json", "--no-cache")

    assert failed.returncode == 1
    assert "ZeroDivisionError" in failed.stderr
    assert "double" in shown.stdout
    assert "ZeroDivisionError" in shown.stdout
    assert flywheel("show", "--log", "double").stdout.strip().endswith("doubling")
    assert resumed.returncode == 1
    assert started(resumed) == ["divide"]


def test_one_task_is_run_again_with_the_earlier_results_of_the_rest(flywheel):
    flywheel("run", "pipeline.yaml", "-p", "number=21", "--no-cache")
    again = flywheel("run", "pipeline.yaml", "--only", "divide", "--json")

    assert again.returncode == 0, again.stderr
    assert started(again) == ["divide"]


def test_the_cache_is_listed_and_let_go(flywheel):
    flywheel("run", "pipeline.yaml", "-p", "number=21")
    listed = flywheel("cache", "ls")
    key = next(line.split()[0] for line in listed.stdout.splitlines() if "double" in line)

    assert "2 entries" in listed.stdout
    assert flywheel("cache", "rm", key).returncode == 0
    assert "removed 1 entries" in flywheel("cache", "prune", "--keep", "0", "--runs", "0").stdout
    assert "0 entries" in flywheel("cache", "ls").stdout
    assert flywheel("show").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "pipeline.yaml"], "'number'"),
        (["run", "pipeline.yaml", "-p", "nmber=1"], "number"),
        (["run", "pipeline.yaml", "-p", "number=many"], "number"),
        (["run", "pipeline.yaml", "-p", "number"], "write it as name=value"),
        (["run", "pipeline.yaml", "--span", "2013-06-01"], "--span means nothing for a compiled pipeline"),
        (["run", "pipeline.yaml", "--only", "a", "--from", "b"], "do not go together"),
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["show", "nothing"], "nothing"),
        (["cache", "rm", "abc"], "flywheel cache ls"),
        (["cache", "prune", "--keep", "much"], "500MB"),
    ],
)
def test_wrong_input_is_answered_with_the_cure(flywheel, arguments, said):
    done = flywheel(*arguments)

    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr
