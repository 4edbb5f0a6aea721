"""Serve the champion on this machine by the Open Inference Protocol, in this process or beside it."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from flywheel.errors import FlywheelError, MissingExtra, ServingError
from flywheel.say import say
from flywheel.serving.folder import Deployment, ServingFolder
from flywheel.serving.request import curl_line

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Running", "curl_line", "running", "serve", "serve_in_background", "stop"]

HOST, PORT = "127.0.0.1", 8080
PIDFILE, LOG = "serve.pid", "serve.log"


def serve(
    serving: Path,
    name: str,
    host: str = HOST,
    port: int = PORT,
    *,
    grpc_port: int = 0,
    metrics_port: int | None = None,
    say: Callable[[str], object] = say,
) -> None:
    """Answer requests with the model in service until a signal ends it; a new champion takes over without a restart.

    Args:
        serving: The serving folder that `deploy` writes to.
        name: Of the model.
        host: Address to listen on.
        port: Port of the REST protocol.
        grpc_port: Port of the gRPC protocol; 0 for one that is free.
        metrics_port: Port of the Prometheus metrics; none are kept without.
        say: Called with each line worth telling; one when requests are answered.

    Raises:
        ServingError: Nothing is deployed yet, a port is in use, or the model does not load.
        MissingExtra: MLServer is not installed.
    """
    import asyncio

    folder = ServingFolder(serving / name)
    folder.model()
    for asked in (port, grpc_port, metrics_port or 0):
        check_port(host, asked)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from flywheel.ledger import engine  # noqa: F401  (MLflow, told to be quiet)
        from flywheel.serving import server
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{error.name!r} is not installed", "pip install 'ai-flywheel[local]'.") from error

    url = f"http://{host}:{port}"

    def ready(deployment: Deployment) -> None:
        what = f"{name} version {deployment.version} of span {deployment.span}"
        say(f"serving {what} at {url}; ask it with\n{curl_line(serving, name, url)}")

    try:
        asyncio.run(server.run(folder, host, port, grpc_port, metrics_port, ready, say))
    except KeyboardInterrupt:
        return  # that is how it is stopped, here before it was ready
    except server.LoadError as error:
        raise ServingError(f"the model in {folder.path} does not load: {error}", "run the flywheel again.") from error


def check_port(host: str, port: int) -> None:
    """Return when `port` is free, or 0.

    Raises:
        ServingError: Another process listens there, or this one may not.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = "is in use" if "in use" in str(error) else f"cannot be had: {error.strerror}"
            raise ServingError(f"port {port} of {host} {reason}", "choose another one with `--port`.") from None


@dataclass(frozen=True)
class Running:
    """A server in the background.

    Attributes:
        pid: Its process.
        url: Where it listens.
        folder: Serving folder of its model.
    """

    pid: int
    url: str
    folder: str


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


def serve_in_background(
    serving: Path,
    name: str,
    state: Path,
    host: str = HOST,
    port: int = PORT,
    *,
    timeout: float = 180.0,
    say: Callable[[str], object] = say,
) -> str:
    """Serve in a process of its own that outlives this one, and return its URL once it answers.

    One that runs already for the same folder and port is left as it is; another one is stopped first.

    Args:
        serving: The serving folder that `deploy` writes to.
        name: Of the model.
        state: Folder for the pid file and the log, `.flywheel`.
        host: Address to listen on.
        port: Port of the REST protocol.
        timeout: Seconds to wait until it answers.
        say: Called with each line worth telling.

    Raises:
        ServingError: Nothing is deployed yet, the port is in use, or the server did not come up.
    """
    folder = ServingFolder(serving / name)
    folder.model()
    url = f"http://{host}:{port}"
    alive = running(state)
    if alive and (alive.url, alive.folder) != (url, str(folder.path)):
        stop(state)
        alive = None
    process = None
    if alive is None:
        check_port(host, port)
        say(f"starting the model server; its log is {state / LOG}")
        process = _start(serving, name, state, host, port)
    _wait(f"{url}/v2/models/{name}/ready", process, state / LOG, timeout, say)
    say(f"serving {name} at {url}; ask it with\n{curl_line(serving, name, url)}")
    return url


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


def _start(serving: Path, name: str, state: Path, host: str, port: int) -> subprocess.Popen[bytes]:
    state.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", __name__, str(serving), name, str(state / PIDFILE), host, str(port)]
    with (state / LOG).open("wb") as log:
        return subprocess.Popen(
            command, cwd=state, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def _wait(
    url: str, process: subprocess.Popen[bytes] | None, log: Path, timeout: float, say: Callable[[str], object]
) -> None:
    told = 0.0
    for waited in _until(timeout):
        if process is not None and process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
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


def _main() -> int:
    """Serve as the background process: hold the pid file's lock for life."""
    parser = argparse.ArgumentParser()
    for argument in ("serving", "name", "pidfile", "host"):
        parser.add_argument(argument)
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    pidfile = Path(given.pidfile)
    with pidfile.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # at most as long as somebody looks who holds it
        file.truncate(0)
        url, folder = f"http://{given.host}:{given.port}", str(Path(given.serving, given.name))
        file.write(json.dumps({"pid": os.getpid(), "url": url, "folder": folder}))
        file.flush()
        try:
            serve(Path(given.serving), given.name, given.host, given.port)
        except FlywheelError as error:
            say(f"error: {error}")
            return 1
        finally:
            pidfile.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    code = _main()
    sys.stdout.flush()
    os._exit(code)  # with TensorFlow loaded an orderly exit takes seconds
