"""Going on after a run was killed or has failed, and running part of a run again."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from kfp import compiler, dsl

from flywheel.runner import list_runs, rerun, resume, show
from flywheel.runner.errors import ArgumentError, RunNotFound

from .components import SMALL, add, report, say


@dsl.component(**SMALL)
def note(name: str, path: str, out: dsl.Output[dsl.Dataset], after: str = "") -> str:
    with open(path, "a") as file:
        file.write(f"{name}\n")
    with open(out.path, "w") as file:
        file.write(name)
    return name


@dsl.component(**SMALL)
def stumble(path: str, flag: str, after: str = "") -> str:
    import os
    import time

    with open(path, "a") as file:
        file.write("stumble\n")
    if not os.path.exists(flag):
        time.sleep(60)
    return "stood up"


@dsl.pipeline
def long_way(path: str, flag: str):
    with dsl.ExitHandler(report(path=path)):
        first = note(name="first", path=path)
        second = stumble(path=path, flag=flag, after=first.outputs["Output"])
        with dsl.ParallelFor(["item 1", "item 2"]) as item:
            note(name=item, path=path, after=second.output)


def start(tmp_path, arguments):
    """Run `long_way` in a process of its own, until it is in its second step."""
    compiler.Compiler().compile(long_way, str(tmp_path / "way.yaml"))
    code = (
        f"from flywheel.runner import run; run({str(tmp_path / 'way.yaml')!r}, {arguments!r}, root={str(tmp_path)!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while "stumble" not in read_lines(arguments["path"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def read_lines(path):
    return open(path).read().splitlines() if os.path.exists(path) else []


def alive(pattern):
    return subprocess.run(["pgrep", "-f", pattern], capture_output=True, check=False).stdout


def test_a_run_that_was_killed_goes_on_and_repeats_no_finished_step(tmp_path):
    arguments = {"path": str(tmp_path / "told"), "flag": str(tmp_path / "flag")}
    process = start(tmp_path, arguments)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (tmp_path / "flag").touch()

    result = resume(root=tmp_path)

    assert result.status == "SUCCEEDED"

    told = read_lines(arguments["path"])
    assert sorted(told[:-1]) == ["first", "item 1", "item 2", "stumble", "stumble"]
    assert told[-1] == "SUCCEEDED exit-handler-1 None"
    assert [folder.id for folder in list_runs(tmp_path)] == [result.id]


def test_when_the_scheduler_is_killed_its_steps_end_and_leave_nothing_half_made(tmp_path):
    arguments = {"path": str(tmp_path / "told"), "flag": str(tmp_path / "flag")}
    process = start(tmp_path, arguments)
    [folder] = (tmp_path / "runs").iterdir()
    process.send_signal(signal.SIGKILL)
    process.wait()

    deadline = time.monotonic() + 10
    while (folder / "artifacts" / "exit-handler-1" / "stumble").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (folder / "artifacts" / "exit-handler-1" / "note" / "out").exists()


def test_a_running_run_cannot_be_resumed_at_the_same_time(tmp_path):
    arguments = {"path": str(tmp_path / "told"), "flag": str(tmp_path / "flag")}
    process = start(tmp_path, arguments)
    try:
        with pytest.raises(RunNotFound, match="still running"):
            resume(root=tmp_path)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def test_two_runs_at_once_in_one_project_do_not_disturb_each_other(tmp_path):
    compiler.Compiler().compile(busy, str(tmp_path / "busy.yaml"))
    code = textwrap.dedent(f"""
        from flywheel.runner import run
        result = run({str(tmp_path / "busy.yaml")!r}, {{"n": 3}}, root={str(tmp_path)!r})
        assert result.outputs == {{"Output": 6}}, result
    """)
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]

    assert [process.wait() for process in processes] == [0, 0]
    assert len(list_runs(tmp_path)) == 2


@dsl.pipeline
def busy(n: int) -> int:
    for _ in range(4):
        say(text="busy")
    return add(x=add(x=n).output, y=2).output


@dsl.pipeline
def chain(path: str, flag: str = "") -> str:
    a = note(name="a", path=path)
    b = note(name="b", path=path, after=a.outputs["Output"])
    note(name="c", path=path, after=b.outputs["Output"])
    note(name="apart", path=path)
    return b.outputs["Output"]


def test_a_failed_run_goes_on_from_the_step_that_failed(run, tmp_path):
    @dsl.component(**SMALL)
    def want(flag: str) -> str:
        import os

        if not os.path.exists(flag):
            raise FileNotFoundError(flag)
        return "there"

    @dsl.pipeline
    def wanting(path: str, flag: str) -> str:
        a = note(name="a", path=path)
        return want(flag=flag).after(a).output

    path, flag = tmp_path / "told", tmp_path / "flag"
    failed = run(wanting, {"path": str(path), "flag": str(flag)})
    flag.touch()

    result = resume(failed.id, root=tmp_path / "root")

    assert (failed.status, result.status, result.outputs) == ("FAILED", "SUCCEEDED", {"Output": "there"})
    assert read_lines(path) == ["a"]


def test_from_a_task_on_it_and_what_depends_on_it_run_again(run, tmp_path):
    path = tmp_path / "told"
    first = run(chain, {"path": str(path)}, cache=False)
    path.write_text("")

    again = rerun(first.id, start="note-2", root=tmp_path / "root")

    assert sorted(read_lines(path)) == ["b", "c"]
    assert again.status == "SUCCEEDED"
    assert again.id != first.id
    assert again.tasks["note"].artifacts["out"].path.is_relative_to(again.folder)
    assert again.tasks["note"].artifacts["out"].path.read_text() == "a"


def test_only_one_task_runs_again_when_only_that_is_asked_for(run, tmp_path):
    path = tmp_path / "told"
    first = run(chain, {"path": str(path)}, cache=False)
    path.write_text("")

    rerun(first.id, only="note-2", root=tmp_path / "root")

    assert read_lines(path) == ["b"]


def test_a_task_that_the_run_does_not_have_is_named(run, tmp_path):
    first = run(chain, {"path": str(tmp_path / "told")})

    with pytest.raises(ArgumentError, match="did you mean 'note-2'"):
        rerun(first.id, start="notte-2", root=tmp_path / "root")


def test_a_run_can_be_looked_at_afterwards(run, tmp_path):
    first = run(chain, {"path": str(tmp_path / "told")})

    seen = show(first.id, root=tmp_path / "root")

    assert seen == first or (seen.status, seen.outputs) == (first.status, first.outputs)
    assert {name: task.state for name, task in seen.tasks.items()} == {n: t.state for n, t in first.tasks.items()}
    assert seen.tasks["note"].artifacts == first.tasks["note"].artifacts
    assert show(root=tmp_path / "root").id == first.id
    with pytest.raises(RunNotFound, match="no run 'other'"):
        show("other", root=tmp_path / "root")
