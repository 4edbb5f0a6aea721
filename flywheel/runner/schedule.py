"""Run a graph: start what is ready while cores are free, take what ends, try again, stop."""

from __future__ import annotations

import contextlib
import heapq
import math
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.runner import events as ev
from flywheel.runner.errors import StepTimeout
from flywheel.runner.graph import Graph
from flywheel.runner.importing import import_artifact
from flywheel.runner.launch import Launched, Launcher, MadeElsewhere
from flywheel.runner.machine import Cost
from flywheel.runner.nodes import Node
from flywheel.runner.outcome import error_of
from flywheel.runner.result import CANCELLED, FAILED, RUNNING, SKIPPED, SUCCEEDED, TaskError
from flywheel.runner.spec import Container, Importer
from flywheel.runner.tail import Tails
from flywheel.runner.warm import StepEnded

GRACE = 10.0
"""Seconds that a step has to end after SIGTERM."""
_TICK = 0.2
"""Seconds between looks at the logs."""
_AGAIN = 0.05
"""Seconds until a step is looked at again that another run does."""


@dataclass
class _Running:
    node: Node
    cost: Cost
    launched: Launched
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

    def __init__(self, graph: Graph, launcher: Launcher) -> None:
        """Make a scheduler.

        Args:
            graph: What to run; begun here.
            launcher: Begins its steps.
        """
        self.graph, self.launcher = graph, launcher
        self.folder, self.warm, self.machine = launcher.folder, launcher.warm, launcher.machine
        self.events = launcher.events
        self.running: dict[str, _Running] = {}
        self.interrupts = 0
        self._later: list[_Later] = []
        self._tails = Tails(self.folder, self.events)

    def run(self) -> None:
        """Run until every task has ended."""
        try:
            with self._interruptible():
                self.graph.begin()
                while not self.graph.done:
                    self._start_ready()
                    if not self.graph.done:
                        self._wait()
                self._tails.read()
        finally:
            self._leave()

    def _leave(self) -> None:
        """Let nothing go on behind the back of a run that ended by an error of its own."""
        for name, running in self.running.items():
            self.warm.kill(name, signal.SIGKILL)
            self.folder.discard(running.node.path)
            if running.node.claim:
                running.node.claim.release()

    def interrupt(self) -> None:
        """Stop: the first time with exit tasks and a grace, the second time at once."""
        self.interrupts += 1
        self.graph.stop(abort=self.interrupts > 1)
        if self.interrupts == 1:
            self.events(ev.Cancelling(self.folder.id))
        for running in list(self.running.values()):
            if self.interrupts > 1:
                self._kill(running, signal.SIGKILL)
            elif not running.node.is_protected:
                self._terminate(running)
        later, self._later = self._later, []
        for each in later:
            self._fail_or_cancel(each.node, each.node.error)

    def _start_ready(self) -> None:
        """Start what fits, in order; what waits for a GPU lets others pass, what waits for cores does not."""
        passed: list[Node] = []
        ready = self.graph.ready
        while ready:
            node = ready.popleft()
            body = node.component.body
            if refusal := self._refusal(node):
                self.graph.end(node, refusal[0], error=TaskError(refusal[1]))
            elif isinstance(body, Importer):
                self._guard(node, partial(self._import, node, body))
            elif isinstance(body, Container) and not self._take_over(node):
                cost = self.machine.take(body)
                if cost == "cores":
                    ready.appendleft(node)
                    break
                if isinstance(cost, Cost):
                    self._guard(node, partial(self._start, node, body, cost))
                else:
                    passed.append(node)
        ready.extendleft(reversed(passed))

    def _refusal(self, node: Node) -> tuple[str, str] | None:
        if node.attempts and not self.graph.stopping:
            return None  # it has begun: a failure elsewhere does not take its retries
        earlier = self.launcher.earlier
        if earlier and earlier.refuses(node):
            return SKIPPED, f"only {earlier.redo!r} was asked for, and there is no earlier result of this"
        return self.graph.why_not(node)

    def _take_over(self, node: Node) -> bool:
        """End a step that need not run, or put it off while another run does it; false if it has to run."""
        if node.attempts:
            return False
        result, node.started = None, node.started or time.monotonic()
        try:
            with contextlib.suppress(OSError):  # then it is made anew
                result = self.launcher.earlier_result(node)
        except MadeElsewhere:
            self._put_off(node)
            return True
        if result is None:
            node.started = 0.0
            return False
        self.graph.end(node, *result)
        return True

    def _put_off(self, node: Node) -> None:
        if not node.waited:
            node.waited = True
            self.events(ev.TaskWaits(node.path, "another run is doing just this"))
        heapq.heappush(self._later, _Later(time.monotonic() + _AGAIN, node.path, node))

    def _guard(self, node: Node, action: Callable[[], None]) -> None:
        """Do something for a task; the task fails if it cannot be done."""
        try:
            action()
        except FlywheelError as error:
            self.graph.end(node, FAILED, error=TaskError(str(error), type(error).__name__, user=True))

    def _import(self, node: Node, importer: Importer) -> None:
        node.started = time.monotonic()
        self.graph.end(node, SUCCEEDED, import_artifact(node, importer, self.graph.job))

    def _start(self, node: Node, container: Container, cost: Cost) -> None:
        share = max(cost.cores, self.machine.cores // (len(self.running) + len(self.graph.ready) + 1))
        node.state = RUNNING
        self._tails.follow(node.path)
        try:
            launched = self.launcher.launch(node, container, cost, share)
        except BaseException:
            self.machine.give_back(cost)
            raise
        deadline = time.monotonic() + container.timeout if container.timeout else math.inf
        self.running[launched.id] = _Running(node, cost, launched, deadline)
        if launched.ended:
            self._ended(launched.ended)

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
        for ended in self.warm.kill(running.launched.id, number):
            self._ended(ended)

    def _ended(self, message: StepEnded) -> None:
        running = self.running.pop(message.id, None)
        if running is None:
            return
        node = running.node
        self.machine.give_back(running.cost)
        self._tails.read(node.path)
        node.memory, node.cpu = max(node.memory, message.memory), node.cpu + message.cpu
        error = self._error(running, message)
        if error is None:
            try:
                self.graph.end(node, SUCCEEDED, self.launcher.outputs(node, running.launched))
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
        if self.interrupts and (self.interrupts > 1 or not node.is_protected):
            self.graph.end(node, CANCELLED, error=TaskError("the run was stopped"))
        elif node.attempts <= node.task.retry.times and not (error and error.final):
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
