"""Run a graph: start what is ready while cores are free, take what ends, try again, stop."""

from __future__ import annotations

import contextlib
import heapq
import math
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.runner import events as ev
from flywheel.runner.errors import StepTimeout
from flywheel.runner.folder import RunFolder
from flywheel.runner.graph import Graph
from flywheel.runner.importing import import_artifact
from flywheel.runner.nodes import Node
from flywheel.runner.outcome import error_of
from flywheel.runner.program import imports_of, program_of
from flywheel.runner.result import CANCELLED, FAILED, RUNNING, SUCCEEDED, TaskError
from flywheel.runner.spec import Container, Importer
from flywheel.runner.steps import executor_input, make_job, read_outputs
from flywheel.runner.tail import Tails
from flywheel.runner.warm import StepEnded, Warm

GRACE = 10.0
"""Seconds that a step has to end after SIGTERM."""
_TICK = 0.2
"""Seconds between looks at the logs."""


@dataclass
class Machine:
    """What there is to share out among steps."""

    cores: int
    gpus: int = 0

    def cost(self, container: Container) -> tuple[int, int]:
        """Return the cores and GPUs that a step takes: as it asks, but never more than there are."""
        return min(max(container.cores, 1), self.cores), min(container.gpus, self.gpus)


@dataclass
class _Running:
    node: Node
    cost: tuple[int, int]
    given: dict[str, Any]
    deadline: float
    overdue: bool = False
    kill_at: float = math.inf


@dataclass(order=True)
class _Later:
    time: float
    path: str
    node: Node = field(compare=False)


class Scheduler:
    """Runs one graph to its end."""

    def __init__(
        self, graph: Graph, folder: RunFolder, warm: Warm, machine: Machine, events: ev.Events,
        environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Make a scheduler.

        Args:
            graph: What to run; begun here.
            folder: Where to.
            warm: Runs the steps.
            machine: How much may run at the same time.
            events: Told of what happens.
            environment: Of the steps; this process's own when not given.
        """
        self.graph, self.folder, self.warm, self.machine, self.events = graph, folder, warm, machine, events
        self.environment = dict(os.environ if environment is None else environment)
        self.running: dict[str, _Running] = {}
        self.free = Machine(machine.cores, machine.gpus)
        self.interrupts = 0
        self._later: list[_Later] = []
        self._tails = Tails(folder, events)

    def run(self) -> None:
        """Run until every task has ended."""
        with self._interruptible():
            self.graph.begin()
            while not self.graph.done:
                self._start_ready()
                if not self.graph.done:
                    self._wait()
            self._tails.read()

    def interrupt(self) -> None:
        """Stop: the first time with exit tasks and a grace, the second time at once."""
        self.interrupts += 1
        self.graph.stop(abort=self.interrupts > 1)
        if self.interrupts == 1:
            self.events(ev.Cancelling(self.folder.id))
        for running in list(self.running.values()):
            if self.interrupts == 1:
                self._terminate(running)
            else:
                self._kill(running, signal.SIGKILL)
        later, self._later = self._later, []
        for each in later:
            self._fail_or_cancel(each.node, each.node.error)

    def _start_ready(self) -> None:
        """Start what fits, in order; what waits for a GPU lets others pass, what waits for cores does not."""
        passed: list[Node] = []
        ready = self.graph.ready
        while ready:
            node = ready[0]
            refusal = self.graph.why_not(node)
            body = node.component.body
            if refusal:
                ready.popleft()
                self.graph.end(node, refusal[0], error=TaskError(refusal[1]))
            elif isinstance(body, Importer):
                ready.popleft()
                self._guard(node, partial(self._import, node, body))
            elif isinstance(body, Container):
                cores, gpus = self.machine.cost(body)
                if cores > self.free.cores:
                    break
                ready.popleft()
                if gpus > self.free.gpus:
                    passed.append(node)
                    continue
                self._guard(node, partial(self._start, node, body, (cores, gpus)))
        ready.extendleft(reversed(passed))

    def _guard(self, node: Node, action: Callable[[], None]) -> None:
        """Do something for a task; the task fails if it cannot be done."""
        try:
            action()
        except FlywheelError as error:
            self.graph.end(node, FAILED, error=TaskError(str(error), type(error).__name__, user=True))

    def _import(self, node: Node, importer: Importer) -> None:
        node.started = time.monotonic()
        self.graph.end(node, SUCCEEDED, import_artifact(node, importer, self.graph.job))

    def _start(self, node: Node, container: Container, cost: tuple[int, int]) -> None:
        program = program_of(container)
        assert program is not None, "checked before the run"
        node.attempts, node.state = node.attempts + 1, RUNNING
        node.started = node.started or time.monotonic()
        given = executor_input(node.component, node.inputs, self.folder.prepare(node.path))
        share = max(cost[0], self.machine.cores // (len(self.running) + len(self.graph.ready) + 1))
        job = make_job(node.path, container, program, given, self.folder, self.environment, share)
        deadline = time.monotonic() + container.timeout if container.timeout else math.inf
        self.running[node.path] = _Running(node, cost, given, deadline)
        self._occupy(cost, 1)
        self.events(ev.TaskStarted(node.path, node.attempts))
        self._tails.follow(node.path)
        self.warm.submit(job, imports_of(program.source))

    def _occupy(self, cost: tuple[int, int], sign: int) -> None:
        self.free.cores -= sign * cost[0]
        self.free.gpus -= sign * cost[1]

    def _wait(self) -> None:
        """Take what happens next."""
        now = time.monotonic()
        times = [each.deadline for each in self.running.values()] + [each.kill_at for each in self.running.values()]
        next_time = min([*times, self._later[0].time if self._later else math.inf])
        timeout = min(max(0.0, next_time - now), _TICK if self._tails.active else math.inf)
        for key, _ in self.warm.selector.select(None if timeout == math.inf else timeout):
            if callable(key.data):
                key.data()
            else:
                for message in self.warm.handle(key.data):
                    if isinstance(message, StepEnded):
                        self._ended(message)
        self._tails.read()
        self._look_at_clock()

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        for running in list(self.running.values()):
            if now >= running.kill_at:
                running.kill_at = math.inf
                self._kill(running, signal.SIGKILL)
            elif now >= running.deadline:
                running.deadline, running.overdue = math.inf, True
                self._terminate(running)
        while self._later and self._later[0].time <= now:
            self.graph.ready.append(heapq.heappop(self._later).node)

    def _terminate(self, running: _Running) -> None:
        running.kill_at = time.monotonic() + GRACE
        self._kill(running, signal.SIGTERM)

    def _kill(self, running: _Running, number: int) -> None:
        for ended in self.warm.kill(running.node.path, number):
            self._ended(ended)

    def _ended(self, message: StepEnded) -> None:
        running = self.running.pop(message.task, None)
        if running is None:
            return
        node = running.node
        self._occupy(running.cost, -1)
        self._tails.read(message.task)
        node.memory = max(node.memory, message.memory)
        error = self._error(running, message)
        if error is None:
            try:
                self.graph.end(node, SUCCEEDED, read_outputs(node.component, running.given))
                return
            except FlywheelError as problem:
                error = TaskError(str(problem), type(problem).__name__, self.folder.log_tail(node.path), user=True)
        self.folder.discard(node.path)
        self._fail_or_cancel(node, error)

    def _error(self, running: _Running, message: StepEnded) -> TaskError | None:
        path = running.node.path
        if running.overdue:
            limit = running.node.component.body.timeout  # type: ignore[union-attr]
            text = f"the step took longer than the {limit:g} s that it was given"
            return TaskError(text, StepTimeout.__name__, self.folder.log_tail(path), user=True)
        if message.status == 0:
            return None
        return error_of(message, self.folder.log_tail(path))

    def _fail_or_cancel(self, node: Node, error: TaskError | None) -> None:
        """End a task that has failed, or try it again later."""
        if self.interrupts and (self.interrupts > 1 or not (node.is_guard or node.scope.in_guard)):
            self.graph.end(node, CANCELLED, error=TaskError("the run was stopped"))
        elif node.attempts <= node.task.retry.times:
            wait = node.task.retry.delay(node.attempts)
            node.error = error
            heapq.heappush(self._later, _Later(time.monotonic() + wait, node.path, node))
            self.events(ev.TaskRetried(node.path, node.attempts, wait, str(error)))
        else:
            self.graph.end(node, FAILED, error=error)

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM stop the run in an orderly way, where signals can be had (the main thread)."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)

        def remember(number: int, frame: FrameType | None) -> None:
            theirs.send(b"!")

        def notice() -> None:
            for _ in ours.recv(16):
                self.interrupt()

        self.warm.selector.register(ours, selectors.EVENT_READ, notice)
        before: dict[signal.Signals, Any] = {}
        try:
            with contextlib.suppress(ValueError):  # not the main thread
                for number in (signal.SIGINT, signal.SIGTERM):
                    before[number] = signal.signal(number, remember)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.warm.selector.unregister(ours)
            ours.close()
            theirs.close()
