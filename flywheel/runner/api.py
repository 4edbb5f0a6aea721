"""`run`: a compiled pipeline, on this machine."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flywheel.runner import events as ev
from flywheel.runner.folder import RunFolder, write_atomically
from flywheel.runner.graph import Graph
from flywheel.runner.inputs import check_arguments
from flywheel.runner.nodes import Node
from flywheel.runner.parse import load
from flywheel.runner.plan import check_runnable, needs_of
from flywheel.runner.result import CANCELLED, FAILED, SKIPPED, Outputs, Result, TaskResult, Tasks
from flywheel.runner.schedule import Machine, Scheduler
from flywheel.runner.spec import Pipeline
from flywheel.runner.warm import borrow


def run(
    pipeline: object,
    arguments: Mapping[str, Any] | None = None,
    *,
    root: Path | str = ".flywheel",
    jobs: int | None = None,
    cache: bool = True,
    preload: Sequence[str] = (),
    events: ev.Events | None = None,
    name: str | None = None,
) -> Result:
    """Run a compiled pipeline here, as a cluster would run it.

    Args:
        pipeline: Path of a compiled YAML, or a `@dsl.pipeline` function.
        arguments: Values of the pipeline's parameters by name.
        root: The folder for runs and cache.
        jobs: How many cores steps may take at the same time; all of them when not given.
        cache: Whether to take the result of an earlier, equal step where the pipeline allows it.
        preload: Modules to load before steps are forked, besides those that the steps import.
        events: Called with what happens; see `progress` for ready-made ones.
        name: What the run is called in `{{$.pipeline_job_name}}`; its id when not given.

    Returns:
        How it ended. A failed step is no exception: see `Result.status` and `Result.raise_if_failed`.

    Raises:
        PipelineError: The pipeline cannot be read or understood.
        ArgumentError: An argument is unknown, missing or of the wrong type.
        EngineError: A component needs a container, and no engine answers.
        DiskFull: There is no room for the run's own files.
        KeyboardInterrupt: The run was stopped by Ctrl-C or SIGTERM; its exit tasks have run.
    """
    spec = load(pipeline)
    inputs = check_arguments(spec, arguments or {})
    check_runnable(spec)
    folder = RunFolder.create(Path(root), spec.name)
    write_atomically(folder.path / "pipeline.yaml", spec.text)
    info = {
        "pipeline": spec.name,
        "name": name or folder.id,
        "job": str(uuid.uuid4()),
        "arguments": dict(inputs.parameters),
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "status": "RUNNING",
        "cache": cache,
    }
    return execute(spec, inputs, folder, info, jobs=jobs, preload=preload, events=events or ev.ignore)


def execute(
    spec: Pipeline,
    inputs: Outputs,
    folder: RunFolder,
    info: dict[str, Any],
    *,
    jobs: int | None,
    preload: Sequence[str],
    events: ev.Events,
) -> Result:
    """Run a pipeline in a folder that is made."""
    started = time.monotonic()
    with folder.lock(), borrow() as warm:
        folder.write_info(info)
        events(ev.RunStarted(folder.id, spec.name, str(folder.path)))
        graph = Graph(spec, inputs, job_of(info, folder), lambda node: _on_end(node, folder, events))
        warm.prepare([*needs_of(spec), tuple(preload)])
        machine = Machine(jobs or len(os.sched_getaffinity(0)))
        scheduler = Scheduler(graph, folder, warm, machine, events)
        scheduler.run()
        seconds = time.monotonic() - started
        state = CANCELLED if scheduler.interrupts else graph.state
        folder.write_info({**info, "status": state, "seconds": seconds, "outputs": graph.outputs.to_dict()})
    events(ev.RunFinished(folder.id, state, seconds))
    if scheduler.interrupts:
        raise KeyboardInterrupt
    tasks = Tasks({path: task_result(node, folder) for path, node in graph.nodes.items()})
    return Result(folder.id, state, graph.outputs.flat(), tasks, folder.path, seconds)


def job_of(info: Mapping[str, Any], folder: RunFolder) -> dict[str, str]:
    """Return what a run is called, by the name of the placeholder."""
    return {
        "pipeline_job_name": info["name"],
        "pipeline_job_resource_name": folder.id,
        "pipeline_job_uuid": info["job"],
        "pipeline_job_create_time_utc": info["created"],
        "pipeline_job_schedule_time_utc": info["created"],
        "pipeline_root": str(folder.path / "artifacts"),
        "workspace_path": str(folder.path / "workspace"),
    }


def _on_end(node: Node, folder: RunFolder, events: ev.Events) -> None:
    if node.started:
        node.seconds = time.monotonic() - node.started
    folder.record(
        {
            "task": node.path,
            "state": node.state,
            "group": node.is_group,
            "seconds": node.seconds,
            "attempts": node.attempts,
            "memory": node.memory,
            "error": vars(node.error) if node.error else None,
            "outputs": node.outputs.to_dict(),
        }
    )
    log = node.error.log if node.error and node.state == FAILED else ""
    why = str(node.error) if node.error and node.state in (FAILED, SKIPPED, CANCELLED) else ""
    events(ev.TaskFinished(node.path, node.state, node.seconds, why, log))


def task_result(node: Node, folder: RunFolder) -> TaskResult:
    """Return what became of a task."""
    artifacts = {name: many[0] for name, many in node.outputs.artifacts.items() if many}
    log = folder.log(node.path)
    return TaskResult(
        node.path, node.state, node.outputs.flat(), artifacts, log if log.exists() else None, node.seconds,
        node.attempts, node.error, node.memory, node.is_group,
    )  # fmt: skip
