"""Checkpoints: what a retried step goes on from, whole or not there, on this disk or in object storage."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from flywheel.say import say

_SUFFIX = ".checkpoint"
_KEPT = 2
_LARGEST = 10**9


class Checkpoints:
    """The checkpoints of one training, by number; they outlive its process and are cleared when it has ended well.

    A checkpoint is bytes, of whatever form its trainer likes. `save` returns at once, a thread writes: to a temporary
    name that is synced and renamed, so a process that is killed at any moment leaves the former ones as they were.
    (Object storage shows an object only when it is whole.) The newest two stay.

    Args:
        folder: Where: a path, or a URI that fsspec knows, as gs://bucket/path; nothing is kept without one.
        every: Seconds from one checkpoint to the next; infinite for none but the last.
        steps: Steps from one checkpoint to the next, instead of seconds.
        clock: Gives seconds that only grow.
    """

    def __init__(
        self,
        folder: str = "",
        every: float = math.inf,
        steps: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self._every, self._steps, self._clock = folder, every, steps, clock
        self._last = clock()
        self._writer: threading.Thread | None = None
        self._error: BaseException | None = None

    def __bool__(self) -> bool:
        return bool(self.folder)

    def due(self, step: int) -> bool:
        """Return whether it is time for one, `step` being done; not while the one before is still being written."""
        if not self or (self._writer and self._writer.is_alive()):
            return False
        if self._steps is not None:
            return step % self._steps == 0
        return self._clock() - self._last >= self._every

    def save(self, number: int, write: Callable[[], bytes], *, wait: bool = False) -> None:
        """Keep a checkpoint.

        Args:
            number: Of the step that it is of; the largest is the newest.
            write: Gives its bytes; called in a thread, so it must not read what training goes on to change.
            wait: Return only once it is written.

        Raises:
            OSError: This one (when waiting) or the one before could not be written.
        """
        self.join()
        self._last = self._clock()
        self._writer = threading.Thread(target=self._write, args=(number, write), name="checkpoint", daemon=True)
        self._writer.start()
        if wait:
            self.join()

    def join(self) -> None:
        """Wait until what is being written is there.

        Raises:
            OSError: It could not be written.
        """
        if self._writer:
            self._writer.join()
        self._writer, error, self._error = None, self._error, None
        if error:
            raise error

    def newest(self) -> Iterator[tuple[int, bytes]]:
        """Yield (number, bytes) of what is there, the newest first: who cannot read one takes the next."""
        for number in sorted(self._numbers(), reverse=True):
            yield number, self._files.cat_file(self._name(number))

    def clear(self) -> None:
        """Remove them all: training has ended well."""
        self.join()
        if self and self._files.exists(self._root):
            self._files.rm(self._root, recursive=True)

    def _write(self, number: int, write: Callable[[], bytes]) -> None:
        try:
            began = self._clock()
            content = write()
            self._files.makedirs(self._root, exist_ok=True)
            self._put(self._name(number), content)
            for old in sorted(self._numbers())[:-_KEPT]:
                self._files.rm_file(self._name(old))
            say(f"checkpoint of step {number:,}: {len(content) / 2**20:.1f} MiB in {self._clock() - began:.1f} s")
        except BaseException as error:  # raised where training waits for this thread
            self._error = error

    def _put(self, name: str, content: bytes) -> None:
        if not self._is_local:
            self._files.pipe_file(name, content)
            return
        partial = f"{name}.{os.getpid()}.partial"
        with open(partial, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, name)
        folder = os.open(self._root, os.O_RDONLY)
        try:
            os.fsync(folder)  # else the new name itself may be lost with the machine
        finally:
            os.close(folder)

    def _numbers(self) -> list[int]:
        if not self or not self._files.exists(self._root):
            return []
        names = (str(name).rsplit("/", 1)[-1] for name in self._files.ls(self._root, detail=False, refresh=True))
        return [int(name.removesuffix(_SUFFIX)) for name in names if name.endswith(_SUFFIX)]

    def _name(self, number: int) -> str:
        return f"{self._root}/{number:012d}{_SUFFIX}"

    @property
    def _files(self) -> Any:
        import fsspec

        return fsspec.core.url_to_fs(self.folder)[0]

    @property
    def _root(self) -> str:
        import fsspec

        return str(fsspec.core.url_to_fs(self.folder)[1]).rstrip("/")

    @property
    def _is_local(self) -> bool:
        return "://" not in self.folder or self.folder.startswith("file://")


class Preemption:
    """While its block runs, SIGTERM no longer ends this process: it asks for it, and training ends between two steps.

    A second SIGTERM ends the process as ever. Outside the main thread nothing changes.

    Attributes:
        asked: Whether the process was asked to end.
    """

    def __init__(self) -> None:
        self.asked = False
        self._former: Any = None
        self._is_main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Preemption:
        if self._is_main:
            self._former = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_main:
            signal.signal(signal.SIGTERM, self._former)

    def _ask(self, _number: int, _frame: object) -> None:
        self.asked = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def best_interval(write: float, failure: float) -> float:
    """Return the seconds between checkpoints that lose the least time: sqrt(2 * write * failure).

    Young, "A first order approximation to the optimum checkpoint interval", CACM 17(9), 1974. What counts of `write` is
    the time that training stands still, which is little when a thread writes.

    Args:
        write: Seconds that training stands still for one checkpoint.
        failure: Mean seconds between failures, as 6 hours for a spot node that is taken four times a day.
    """
    return math.sqrt(2 * write * failure)
