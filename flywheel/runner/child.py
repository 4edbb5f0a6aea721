"""What happens in the process of a step: kfp's own executor runs the component's function, warm."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from flywheel.runner.digest import Digests
from flywheel.runner.environments import enter

_MESSAGE = 8_000
"""Characters of an error's message that are passed on; the whole stands in the log."""
_DIE_WITH_PARENT = 1
_REPORT = "FLYWHEEL_REPORT"
"""Names the descriptor on which a step in another environment says why it failed."""
_THREAD_LIMITS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
try:
    _libc: Any = ctypes.CDLL(None, use_errno=True)
except OSError:
    _libc = None


def run(job: dict[str, Any], report: int) -> NoReturn:
    """Run a step and end this process.

    Args:
        job: What to run: see `steps.make_job`.
        report: A pipe's end on which to say why the step failed.
    """

    def work() -> int:
        _settle(job, report)
        if "exec" in job:
            _become(job)
        if "venv" in job:
            enter(job["venv"], job)
        return execute(job)

    finish(job, report, work)


def finish(job: dict[str, Any], report: int, work: Callable[[], int]) -> NoReturn:
    """Do a step's work, say how it went, and end this process without the clean-up that a fork must not do."""
    code = 1
    try:
        code = work()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            sys.stderr.write(f"{error.code}\n")
    except BaseException as error:  # the process ends here: whatever it was is told and goes no further
        print_error(error, job["program"])
        os.write(report, json.dumps(describe(error)).encode())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code & 0xFF)


def execute(job: dict[str, Any]) -> int:
    """Run the function of a step by kfp's executor in this process; return the exit code."""
    from kfp.dsl import utils
    from kfp.dsl.executor import Executor

    module = utils.load_module(module_name="ephemeral_component", module_directory=job["program"])
    function = getattr(module, job["function"])
    Executor(executor_input=job["executor_input"], function_to_execute=function).execute()
    if job["digests"]:
        remember_digests(job)
    return 0


def remember_digests(job: dict[str, Any]) -> None:
    """Digest the artifacts of a step where it ran, so that the scheduler need not wait for that."""
    digests = Digests(Path(job["digests"]))
    for each in job["executor_input"]["outputs"]["artifacts"].values():
        digests.get(Path(each["artifacts"][0]["uri"]))


def describe(error: BaseException) -> dict[str, Any]:
    """Return what is told of an error; the mistakes of users are known by their base class."""
    from flywheel.errors import FlywheelError

    return {
        "type": type(error).__name__,
        "message": str(error)[:_MESSAGE],
        "user": isinstance(error, FlywheelError),
        "errno": _errno(error),
    }


def _errno(error: BaseException) -> int | None:
    """Return the system's number of an error; shutil tells that of the files of a folder in words alone."""
    if isinstance(error, shutil.Error):
        told = re.search(r"\[Errno (\d+)\]", str(error))
        return int(told[1]) if told else None
    return error.errno if isinstance(error, OSError) else None


def print_error(error: BaseException, program: str) -> None:
    """Write the traceback to the log, from the component's own code on; a user's mistake by its message alone."""
    from flywheel.errors import FlywheelError

    with contextlib.suppress(OSError, ValueError):
        if isinstance(error, FlywheelError) and error.__cause__ is None:
            sys.stderr.write(f"error: {error}\n")
            return
        traceback.print_exception(type(error), error, own_frames(error.__traceback__, program))


def own_frames(trace: TracebackType | None, program: str) -> TracebackType | None:
    """Return the part of a traceback that begins in the component's code; all of it if that never ran."""
    inner = trace
    while inner is not None and not inner.tb_frame.f_code.co_filename.startswith(program):
        inner = inner.tb_next
    return inner or trace


def _settle(job: dict[str, Any], report: int) -> None:
    """Make this process the step's: its own group, log, folder, environment and share of the cores."""
    os.setpgid(0, 0)
    if _libc is not None and hasattr(_libc, "prctl"):
        _libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.set_inheritable(report, "venv" in job)
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.close(nothing)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    os.environ[_REPORT] = str(report)
    faulthandler.enable()
    _limit_threads(job["cores"])


def _become(job: dict[str, Any]) -> None:
    """Turn into the command of a container; what an earlier attempt of that name has left goes first."""
    subprocess.run(job["cleanup"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    os.execv(job["exec"][0], job["exec"])


def main() -> NoReturn:
    """Run the step that a file describes, as the process that `environments.enter` has started."""
    job = json.loads(Path(sys.argv[1]).read_text())
    finish(job, int(os.environ[_REPORT]), lambda: execute(job))


def _limit_threads(cores: int) -> None:
    for name in _THREAD_LIMITS:
        os.environ.setdefault(name, str(cores))
    if cores == 1 or "numpy" not in sys.modules:
        return  # what is loaded was loaded with one thread, and nothing that has threads is
    try:
        import threadpoolctl
    except ImportError:
        return
    threadpoolctl.threadpool_limits(limits=cores)
