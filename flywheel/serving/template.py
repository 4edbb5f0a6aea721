"""A clean process that trials of packaged models are forked from, so that many of them pay once for their imports.

It runs as `python -I -m flywheel.serving.template SOCKET OWNER` and is a trial's process before it has begun: nothing
of a run is loaded, no library is told how many threads to use. What the first trial imported of what is installed, it
imports before the second one; of the model's own code, nothing. It goes with its owner, or when nobody asks for long.

It may always fail: whoever asks then starts a process of its own (`flywheel.serving.outside`).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import signal
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

from flywheel.runner.threads import other_threads
from flywheel.serving import trial
from flywheel.standby import Standby

_MOST = 1 << 16


def main(path: str, owner: int) -> None:
    """Serve trials at a socket until the owner is gone.

    Args:
        path: Of the socket; the modules that a trial imported stand beside it.
        owner: Process without which this one has nothing to do.
    """
    modules, standby = Path(path + ".modules"), Standby(Path(path), owner)
    for connection in standby.asked(_reap):
        if not _import(modules):
            break  # not to be forked any more: who asked sees the connection end
        shared = trial.resident("RssFile")
        if os.fork() == 0:
            standby.close()
            _supervise(connection, modules, shared)
    if standby.leave() and not _given_up(modules):
        modules.unlink(missing_ok=True)


def _supervise(connection: socket.socket, modules: Path, shared: float) -> None:
    """Run one trial in a further process, and tell its number and how it ended."""
    job = trial.Job(**json.loads(connection.recv(_MOST)))
    process = os.fork()
    if process == 0:
        connection.close()
        _try(job, modules, shared)
    connection.sendall(f"{process}\n".encode())
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    try:
        connection.sendall(f"{status}\n".encode())
    except BrokenPipeError:
        status = 0  # nobody waits any more
    os._exit(0)


def _try(job: trial.Job, modules: Path, shared: float) -> None:
    try:
        os.setsid()
        os.chdir(job.folder)
        log = os.open(os.path.join(job.folder, "log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        random.seed()
        gc.enable()
        before = set(sys.modules)
        trial.finish(job, shared)
        _tell(modules, before)
        sys.stdout.flush()
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _tell(modules: Path, before: Iterable[str]) -> None:
    """Write down which modules were imported since: of this Python, of what is installed there, and of Flywheel."""
    roots = (sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(trial.__file__)))
    files = {name: getattr(module, "__file__", None) or "" for name, module in list(sys.modules.items())}
    found = [name for name, file in files.items() if name not in before and file.startswith(roots)]
    if found and not _given_up(modules):
        _write(modules, found)


def _given_up(modules: Path) -> bool:
    return modules.exists() and json.loads(modules.read_text()) is None


def _import(modules: Path) -> bool:
    """Import what a trial needed, and return whether this process can still be forked.

    If not, or if it dies of it, the file says `null` for those that come after it.
    """
    if not modules.exists() or _given_up(modules):
        return True
    wanted = json.loads(modules.read_text())
    _write(modules, None)
    gc.disable()
    for name in wanted:
        try:
            importlib.import_module(name)
        except BaseException:  # some modules are not for importing by their names alone; a trial does without
            continue
    gc.collect()
    gc.freeze()
    if not _forks_well():
        return False
    modules.unlink()
    return True


def _write(file: Path, names: list[str] | None) -> None:
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(names))
    unfinished.rename(file)


def _forks_well() -> bool:
    """Return whether no thread is in the way of a fork; some, as OpenBLAS's, end in good order when one is made."""
    process = os.fork()
    if process == 0:
        os._exit(0)
    os.waitpid(process, 0)
    return not other_threads()


def _reap() -> None:
    while True:
        try:
            process, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if process == 0:
            return


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(sys.argv[1], int(sys.argv[2]))
