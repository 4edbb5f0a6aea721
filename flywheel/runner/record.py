"""Write down how tasks end, and read it again."""

from __future__ import annotations

import time
from typing import Any

from flywheel.runner import events as ev
from flywheel.runner.folder import RunFolder
from flywheel.runner.nodes import Node
from flywheel.runner.result import FAILED, SUCCEEDED, Outputs, Result, TaskError, TaskResult, Tasks


def end_of(node: Node, folder: RunFolder, events: ev.Events) -> None:
    """Write down, and tell, that a task has reached its last state; let go what it has claimed."""
    if node.claim:
        node.claim.release()
        node.claim = None
    if node.started:
        node.seconds = time.monotonic() - node.started
    folder.record(
        {
            "task": node.path,
            "state": node.state,
            "group": node.is_group,
            "seconds": round(node.seconds, 4),
            "attempts": node.attempts,
            "memory": node.memory,
            "cpu": round(node.cpu, 3),
            "error": vars(node.error) if node.error else None,
            "outputs": node.outputs.to_dict(),
        }
    )
    log = node.error.log if node.error and node.state == FAILED else ""
    events(ev.TaskFinished(node.path, node.state, node.seconds, str(node.error or ""), log))


def task_result(node: Node, folder: RunFolder) -> TaskResult:
    """Return what became of a task."""
    return _task(
        node.path, folder, node.outputs, state=node.state, seconds=node.seconds, attempts=node.attempts,
        error=node.error, memory=node.memory, cpu=node.cpu, is_group=node.is_group,
    )  # fmt: skip


def _task(path: str, folder: RunFolder, outputs: Outputs, **rest: Any) -> TaskResult:
    log = folder.log(path)
    artifacts = {name: many[0] for name, many in outputs.artifacts.items() if many}
    return TaskResult(path, outputs=outputs.flat(), artifacts=artifacts, log=log if log.exists() else None, **rest)


def result_of(folder: RunFolder) -> Result:
    """Return a run as its folder tells it; one that was killed has the state that it had then, RUNNING."""
    info = folder.info()
    tasks = {
        path: _task(
            path, folder, Outputs.from_dict(record["outputs"]), state=record["state"], seconds=record["seconds"],
            attempts=record["attempts"], error=TaskError(**record["error"]) if record["error"] else None,
            memory=record["memory"], cpu=record.get("cpu", 0.0), is_group=record["group"],
        )
        for path, record in folder.records().items()
    }  # fmt: skip
    outputs = Outputs.from_dict(info["outputs"]).flat() if "outputs" in info else {}
    return Result(
        folder.id, info.get("status", SUCCEEDED), outputs, Tasks(tasks), folder.path, info.get("seconds", 0.0),
        info.get("titles", {}),
    )  # fmt: skip
