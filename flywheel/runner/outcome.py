"""Say why the process of a step ended as it did."""

from __future__ import annotations

import errno
import os
import signal

from flywheel.runner.errors import DiskFull, StepDied
from flywheel.runner.result import TaskError
from flywheel.runner.warm import StepEnded

_HINTS = {
    "SIGKILL": "; if nobody did that, the machine was out of memory: see `dmesg`",
    "SIGSEGV": ", a crash in native code: the last lines of its log say where",
}


def error_of(ended: StepEnded, log: str) -> TaskError:
    """Return why a step that did not end well has failed.

    Args:
        ended: What is known of its end.
        log: The last lines of its log.
    """
    told = ended.error
    if told and told.get("errno") in (errno.ENOSPC, errno.EDQUOT):
        where = told["message"] if told["type"] == "OSError" else os.strerror(told["errno"])
        text = f"no space left on the disk: {where}\n  free some, then resume the run."
        return TaskError(text, DiskFull.__name__, log, user=True)
    if told:
        return TaskError(told["message"] or told["type"], told["type"], log, user=told["user"], final=told["user"])
    return TaskError(_cause(ended.status), StepDied.__name__, log, user=True)


def _cause(status: int | None) -> str:
    if status is None:
        return "the process of the step was lost, together with the server that it was forked from"
    if status >= 0:
        return f"the step left by exit code {status}"
    names = {number.value: number.name for number in signal.Signals}
    name = names.get(-status, f"signal {-status}")
    hint = _HINTS.get(name, "")
    return f"the step was killed by {name}{hint}"
