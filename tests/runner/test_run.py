# ruff: noqa: T201
"""What `run` does with pipelines of every shape that the flywheel's own have."""

import os
import signal
import threading
import time
from itertools import pairwise
from typing import NamedTuple

import pytest
from kfp import compiler, dsl

from flywheel.runner import events as ev
from flywheel.runner.errors import ArgumentError, PipelineError

from .components import SMALL, add, fail, nap, read, report, say, write


def test_a_pipeline_gives_its_outputs_and_the_state_of_each_task(run):
    @dsl.pipeline
    def chain(n: int = 1) -> int:
        return add(x=add(x=n).output).output

    result = run(chain, {"n": 5})

    assert result.status == "SUCCEEDED"
    assert result.outputs == {"Output": 7}
    assert [task.state for task in result.tasks.values()] == ["SUCCEEDED", "SUCCEEDED"]
    assert result.tasks["add-2"].outputs == {"Output": 7}
    assert "adding 6 and 1" in result.tasks["add-2"].log.read_text()


def test_a_compiled_file_runs_like_the_function_that_it_was_compiled_from(run, tmp_path):
    @dsl.pipeline
    def one(n: int) -> int:
        return add(x=n).output

    compiler.Compiler().compile(one, str(tmp_path / "one.yaml"))

    assert run(tmp_path / "one.yaml", {"n": 1}).outputs == {"Output": 2}


def test_artifacts_carry_content_and_metadata_from_step_to_step(run):
    @dsl.pipeline
    def passing() -> str:
        return read(data=write(text="hello").output).output

    result = run(passing)

    assert result.outputs == {"Output": "hello 5"}
    assert result.tasks["write"].artifacts["out"].path.read_text() == "hello"
    assert result.tasks["write"].artifacts["out"].metadata == {"length": 5}


def test_an_importer_makes_an_artifact_of_what_is_there(run, tmp_path):
    (tmp_path / "there").write_text("old")

    @dsl.pipeline
    def importing(path: str) -> str:
        found = dsl.importer(artifact_uri=path, artifact_class=dsl.Dataset, metadata={"length": 3})
        return read(data=found.output).output

    assert run(importing, {"path": str(tmp_path / "there")}).outputs == {"Output": "old 3"}


@dsl.pipeline
def branching(n: int) -> str:
    with dsl.If(n > 10):
        big = say(text="big")
    with dsl.Elif(n > 5):
        middling = say(text="middling")
    with dsl.Else():
        small = say(text="small")
    return dsl.OneOf(big.output, middling.output, small.output)


@pytest.mark.parametrize(("n", "branch"), [(11, "big"), (7, "middling"), (5, "small")])
def test_exactly_the_branch_whose_condition_holds_is_run(run, n, branch):
    result = run(branching, {"n": n})

    assert result.outputs == {"Output": branch}
    assert sorted(task.state for task in result.tasks.values() if task.name.count("/") == 1) == [
        "SKIPPED", "SKIPPED", "SUCCEEDED",
    ]  # fmt: skip


def test_an_exit_task_is_told_how_what_it_guards_has_ended(run, tmp_path):
    @dsl.pipeline
    def guarded(path: str, bad: bool):
        with dsl.ExitHandler(report(path=path)):
            with dsl.If(bad == True):  # noqa: E712
                fail(message="broken")

    good, bad = (run(guarded, {"path": str(tmp_path / "told"), "bad": bad}) for bad in (False, True))

    assert (good.status, bad.status) == ("SUCCEEDED", "FAILED")
    told = (tmp_path / "told").read_text().splitlines()
    assert told[0] == "SUCCEEDED exit-handler-1 None"
    assert told[1].startswith("FAILED exit-handler-1 ")


def test_a_failing_step_says_what_it_raised_and_stops_what_follows(run):
    @dsl.pipeline
    def failing():
        say(text=fail(message="broken").output)

    result = run(failing)

    task = result.tasks["fail"]
    assert (result.status, task.state) == ("FAILED", "FAILED")
    assert str(task.error) == "ValueError: broken"
    assert "about to fail" in task.error.log
    assert result.tasks["say"].state == "SKIPPED"
    assert "it depends on 'fail'" in str(result.tasks["say"].error)


def test_a_mistake_of_the_user_is_told_by_its_message_alone(run):
    @dsl.component(**SMALL)
    def mistaken():
        from flywheel.errors import DataError

        raise DataError("the window is empty", "load more days.")

    @dsl.pipeline
    def wrong():
        mistaken()

    error = run(wrong).tasks["mistaken"].error

    assert error.user
    assert str(error) == "the window is empty\n  load more days."
    assert "Traceback" not in error.log


@dsl.component(**SMALL)
def die(how: str):
    import ctypes
    import os
    import sys

    if how == "crash":
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(7)
    elif how == "full disk":
        with open("/dev/full", "w") as file:
            file.write("x" * 100_000)
    elif how == "full disk of a folder":
        import shutil

        raise shutil.Error([("a", "b", "[Errno 28] No space left on device: 'a' -> 'b'")])
    elif how == "sys.exit":
        sys.exit("gone")


@dsl.pipeline
def dying(how: str):
    die(how=how)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("crash", "killed by SIGSEGV"),
        ("exit", "left by exit code 7"),
        ("sys.exit", "left by exit code 1"),
        ("full disk", "no space left on the disk"),
        ("full disk of a folder", "no space left on the disk: No space left on device\n"),
    ],
)
def test_a_step_that_dies_fails_that_task_and_says_how(run, how, why):
    result = run(dying, {"how": how})

    assert result.status == "FAILED"
    assert why in str(result.tasks["die"].error)
    assert not (result.folder / "artifacts" / "die").exists()


def test_a_step_is_retried_as_often_as_it_asks(run, tmp_path):
    @dsl.component(**SMALL)
    def third_time_lucky(path: str) -> int:
        with open(path, "a+") as file:
            file.write("x")
            tries = file.tell()
        if tries < 3:
            raise RuntimeError(f"try {tries}")
        return tries

    @dsl.pipeline
    def patient(path: str) -> int:
        return third_time_lucky(path=path).set_retry(2, backoff_duration="0s").output

    result = run(patient, {"path": str(tmp_path / "tries")})

    assert result.outputs == {"Output": 3}
    assert result.tasks["third-time-lucky"].attempts == 3


def test_a_mistake_that_a_person_has_to_mend_is_not_tried_again(run, tmp_path):
    @dsl.component(**SMALL)
    def mistaken(path: str):
        from flywheel.errors import TrainerError

        with open(path, "a") as file:
            file.write("x")
        raise TrainerError("the trainer fails", "mend it.")

    @dsl.pipeline
    def patient(path: str):
        mistaken(path=path).set_retry(2, backoff_duration="0s")

    result = run(patient, {"path": str(tmp_path / "tries")})

    assert result.status == "FAILED"
    assert result.tasks["mistaken"].attempts == 1
    assert (tmp_path / "tries").read_text() == "x"


def test_nested_pipelines_take_inputs_and_give_outputs(run):
    class Both(NamedTuple):
        text: str
        number: int

    @dsl.pipeline
    def inner(data: dsl.Input[dsl.Dataset], n: int = 3) -> Both:
        return Both(text=read(data=data).output, number=add(x=n).output)

    @dsl.pipeline
    def outer() -> str:
        both = inner(data=write(text="in").output)
        return say(text=f"{both.outputs['text']} and {both.outputs['number']}").output

    assert run(outer).outputs == {"Output": "in 2 and 4"}


def test_independent_steps_run_at_the_same_time(run):
    @dsl.pipeline
    def wide():
        for _ in range(4):
            nap(seconds=0.5)

    run(wide, jobs=4)
    result = run(wide, jobs=4, cache=False)

    assert result.seconds < 1.2


def test_no_more_steps_run_at_once_than_there_are_jobs(run):
    @dsl.pipeline
    def wide():
        for number in range(3):
            nap(seconds=0.2, before=number)

    result = run(wide, jobs=1)

    starts = sorted(task.outputs["Output"] for task in result.tasks.values())
    assert all(later - earlier >= 0.2 for earlier, later in pairwise(starts))


def test_ctrl_c_stops_steps_runs_the_exit_task_and_leaves_no_half_artifact(run, tmp_path):
    @dsl.component(**SMALL)
    def half(out: dsl.Output[dsl.Dataset], path: str):
        import time

        with open(out.path, "w") as file:
            file.write("half")
        with open(path, "a") as file:
            file.write("started\n")
        time.sleep(60)

    @dsl.pipeline
    def guarded(path: str):
        with dsl.ExitHandler(report(path=path)):
            say(text="never").after(half(path=path))

    told = tmp_path / "told"
    threading.Thread(target=_interrupt_when, args=(told.exists,), daemon=True).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(guarded, {"path": str(told)})

    assert time.monotonic() - started < 10
    assert told.read_text().splitlines()[1].startswith("CANCELLED exit-handler-1")
    [folder] = (tmp_path / "root" / "runs").iterdir()
    assert not (folder / "artifacts" / "exit-handler-1" / "half").exists()


def test_a_second_ctrl_c_stops_at_once_even_the_exit_task(run, tmp_path):
    @dsl.component(**SMALL)
    def last(status: dsl.PipelineTaskFinalStatus, path: str):
        import signal
        import time

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(path, "a") as file:
            file.write("exit task\n")
        time.sleep(60)

    @dsl.pipeline
    def guarded(path: str):
        with dsl.ExitHandler(last(path=path)):
            say(text="hello")

    told = tmp_path / "told"

    def twice():
        for _ in range(2):
            _interrupt_when(told.exists)
            time.sleep(0.3)

    threading.Thread(target=twice, daemon=True).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(guarded, {"path": str(told)})

    assert time.monotonic() - started < 10


def test_an_error_of_the_one_who_watches_stops_the_steps_too(run, tmp_path):
    @dsl.component(**SMALL)
    def touch_later(path: str):
        import time

        print("now", flush=True)
        time.sleep(1.5)
        open(path, "w").close()

    @dsl.pipeline
    def touching(path: str):
        touch_later(path=path)

    def break_down(event):
        if isinstance(event, ev.LogLine):
            raise RuntimeError("the watcher broke down")

    with pytest.raises(RuntimeError, match="watcher"):
        run(touching, {"path": str(tmp_path / "touched")}, events=break_down)
    time.sleep(2)
    assert not (tmp_path / "touched").exists()


def _interrupt_when(condition):
    while not condition():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


def test_events_tell_the_run_from_start_to_end(run):
    @dsl.pipeline
    def one():
        say(text="hello")

    seen = []
    run(one, events=seen.append)

    kinds = [type(event) for event in seen]
    assert kinds == [ev.RunStarted, ev.TaskStarted, ev.LogLine, ev.TaskFinished, ev.RunFinished]
    assert seen[2].line == "hello"


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ({"nn": 1}, "did you mean 'n'"),
        ({"n": "many"}, "give an int"),
        ({}, "argument 'n' of pipeline 'one' is missing"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_runs(run, arguments, remedy, tmp_path):
    @dsl.pipeline
    def one(n: int):
        add(x=n)

    with pytest.raises(ArgumentError, match=remedy):
        run(one, arguments)
    assert not (tmp_path / "root").exists()


def test_what_is_no_pipeline_is_refused(run, tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [")

    with pytest.raises(PipelineError, match="no YAML"):
        run(tmp_path / "bad.yaml")
    with pytest.raises(PipelineError, match="cannot read"):
        run(tmp_path / "missing.yaml")
    with pytest.raises(PipelineError, match="not a pipeline"):
        run(3)
