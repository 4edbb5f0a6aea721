"""Begin a step: take over an earlier result if there is one, else make its job and hand it to a process."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flywheel.drawing import CHARTS, place_of
from flywheel.kept import CODE, KEPT
from flywheel.runner import events as ev
from flywheel.runner.cache import Cache
from flywheel.runner.containers import container_job
from flywheel.runner.debug import debug_job
from flywheel.runner.environments import venv_of
from flywheel.runner.folder import RunFolder
from flywheel.runner.machine import Cost, Machine
from flywheel.runner.nodes import Node
from flywheel.runner.plan import Preload, needed
from flywheel.runner.program import program_of
from flywheel.runner.result import CACHED, SUCCEEDED, Outputs
from flywheel.runner.reuse import Earlier
from flywheel.runner.spec import Container
from flywheel.runner.steps import executor_input, make_job, read_outputs
from flywheel.runner.warm import StepEnded, Warm


class MadeElsewhere(Exception):
    """Another run is making the result that a step would make: it is worth waiting for."""


@dataclass(frozen=True)
class Launched:
    """A step that is in the hands of a process."""

    id: str
    """What its process is known by: no other step has it, nor another attempt of this one."""
    given: dict[str, Any]
    """Its ExecutorInput."""
    ended: StepEnded | None = None
    """How it ended, where it has already: under a debugger."""


@dataclass
class Launcher:
    """Begins the steps of one run."""

    folder: RunFolder
    warm: Warm
    machine: Machine
    job: Mapping[str, str]
    """What the run is called, by placeholder."""
    events: ev.Events = ev.ignore
    cache: Cache | None = None
    earlier: Earlier | None = None
    debug: str = ""
    preload: Preload = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def earlier_result(self, node: Node) -> tuple[str, Outputs] | None:
        """Return state and outputs of a step that need not run, or None.

        Raises:
            MadeElsewhere: Another run is making just this.
        """
        if self.earlier:
            outputs = self.earlier.take(node, self.folder)
            if outputs is not None:
                return SUCCEEDED, outputs
        if self.cache and node.task.cache and not node.task.is_exit and not self._is_debugged(node):
            node.cache_key = node.cache_key or self.cache.key(node)
            if found := self._cached(node, self.cache):
                return CACHED, found
            node.claim = node.claim or self.cache.claim(node.cache_key)
            if node.claim is None:
                raise MadeElsewhere
            if found := self._cached(node, self.cache):  # it came just before the claim
                return CACHED, found
        return None

    def _cached(self, node: Node, cache: Cache) -> Outputs | None:
        if node.cache_key not in cache:
            return None
        return cache.get(node.cache_key, self.folder.prepare(node.path))

    def launch(self, node: Node, container: Container, cost: Cost, share: int) -> Launched:
        """Hand a step to a process.

        Args:
            node: The task; its inputs are there.
            container: What it runs.
            cost: What it may use of the machine.
            share: How many threads its libraries should use.
        """
        node.attempts += 1
        node.started = node.started or time.monotonic()
        if self.earlier:
            self.earlier.began(node)
        given = executor_input(node.component, node.inputs, self.folder.prepare(node.path))
        environment = {**self.environment, **self.machine.environment(cost)}
        digests = self.cache.digests.folder if self.cache and node.cache_key else None
        self.events(ev.TaskStarted(node.path, node.attempts))
        program, name = program_of(container), f"{self.folder.id}/{node.path}#{node.attempts}"
        if program is None:
            names = {**self.job, "pipeline_task_name": node.task.name}
            job = container_job(node.path, container, given, names, self.folder, environment, cost)
            self.warm.submit({**job, "id": name}, ())
            return Launched(name, given)
        if place := place_of(os.getpid()):
            environment[CHARTS] = place
        if self.cache:
            environment[KEPT] = f"{self.cache.code(CODE)}:{self.cache.folder.parent}"
        job = make_job(node.path, container, program, given, self.folder, environment, share, digests)
        job["id"] = name
        if self._is_debugged(node):
            return Launched(name, given, debug_job(job))
        venv = venv_of(program, Path(self.folder.path.parent.parent))
        if venv:
            job["venv"] = venv
        self.warm.submit(job, () if venv else needed(program, self.preload))
        return Launched(name, given)

    def outputs(self, node: Node, launched: Launched) -> Outputs:
        """Return what a step that ended well has given, and keep it for later runs.

        Raises:
            OutputError: It is not what its component declares.
        """
        outputs = read_outputs(node.component, launched.given)
        if self.cache and node.cache_key:
            self.cache.put(node.cache_key, node.path, outputs, self.folder.artifacts(node.path))
        return outputs

    def _is_debugged(self, node: Node) -> bool:
        return bool(self.debug) and (self.debug in ("*", node.path) or node.path.endswith(f"/{self.debug}"))
