"""The warm server: a process that has imported what steps need, and forks one process per step.

It comes in generations. The first has loaded kfp's executor alone. Told to `grow`, a generation forks: the child
imports more and serves what needs it, the parent goes on serving what does not. So the first steps of a cold run do not
wait until TensorFlow is there, and a library that cannot be loaded this way costs one generation, not the server.

A generation ends, and its steps with it, when the other end of its socket is closed: also when the scheduler is killed.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from flywheel.runner import child, wire
from flywheel.runner.threads import other_threads

_REPORT = 1 << 16


@dataclass
class _Step:
    id: str
    discard: str
    cleanup: list[str]
    """A command to run if it does not end well; empty for none."""
    report: int
    """The end of a pipe on which the step says why it failed: that works on a full disk too."""


class Server:
    """One generation."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.steps: dict[int, _Step] = {}
        self.inbox = wire.Inbox()

    def serve(self) -> None:
        """Answer until the scheduler is gone."""
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            with selectors.DefaultSelector() as selector:
                selector.register(self.connection, selectors.EVENT_READ)
                selector.register(read, selectors.EVENT_READ)
                ready = {key.fd for key, _ in selector.select()}
            if read in ready:
                os.read(read, 4096)
                self.reap()
            if self.connection.fileno() in ready and not self.answer():
                self.leave()

    def answer(self) -> bool:
        """Take what has come; false when the scheduler is gone."""
        data, descriptors = wire.receive(self.connection)
        for message in self.inbox.feed(data):
            if message["do"] == "grow":
                self.grow(message["modules"], socket.socket(fileno=descriptors.pop(0)))
            elif message["do"] == "run":
                self.fork(message["job"])
            elif message["do"] == "kill":
                self.kill(message["id"], message["signal"])
        return bool(data)

    def send(self, **message: Any) -> None:
        """Tell the scheduler; if it is gone, `answer` will see that."""
        try:
            self.connection.sendall(wire.pack(message))
        except OSError:
            return

    def grow(self, modules: list[list[str]], connection: socket.socket) -> None:
        """Fork the next generation, which loads `modules` before it serves."""
        if os.fork():
            connection.close()
            return
        self.connection.close()
        for step in self.steps.values():
            os.close(step.report)
        self.connection, self.steps, self.inbox = connection, {}, wire.Inbox()
        load(modules, self.send)
        self.serve()

    def fork(self, job: dict[str, Any]) -> None:
        """Start a step in a process of its own."""
        read, write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            self.connection.close()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            child.run(job, write)
        os.close(write)
        os.set_blocking(read, False)
        try:
            os.setpgid(pid, pid)
        except OSError:
            pass
        self.steps[pid] = _Step(job["id"], job["discard"], job.get("cleanup", []), read)
        self.send(event="started", id=job["id"], pid=pid)

    def reap(self) -> None:
        """Tell of the steps that have ended."""
        for pid in list(self.steps):
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if not ended:
                continue
            step = self.steps.pop(pid)
            _kill_group(pid, signal.SIGKILL)
            if status and step.cleanup:
                subprocess.run(step.cleanup, capture_output=True, check=False)
            self.send(
                event="ended", id=step.id, status=os.waitstatus_to_exitcode(status),
                memory=usage.ru_maxrss * 1024, cpu=usage.ru_utime + usage.ru_stime, error=_read_report(step.report),
            )  # fmt: skip

    def kill(self, name: str, number: int) -> None:
        """Send a signal to a step and all that it has started."""
        for pid, step in self.steps.items():
            if step.id == name:
                _kill_group(pid, number)

    def leave(self) -> None:
        """End, with every step; what they were writing is removed."""
        for pid in self.steps:
            _kill_group(pid, signal.SIGKILL)
        for pid, step in self.steps.items():
            os.waitpid(pid, 0)
            if step.cleanup:
                subprocess.run(step.cleanup, capture_output=True, check=False)
            if step.discard:
                _remove(step.discard)
        os._exit(0)


def load(groups: list[list[str]], send: Any) -> None:
    """Import modules, and what they declare in `PRELOAD`; tell of each, then of being ready.

    A module that cannot be imported is no error here: the step that needs it will say so.
    """
    gc.disable()
    for modules in groups:
        for name in modules:
            _load_one(name, send)
    gc.enable()
    gc.collect()
    gc.freeze()
    send(event="ready", files=_source_files())


def _load_one(name: str, send: Any, depth: int = 3) -> None:
    started = time.monotonic()
    send(event="loading", module=name)
    try:
        module = importlib.import_module(name)
    except BaseException as error:  # whatever a library does when it is imported, the server goes on
        send(event="loaded", module=name, seconds=time.monotonic() - started, error=f"{type(error).__name__}: {error}")
        return
    for more in getattr(module, "PRELOAD", ()) if depth else ():
        if isinstance(more, str) and more not in sys.modules:
            _load_one(more, send, depth - 1)
    send(event="loaded", module=name, seconds=time.monotonic() - started, error="", threads=other_threads())


def _source_files() -> dict[str, int]:
    """Return the files loaded from outside the Python installation, with their times: they may be edited."""
    files = {}
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None) or ""
        if path and not path.startswith((sys.prefix, sys.base_prefix)):
            try:
                files[path] = os.stat(path).st_mtime_ns
            except OSError:
                continue
    return files


def _remove(folder: str) -> None:
    """Remove a folder at once as far as others see: the run may already go on in another process."""
    gone = f"{folder}.gone-{os.getpid()}"
    try:
        os.rename(folder, gone)
    except OSError:
        return
    shutil.rmtree(gone, ignore_errors=True)


def _kill_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _read_report(descriptor: int) -> dict[str, Any] | None:
    try:
        data = os.read(descriptor, _REPORT)
    except OSError:
        data = b""
    finally:
        os.close(descriptor)
    return dict(json.loads(data)) if data else None


def main() -> None:
    """Serve the socket that the first argument names by its descriptor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = Server(socket.socket(fileno=int(sys.argv[1])))
    load([["kfp.dsl.executor", "kfp.dsl.utils", "threadpoolctl"]], server.send)
    server.serve()
