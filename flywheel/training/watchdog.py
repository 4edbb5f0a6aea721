"""The time budget of a trainer: it may end in time by itself; when it does not, it is ended."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from flywheel.archive import UNPACKED
from flywheel.errors import TrainerError


def grace_of(budget: float) -> float:
    """Return the seconds that a trainer has to end after its budget: a tenth of it, 10 s to 5 minutes."""
    return min(300.0, max(10.0, budget / 10))


def place(frame: FrameType | None) -> str:
    """Return where a frame is, as `trainer.py:12`: in the user's code if that called it, else wherever it is."""
    at = frame
    while at and UNPACKED not in at.f_code.co_filename:
        at = at.f_back
    if at:
        return f"{at.f_code.co_filename.partition(UNPACKED)[2].partition(os.sep)[2]}:{at.f_lineno}"
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "an unknown line"


@contextmanager
def watched(budget: float | None, trainer: str, grace: float | None = None) -> Iterator[None]:
    """Raise in what runs in the block when it is still at it `grace` seconds after its budget.

    What does not even come back to Python then ends with the process, as long again later, after a traceback of every
    thread in the log.

    Args:
        budget: Seconds; None for no limit.
        trainer: Its name.
        grace: Seconds; of the budget, by default.

    Raises:
        TrainerError: The time is over.
    """
    if budget is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    grace = grace_of(budget) if grace is None else grace

    def stop(_number: int, frame: FrameType | None) -> None:
        raise TrainerError(
            f"trainer {trainer!r} was still running {grace:g} s after its time budget of {budget:g} s, "
            f"at {place(frame)}",
            "end it when context.time_left() is small, or give train.time_budget more; does it wait for something?",
        )

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, stop)
    # Again and again: a trainer that catches every exception is not to get away.
    left, _ = signal.setitimer(signal.ITIMER_REAL, budget + grace, max(grace, 0.1))
    faulthandler.dump_traceback_later(budget + 2 * grace + 1, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, max(0.01, left - (time.monotonic() - began)) if left else 0)
        signal.signal(signal.SIGALRM, handler)
