"""Work on all cores by forked processes: TFDV holds the interpreter's lock, so threads would not be faster."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from flywheel.errors import DataError

Task = TypeVar("Task")
WORTH_A_FORK = 100_000
"""Cost of work, in rows, below which one more process takes longer than it saves."""


def spread(work: Callable[[Task], Any], tasks: Sequence[Task], costs: Sequence[int]) -> Iterator[Any]:
    """Yield `work(task)` of each task in order, done by several processes when that is worth it and safe.

    Results travel pickled. The order, and so whatever is made of the results, is the same with any number of cores.

    Raises:
        DataError: A process died.
        Exception: Whatever `work` raised, the first one in the order of the tasks.
    """
    processes = min(cores(), len(tasks), sum(costs) // WORTH_A_FORK)
    if processes < 2 or not _may_fork():
        yield from map(work, tasks)
        return
    mine = _shares(costs, processes)
    workers = [_Worker(work, [tasks[index] for index in share]) for share in mine]
    owner = {index: worker for worker, share in zip(workers, mine, strict=True) for index in share}
    try:
        for index in range(len(tasks)):
            yield owner[index].next()
    finally:
        for worker in workers:
            worker.close()


def cores() -> int:
    """Return how many cores this process may use: its share as the runner gave it, or all that it may run on."""
    share = os.environ.get("OMP_NUM_THREADS", "")
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(int(share), free) if share.isdigit() and int(share) else free)


def _shares(costs: Sequence[int], processes: int) -> list[list[int]]:
    """Return the tasks of each process, in order: each task goes to the one that has least to do so far.

    So results come in about the order in which they are wanted, and few of them wait.
    """
    shares: list[list[int]] = [[] for _ in range(processes)]
    load = [0] * processes
    for index, cost in enumerate(costs):
        least = load.index(min(load))
        shares[least].append(index)
        load[least] += cost
    return shares


def _may_fork() -> bool:
    """Whether a forked child can work here: Linux, and no other thread that may hold a lock at this moment.

    Threads that sleep in a pool, as Arrow's and the linear algebra's do, hold none; a child just does without them.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return False
    others = [task for task in Path("/proc/self/task").iterdir() if task.name != str(threading.get_native_id())]
    states = []
    for task in others:
        with suppress(OSError):  # ended meanwhile
            states.append((task / "stat").read_text().rpartition(")")[2].split()[0])
    return all(state == "S" for state in states)


class _Worker:
    """A forked process that does tasks one after the other and sends each result as soon as it has it."""

    def __init__(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> None:
        source, sink = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(source)
            _serve(work, tasks, sink)
        os.close(sink)
        self._results = open(source, "rb")  # until close()

    def next(self) -> Any:
        """Return the result of the next task."""
        try:
            ok, result = pickle.load(self._results)
        except (EOFError, pickle.UnpicklingError):
            raise DataError(
                f"a process that counted rows died ({self._end()})",
                "look for lack of memory; with OMP_NUM_THREADS=1 there is one process only.",
            ) from None
        if ok:
            return result
        raise result

    def close(self) -> None:
        """End the process if it still runs."""
        self._results.close()
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._end()

    def _end(self) -> str:
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        code = os.waitstatus_to_exitcode(status)
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def _serve(work: Callable[[Any], Any], tasks: Sequence[Any], sink: int) -> None:
    """Do the tasks and leave, without any of what the parent would do at its exit."""
    code = 1
    try:
        gc.freeze()  # a collection would touch, and so copy, all that the parent has loaded
        with open(sink, "wb") as results:
            for task in tasks:
                try:
                    answer = (True, work(task))
                except Exception as error:
                    answer = (False, error)
                results.write(pickle.dumps(answer))
                results.flush()
                if not answer[0]:
                    break
        code = 0
    finally:
        os._exit(code)
