"""The scheduler's side of the warm server: which generation runs a step, and what to do when one is lost."""

from __future__ import annotations

import atexit
import contextlib
import os
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flywheel.runner import boot, wire
from flywheel.runner.errors import RunnerError

_MOST = 8
"""Generations for one pipeline; what more components need is loaded in one last. Twice as many, and all start anew."""
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""What libraries read when they load: a pool of threads does not outlive a fork."""


@dataclass(frozen=True)
class StepEnded:
    """A step's process is gone."""

    id: str
    status: int | None
    """Exit code, or minus the signal; None when it was lost with the server."""
    memory: int = 0
    cpu: float = 0.0
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class StepStarted:
    """A step's process is there."""

    id: str
    pid: int


@dataclass(eq=False)
class _Generation:
    connection: socket.socket
    covers: frozenset[str]
    """The modules that were asked of it and of those before it."""
    ready: bool = False
    loading: str = ""
    files: dict[str, int] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    inbox: wire.Inbox = field(default_factory=wire.Inbox)

    def send(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        data = wire.pack(message)
        sent = socket.send_fds(self.connection, [data], list(descriptors)) if descriptors else 0
        self.connection.sendall(data[sent:])


class Warm:
    """Processes that have loaded what steps import, ready to be forked; close it when done."""

    def __init__(self) -> None:
        self.cwd = Path.cwd()
        self.selector = selectors.DefaultSelector()
        self.avoided: set[str] = set()
        """Modules that cannot be loaded before a fork: they crash, or start threads."""
        self._generations: list[_Generation] = []
        self._waiting: list[tuple[dict[str, Any], frozenset[str]]] = []
        self._wanted: list[tuple[str, ...]] = []
        self._owner = os.getpid()

    def prepare(self, needs: Sequence[Sequence[str]]) -> None:
        """Begin to load modules.

        Args:
            needs: For each component, in the order in which the pipeline needs them, the modules that it imports.
        """
        if Path.cwd() != self.cwd or len(self._generations) > 2 * _MOST:
            self.close()
            self.cwd = Path.cwd()
        self._drop_stale()
        self._wanted = [tuple(each) for each in needs]
        self._grow()

    def submit(self, job: dict[str, Any], needs: Sequence[str]) -> None:
        """Run a step as soon as what it needs is loaded."""
        self._waiting.append((job, frozenset(needs)))
        self._dispatch()

    def kill(self, name: str, number: int) -> list[StepEnded]:
        """Send a signal to a step; one that was not even forked is ended here and now."""
        parked = [each for each in self._waiting if each[0]["id"] == name]
        if parked:
            self._waiting = [each for each in self._waiting if each not in parked]
            return [StepEnded(name, -number)]
        for generation in self._generations:
            if name in generation.running:
                with contextlib.suppress(OSError):
                    generation.send({"do": "kill", "id": name, "signal": number})
        return []

    def handle(self, generation: Any) -> Iterator[StepStarted | StepEnded]:
        """Take what a generation says; call it when the selector finds its socket ready."""
        if generation not in self._generations:
            return
        data, _ = wire.receive(generation.connection)
        for message in generation.inbox.feed(data):
            yield from self._take(generation, message)
        if not data:
            yield from self._lose(generation)
        self._dispatch()

    def close(self) -> None:
        """Let all processes go."""
        for generation in self._generations:
            self._drop(generation)
        self._generations = []
        self._waiting = []

    def _take(self, generation: _Generation, message: dict[str, Any]) -> Iterator[StepStarted | StepEnded]:
        event = message["event"]
        if event == "loading":
            generation.loading = message["module"]
        elif event == "loaded" and message.get("threads"):
            generation.loading = message["module"]
            yield from self._lose(generation)
        elif event == "ready":
            generation.ready, generation.loading, generation.files = True, "", message["files"]
        elif event == "started":
            yield StepStarted(message["id"], message["pid"])
        elif event == "ended":
            generation.running.discard(message["id"])
            yield StepEnded(message["id"], message["status"], message["memory"], message["cpu"], message["error"])

    def _lose(self, generation: _Generation) -> Iterator[StepEnded]:
        """Go on without a generation, those grown from it, and the module that it died of."""
        if generation not in self._generations:
            return
        at = self._generations.index(generation)
        lost, self._generations = self._generations[at:], self._generations[:at]
        if at == 0 and not generation.ready:
            self.close()
            raise RunnerError(
                "the process that runs the steps does not start", f"try {sys.executable} -c 'import kfp.dsl'"
            )
        if generation.loading:
            self.avoided.add(generation.loading)
        for each in lost:
            self._drop(each)
            for name in each.running:
                yield StepEnded(name, None)
        self._grow()

    def _drop(self, generation: _Generation) -> None:
        if self._owner == os.getpid():
            with contextlib.suppress(KeyError, ValueError):
                self.selector.unregister(generation.connection)
        generation.connection.close()

    def _drop_stale(self) -> None:
        """Let go of what was loaded from files that have been edited since."""
        for at, generation in enumerate(self._generations):
            if any(_changed(path, time) for path, time in generation.files.items()):
                for each in self._generations[at:]:
                    self._drop(each)
                del self._generations[at:]
                return

    def _grow(self) -> None:
        if not self._generations:
            self._generations.append(self._start())
        for needs in self._wanted:
            last = self._generations[-1]
            modules = [name for name in needs if name not in last.covers and name not in self.avoided]
            if not modules:
                continue
            if len(self._generations) >= _MOST:
                later = [name for each in self._wanted for name in each if name not in self.avoided]
                modules = [name for name in dict.fromkeys(later) if name not in last.covers]
            self._add(last, modules)

    def _add(self, last: _Generation, modules: list[str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                last.send({"do": "grow", "modules": [modules]}, [theirs.fileno()])
            except OSError:
                ours.close()
                return  # it is gone, which `handle` will see
        self._register(_Generation(ours, last.covers | set(modules)))

    def _start(self) -> _Generation:
        ours, theirs = socket.socketpair()
        environment = {**{name: "1" for name in _ONE_THREAD}, "OMP_WAIT_POLICY": "PASSIVE"}
        environment |= {**os.environ, "_KFP_RUNTIME": "true"}
        with theirs:
            subprocess.Popen(
                boot.command("flywheel.runner.server", str(theirs.fileno())),
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, env=environment, start_new_session=True,
            )  # fmt: skip
        generation = _Generation(ours, frozenset())
        self.selector.register(ours, selectors.EVENT_READ, generation)
        return generation

    def _register(self, generation: _Generation) -> None:
        self.selector.register(generation.connection, selectors.EVENT_READ, generation)
        self._generations.append(generation)

    def _dispatch(self) -> None:
        """Hand waiting steps to the leanest generation that has loaded what they need."""
        parked, self._waiting = self._waiting, []
        for job, needs in parked:
            wanted = needs - self.avoided
            able = [each for each in self._generations if wanted <= each.covers] or self._generations[-1:]
            chosen = next((each for each in able if each.ready), None)
            if chosen is None:
                self._waiting.append((job, needs))
                continue
            chosen.running.add(job["id"])
            with contextlib.suppress(OSError):  # then it is gone, and `handle` will say so
                chosen.send({"do": "run", "job": job})


def _changed(path: str, time: int) -> bool:
    try:
        return os.stat(path).st_mtime_ns != time
    except OSError:
        return True


_shared: Warm | None = None
_lock = threading.Lock()


@contextlib.contextmanager
def borrow() -> Iterator[Warm]:
    """Give the process's own warm server, which outlives the run; a new one if another thread is using it."""
    global _shared
    if not _lock.acquire(blocking=False):
        warm = Warm()
        try:
            yield warm
        finally:
            warm.close()
        return
    try:
        if _shared is None or _shared._owner != os.getpid():
            _shared = Warm()
        yield _shared
    finally:
        _lock.release()


@atexit.register
def close() -> None:
    """Let the shared warm server go; the next run starts another."""
    global _shared
    if _shared is not None and _shared._owner == os.getpid():
        _shared.close()
    _shared = None
