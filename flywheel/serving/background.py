"""The server in a process of its own, that outlives the one that starts it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from flywheel.errors import FlywheelError, ServingError
from flywheel.say import say
from flywheel.serving.local import example, serve
from flywheel.serving.ports import Ports
from flywheel.serving.root import Roots, ServingRoot

if TYPE_CHECKING:
    from collections.abc import Iterator

PIDFILE, LOG = "serve.pid", "serve.log"


@dataclass(frozen=True)
class Running:
    """A server in the background.

    Attributes:
        pid: Its process.
        url: Where it listens.
        what: All that it was started with, as text.
    """

    pid: int
    url: str
    what: str


def running(state: Path) -> Running | None:
    """Return the server that was started in the background, if it lives.

    It holds a lock on its pid file as long as it lives: a pid that another process has by now deceives nobody.
    """
    try:
        with (state / PIDFILE).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _read(file)
    except FileNotFoundError:
        return None
    return None


def start(
    roots: Roots,
    state: Path,
    ports: Ports = Ports(),  # noqa: B008 - frozen
    *,
    timeout: float = 180.0,
    say: Callable[[str], object] = say,
) -> str:
    """Serve in a process of its own that outlives this one, and return its URL once it answers.

    One that runs already with the same folders, settings and ports is left as it is; another one is stopped first.

    Args:
        roots: The folders that `deploy` writes to.
        state: Folder for the pid file and the log, `.flywheel`.
        ports: Where to listen.
        timeout: Seconds to wait until it answers.
        say: Called with each line worth telling.

    Raises:
        ServingError: Nothing is deployed yet, a port is in use, or the server did not come up.
    """
    names = list(roots.require())
    what = json.dumps({"roots": [root.to_json() for root in roots.roots], "ports": asdict(ports)}, sort_keys=True)
    alive = running(state)
    if alive and alive.what != what:
        stop(state)
        alive = None
    process = None
    if alive is None:
        ports.check()
        say(f"starting the model server; its log is {state / LOG}")
        process = _start(what, state)
    _wait([f"{ports.url}/v2/models/{name}/ready" for name in names], process, state / LOG, timeout, say)
    for name in names:
        say(f"serving {name} at {ports.url}; ask it with\n{example(roots, name, ports)}")
    return ports.url


def stop(state: Path, *, timeout: float = 15.0) -> bool:
    """End the server that was started in the background and return whether there was one."""
    alive = running(state)
    if alive is not None:
        os.kill(alive.pid, signal.SIGTERM)
        for _ in _until(timeout):
            if running(state) is None:
                break
        else:
            os.kill(alive.pid, signal.SIGKILL)
    (state / PIDFILE).unlink(missing_ok=True)
    return alive is not None


def _start(what: str, state: Path) -> subprocess.Popen[bytes]:
    state.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", __name__, what, str(state / PIDFILE)]
    with (state / LOG).open("wb") as log:
        return subprocess.Popen(
            command, cwd=state, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def _wait(
    urls: Iterable[str],
    process: subprocess.Popen[bytes] | None,
    log: Path,
    timeout: float,
    say: Callable[[str], object],
) -> None:
    told, left = 0.0, list(urls)
    for waited in _until(timeout):
        if process is not None and process.poll() is not None:
            break
        try:
            while left:
                urllib.request.urlopen(left[0], timeout=5).close()
                left.pop(0)
            return
        except OSError:
            if waited - told >= 5:
                told = waited
                say(f"waiting for the model server for {waited:.0f} s, {timeout:.0f} s at most")
    last = "\n  ".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else ""
    if process is not None and process.poll() is None:
        process.terminate()
    raise ServingError(f"the model server did not come up:\n  {last}", f"the whole log is {log}.")


def _until(timeout: float) -> Iterator[float]:
    """Yield the seconds waited, ten times a second, for `timeout` seconds."""
    begin = time.monotonic()
    while (waited := time.monotonic() - begin) < timeout:
        yield waited
        time.sleep(0.1)


def _read(file: TextIO) -> Running | None:
    for _ in _until(5):
        file.seek(0)
        text = file.read()
        if text:
            return Running(**json.loads(text))
    return None


def _main(what: str, pidfile: Path) -> int:
    """Serve as the background process: hold the pid file's lock for life."""
    given = json.loads(what)
    roots = Roots(tuple(ServingRoot.from_json(values) for values in given["roots"]))
    ports = Ports(**given["ports"])
    with pidfile.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # at most as long as somebody looks who holds it
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "url": ports.url, "what": what}))
        file.flush()
        try:
            serve(roots, ports)
        except FlywheelError as error:
            say(f"error: {error}")
            return 1
        finally:
            pidfile.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    code = _main(sys.argv[1], Path(sys.argv[2]))
    sys.stdout.flush()
    os._exit(code)  # with TensorFlow loaded an orderly exit takes seconds
