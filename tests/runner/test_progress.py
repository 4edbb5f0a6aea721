"""What people and programs see of a run."""

import io
import json

import pytest

from flywheel.runner import events as ev
from flywheel.runner.progress import Json, Live, Plain, choose

STORY = [
    ev.RunStarted("run-1", "flights", "/runs/run-1"),
    ev.TaskStarted("exit-handler-1/train"),
    ev.LogLine("exit-handler-1/train", "epoch 1"),
    ev.TaskRetried("exit-handler-1/train", 1, 2.0, "OSError: busy"),
    ev.TaskStarted("exit-handler-1/train", 2),
    ev.TaskFinished("exit-handler-1/train", "FAILED", 3.21, "ValueError: no rows", "epoch 1\nValueError: no rows"),
    ev.TaskFinished("exit-handler-1/deploy", "SKIPPED", 0.0, "it depends on 'train', which is FAILED"),
    ev.TaskFinished("exit-handler-1", "FAILED", 3.5, "'train' has failed"),
    ev.TaskFinished("for-loop-2.0/score", "SUCCEEDED", 0.5),
    ev.Cancelling("run-1"),
    ev.RunFinished("run-1", "FAILED", 4.0),
]


def test_plain_lines_say_what_happens_without_the_branches_that_compiling_made():
    stream = io.StringIO()
    plain = Plain(stream)
    for event in STORY:
        plain(event)

    assert stream.getvalue().splitlines() == [
        "run run-1",
        "train: started",
        "train | epoch 1",
        "train: attempt 1 failed, again in 2 s: OSError: busy",
        "train: started (attempt 2)",
        "train: FAILED in 3.2 s: ValueError: no rows",
        "deploy: SKIPPED: it depends on 'train', which is FAILED",
        "for-loop-2.0/score: SUCCEEDED in 0.5 s",
        "stopping: exit tasks still run; once more to stop at once",
        "run run-1: FAILED in 4.0 s",
    ]


def test_tasks_and_branches_are_called_what_their_author_calls_them():
    titles = {"train-2": "baseline", "condition-4": "the candidate is undecided"}
    stream, live = io.StringIO(), Live(io.StringIO())
    plain = Plain(stream)
    for event in (
        ev.RunStarted("run-1", "flights", "/runs/run-1", titles),
        ev.TaskStarted("exit-handler-1/condition-2/train-2"),
        ev.TaskFinished("exit-handler-1/condition-2/train-2", "SUCCEEDED", 1.0),
        ev.TaskFinished("exit-handler-1/condition-4", "SKIPPED", 0.0, "its condition is false"),
    ):
        plain(event)
        live._take(event)

    assert stream.getvalue().splitlines()[1:] == [
        "baseline: started",
        "baseline: SUCCEEDED in 1.0 s",
        "the candidate is undecided: SKIPPED: its condition is false",
    ]
    assert {"train-2", "condition-4"}.isdisjoint(str(each.label) for each in live.tree().children)


def test_without_logs_the_last_lines_of_a_failure_are_shown_all_the_same():
    stream = io.StringIO()
    plain = Plain(stream, logs=False)
    for event in STORY:
        plain(event)

    assert "train | epoch 1\ntrain | ValueError: no rows\n" in stream.getvalue()


def test_json_is_one_event_a_line():
    stream = io.StringIO()
    sink = Json(stream)
    for event in STORY:
        sink(event)

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [type(event).__name__ for event in STORY]
    assert lines[5]["state"] == "FAILED"


def test_the_tree_shows_tasks_in_their_loops_with_state_and_log_tail():
    from rich.console import Console

    live = Live(io.StringIO())
    for event in STORY[1:-1]:
        live(event)
    out = Console(file=io.StringIO(), width=120, record=True)
    out.print(live.tree())

    text = out.export_text()
    assert "exit-handler-1" not in text
    assert "✗ train  3.2 s  ValueError: no rows" in text
    assert "– deploy" in text
    assert text.index("for-loop-2.0") < text.index("✓ score")


def test_of_very_many_tasks_the_tree_shows_those_that_run_and_fail_and_the_newest():
    from rich.console import Console

    live = Live(io.StringIO())
    live.console = Console(file=io.StringIO(), height=15)
    live(ev.TaskStarted("slow"))
    live(ev.TaskFinished("bad", "FAILED", 0.1, "no"))
    for number in range(100):
        live(ev.TaskFinished(f"for-loop-1.{number}/score", "SUCCEEDED", 0.0))
    out = Console(file=io.StringIO(), width=80, record=True)
    out.print(live.tree())

    text = out.export_text()
    assert "slow" in text
    assert "bad" in text
    assert "for-loop-1.99" in text
    assert "for-loop-1.50" not in text


@pytest.mark.parametrize(
    ("options", "terminal", "kind"),
    [({}, True, Live), ({}, False, Plain), ({"plain": True}, True, Plain), ({"as_json": True}, True, Json)],
)
def test_what_suits_the_stream_is_chosen(options, terminal, kind):
    stream = io.StringIO()
    stream.isatty = lambda: terminal

    assert type(choose(stream, **options)) is kind
