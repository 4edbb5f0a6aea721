"""Where a packaged model is tried: a clean process, in this environment or in one with only what it declares."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.say import say
from flywheel.serving import template, trial

if TYPE_CHECKING:
    import pyarrow as pa

_OURS = "ai-flywheel"
_NOT_INHERITED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""What the runner tells its steps, and a server is not told."""
_TOO_LONG = 1000


@dataclass(frozen=True)
class Outcome:
    """What the trial of a model found.

    Attributes:
        found: Figures by name, as `flywheel.serving.trial` wrote them.
        stage: How far it came: `load`, `example`, `rows`, `speed`, `shadow`, `done`.
        error: Why it went no further; empty when it came to its end.
        answers: The answers to the rows that it was asked with, if it came so far.
        replayed: The answers to the logged requests, if there were any and it came so far.
    """

    found: dict[str, Any] = field(default_factory=dict)
    stage: str = "load"
    error: str = ""
    answers: pa.Table | None = None
    replayed: pa.Table | None = None


def attempt(
    model: Path,
    rows: pa.Table,
    shadow: pa.Table | None,
    *,
    python: Path | None = None,
    timeout: float = 300.0,
    **how: Any,
) -> Outcome:
    """Try a model in a process of its own; whatever it does there is part of the outcome, never an error here.

    Args:
        model: MLflow model folder.
        rows: Raw rows to ask it with.
        shadow: Logged requests to ask it with too.
        python: Interpreter of the environment; this one's by default.
        timeout: Seconds that all of it may take.
        **how: Further settings of the job, as `repeats`.
    """
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory(prefix="flywheel-trial-") as name:
        folder = Path(name)
        pq.write_table(rows, folder / trial.ROWS)
        if shadow is not None:
            pq.write_table(shadow, folder / trial.SHADOW)
        job = trial.Job(str(model.absolute()), name, **how)
        ended = _run(str(python or sys.executable), job, folder, timeout)
        if not (folder / trial.RESULT).exists():
            stage = folder / trial.STAGE
            return Outcome(stage=stage.read_text() if stage.exists() else "load", error=ended, **_tables(folder))
        found = json.loads((folder / trial.RESULT).read_text())
        return Outcome(found, found.pop("stage"), found.pop("error", ""), **_tables(folder))


def _run(python: str, job: trial.Job, folder: Path, timeout: float) -> str:
    """Run the trial and return how it ended, as the reason why there is no result."""
    code = _forked(python, job, timeout)
    if code is None:
        code = _fresh(python, job, folder, timeout)
    if code == _TOO_LONG:
        return f"it did not end within {timeout:g} s"
    lines = (folder / "log").read_text(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    return f"its process was ended by signal {-code}" if code < 0 else f"its process ended with code {code}: {last}"


def _fresh(python: str, job: trial.Job, folder: Path, timeout: float) -> int:
    """Try in a Python that is started for it, and return its exit code."""
    with (folder / "log").open("wb") as log:
        process = _start([python, "-I", "-m", trial.__name__, job.to_json()], cwd=folder, stdout=log, stderr=log)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return _TOO_LONG
        finally:
            _end(process.pid)
            process.wait()


def _forked(python: str, job: trial.Job, timeout: float) -> int | None:
    """Try in a fork of the template of this environment, and return its exit code; None if there is no template.

    It is the parent's, a runner that goes on to further runs: its next candidates find what they need imported.
    """
    path = _socket(python)
    if path is None:
        return None
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        if not _connect(connection, path):
            command = [python, "-I", "-m", template.__name__, str(path), str(os.getppid())]
            process = _start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while not _connect(connection, path):
                if process.poll() is not None:
                    return None
                time.sleep(0.01)
        connection.sendall(job.to_json().encode())
        connection.settimeout(timeout)
        with connection.makefile() as said:
            started = said.readline()
            if not started:
                return None
            try:
                ended = said.readline()
            except TimeoutError:
                return _TOO_LONG
            finally:
                _end(int(started))
            return int(ended) if ended else None
    return None


def _socket(python: str) -> Path | None:
    """Return where the template of an environment listens, one for each parent; None where nobody else keeps out."""
    folder = Path(tempfile.gettempdir(), f"flywheel-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        return None
    about = [python, os.getppid(), *(Path(file).stat().st_mtime_ns for file in (trial.__file__, template.__file__))]
    return folder / hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]


def _connect(connection: socket.socket, path: Path) -> bool:
    try:
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    return True


def _start(command: list[str], **how: Any) -> subprocess.Popen[bytes]:
    environment = {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True, **how)


def _end(process: int) -> None:
    """End the trial, and what it may have started."""
    with contextlib.suppress(ProcessLookupError):  # it has ended, and started nothing that lives on
        os.killpg(process, 9)


def _tables(folder: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    named = {"answers": trial.ANSWERS, "replayed": trial.REPLAYED}
    return {key: pq.read_table(folder / file) for key, file in named.items() if (folder / file).exists()}


def requirements(model: Path) -> tuple[str, ...]:
    """Return what a model declares that it needs, without this library, and what this library itself needs."""
    file = model / "requirements.txt"
    lines = [line.strip() for line in file.read_text().splitlines()] if file.exists() else []
    declared = [line for line in lines if line and not line.startswith("#")]
    others = [line for line in declared if not line.lower().replace("_", "-").startswith(_OURS)]
    if len(others) == len(declared):
        return tuple(sorted(others))
    core = [line for line in importlib.metadata.requires(_OURS) or () if "extra ==" not in line]
    return tuple(sorted({*others, *core}))


def environment(model: Path, root: Path) -> Path:
    """Return the Python of an environment with only what `model` declares, made now if there is none.

    This library is the one that runs here: a link, so that it need not be on any index.

    Args:
        model: MLflow model folder.
        root: Where environments are kept, a folder for each set of requirements.

    Raises:
        EnvironmentFailed: Something cannot be installed.
    """
    import flywheel
    from flywheel.runner.environments import make

    wanted = requirements(model)
    key = hashlib.sha256(json.dumps([sys.version, *wanted]).encode()).hexdigest()[:20]
    path = root.absolute() / key
    if not path.exists():
        say(f"making an environment with {len(wanted)} requirements of the model")
    python = make({"path": str(path), "packages": list(wanted), "options": [], "alone": True})
    [packages] = path.glob("lib/python*/site-packages")
    link, here = packages / "flywheel", Path(flywheel.__file__).parent
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(here)
    return python
