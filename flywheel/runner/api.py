"""Run a pipeline, go on with a run, run part of one again; look at what was run."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flywheel.runner import events as ev
from flywheel.runner.cache import LIMIT, Cache
from flywheel.runner.errors import RunNotFound
from flywheel.runner.folder import RunFolder, write_atomically
from flywheel.runner.graph import Graph
from flywheel.runner.inputs import check_arguments
from flywheel.runner.launch import Launcher
from flywheel.runner.machine import find_machine
from flywheel.runner.parse import load, parse
from flywheel.runner.plan import Preload, check_runnable, needs_of, steps_of
from flywheel.runner.record import end_of, result_of, task_result
from flywheel.runner.result import CANCELLED, Outputs, Result, Tasks
from flywheel.runner.reuse import Earlier, find_task, sweep
from flywheel.runner.schedule import Scheduler
from flywheel.runner.spec import Pipeline
from flywheel.runner.warm import borrow

ROOT = ".flywheel"


@dataclass(frozen=True)
class Settings:
    """How to run, whatever is run."""

    jobs: int | None = None
    preload: Preload = field(default_factory=dict)
    events: ev.Events = ev.ignore
    cache: Cache | None = None
    cache_limit: int = LIMIT
    earlier: Earlier | None = None
    debug: str = ""


def run(
    pipeline: object,
    arguments: Mapping[str, Any] | None = None,
    *,
    root: Path | str = ROOT,
    jobs: int | None = None,
    cache: bool = True,
    cache_limit: int = LIMIT,
    preload: Preload | None = None,
    events: ev.Events | None = None,
    name: str | None = None,
    debug: str = "",
) -> Result:
    """Run a compiled pipeline here, as a cluster would run it.

    Args:
        pipeline: Path of a compiled YAML, or a `@dsl.pipeline` function.
        arguments: Values of the pipeline's parameters by name.
        root: The folder for runs and cache.
        jobs: How many cores steps may take at the same time; all of them when not given.
        cache: Whether to take the result of an earlier, equal step where the pipeline allows it.
        cache_limit: Bytes that the cache may take; what was used least recently goes first.
        preload: Modules to load before steps are forked, besides those that they import, by a component's function.
        events: Called with what happens; see `progress` for ready-made ones.
        name: What the run is called in `{{$.pipeline_job_name}}`; its id when not given.
        debug: A task to run in this process, with pdb when it fails.

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
    check_runnable(spec, debug)
    folder = RunFolder.create(Path(root), spec.name)
    settings = Settings(
        jobs, preload or {}, events or ev.ignore, Cache(Path(root)) if cache else None, cache_limit, debug=debug
    )
    return _execute(spec, inputs, folder, _describe(spec, inputs, folder, name, cache), settings)


def resume(
    run: str = "latest",
    *,
    root: Path | str = ROOT,
    jobs: int | None = None,
    cache: bool = True,
    preload: Preload | None = None,
    events: ev.Events | None = None,
    debug: str = "",
) -> Result:
    """Go on with a run that was killed, stopped, or has failed; no step that has finished is run again.

    Args:
        run: Its id, or `latest`.
        root: As for `run`; so are the rest.
        jobs: See `run`.
        cache: See `run`.
        preload: See `run`.
        events: See `run`.
        debug: See `run`.

    Raises:
        RunNotFound: There is no such run, or it is still running.
    """
    folder = RunFolder.find(Path(root), run)
    spec, inputs, info = _open(folder)
    check_runnable(spec, debug)
    earlier = Earlier(folder, folder.records())
    known = Cache(Path(root)) if cache else None
    settings = Settings(jobs, preload or {}, events or ev.ignore, known, LIMIT, earlier, debug)
    return _execute(spec, inputs, folder, info, settings)


def rerun(
    run: str = "latest",
    *,
    start: str = "",
    only: str = "",
    root: Path | str = ROOT,
    jobs: int | None = None,
    preload: Preload | None = None,
    events: ev.Events | None = None,
    debug: str = "",
) -> Result:
    """Run part of an earlier run again, as a new run that has the earlier results of the rest.

    Args:
        run: The earlier run's id, or `latest`.
        start: Run this task and all that depends on it.
        only: Run this task and nothing else.
        root: As for `run`; so are the rest.
        jobs: See `run`.
        preload: See `run`.
        events: See `run`.
        debug: See `run`.

    Raises:
        RunNotFound: There is no such run.
        ArgumentError: It has no such task.
    """
    source = RunFolder.find(Path(root), run)
    spec, inputs, _ = _open(source)
    check_runnable(spec, debug)
    records = source.records()
    earlier = Earlier(source, records, find_task(records, only or start), only=bool(only))
    folder = RunFolder.create(Path(root), spec.name)
    info = _describe(spec, inputs, folder, None, cache=False)
    settings = Settings(jobs, preload or {}, events or ev.ignore, None, LIMIT, earlier, debug)
    return _execute(spec, inputs, folder, info, settings)


def show(run: str = "latest", *, root: Path | str = ROOT) -> Result:
    """Return what is known of a run, also of one that is still running or was killed.

    Raises:
        RunNotFound: There is no such run.
    """
    folder = RunFolder.find(Path(root), run)
    return result_of(folder)


def _open(folder: RunFolder) -> tuple[Pipeline, Outputs, dict[str, Any]]:
    info = folder.info()
    try:
        spec = parse((folder.path / "pipeline.yaml").read_text(encoding="utf-8"))
    except OSError as error:
        raise RunNotFound(f"run {folder.id!r} has no pipeline: {error}", "start a new run.") from error
    return spec, check_arguments(spec, info["arguments"]), info


def _describe(spec: Pipeline, inputs: Outputs, folder: RunFolder, name: str | None, cache: bool) -> dict[str, Any]:
    write_atomically(folder.path / "pipeline.yaml", spec.text)
    return {
        "pipeline": spec.name,
        "titles": spec.titles,
        "name": name or folder.id,
        "job": str(uuid.uuid4()),
        "arguments": dict(inputs.parameters),
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "cache": cache,
    }


def _execute(spec: Pipeline, inputs: Outputs, folder: RunFolder, info: dict[str, Any], settings: Settings) -> Result:
    """Run a pipeline in a folder that is made."""
    started, events = time.monotonic(), settings.events
    with folder.lock(), borrow() as warm:
        folder.write_info({**info, "status": "RUNNING"})
        events(ev.RunStarted(folder.id, spec.name, str(folder.path), spec.titles))
        graph = Graph(spec, inputs, _job(info, folder), lambda node: end_of(node, folder, events))
        warm.prepare(needs_of(spec, settings.preload))
        machine = find_machine(settings.jobs, gpus_asked=any(container.gpus for _, container in steps_of(spec)))
        launcher = Launcher(
            folder, warm, machine, graph.job, events, settings.cache, settings.earlier, settings.debug, settings.preload
        )
        scheduler = Scheduler(graph, launcher)
        scheduler.run()
        sweep(folder, graph.nodes)
        seconds = time.monotonic() - started
        state = CANCELLED if scheduler.interrupts else graph.state
        folder.write_info({**info, "status": state, "seconds": seconds, "outputs": graph.outputs.to_dict()})
    if settings.cache:
        settings.cache.keep_to(settings.cache_limit)
    events(ev.RunFinished(folder.id, state, seconds))
    if scheduler.interrupts:
        raise KeyboardInterrupt
    tasks = Tasks({path: task_result(node, folder) for path, node in graph.nodes.items()})
    return Result(folder.id, state, graph.outputs.flat(), tasks, folder.path, seconds, spec.titles)


def _job(info: Mapping[str, Any], folder: RunFolder) -> dict[str, str]:
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
