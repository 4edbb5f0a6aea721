"""Where a helper process is asked: a socket that goes with the process it is for, or when nobody asks for long."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

IDLE = 120.0
"""Seconds after which it goes when nobody asked."""
_LOOKS_UP = 1.0


class Standby:
    """A socket that stands, from the beginning, where it can be asked.

    Args:
        path: Where; one that is started later takes its place.
        owner: Process without which there is nothing to do.
    """

    def __init__(self, path: Path, owner: int) -> None:
        self._path, self._owner = path, owner
        self._listening = socket.socket(socket.AF_UNIX)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        self._listening.bind(str(unfinished))
        self._listening.listen()
        self._inode = unfinished.stat().st_ino
        unfinished.rename(path)

    def asked(self, meanwhile: Callable[[], object] = lambda: None) -> Iterator[socket.socket]:
        """Yield a connection for each who asks, closed when the next is asked for, as long as it is of use.

        Args:
            meanwhile: Called about once a second, and before each who asks.
        """
        last = time.monotonic()
        while _alive(self._owner) and time.monotonic() - last < IDLE and stands(self._path, self._inode):
            meanwhile()
            if not select.select([self._listening], [], [], _LOOKS_UP)[0]:
                continue
            connection, _ = self._listening.accept()
            with connection:
                yield connection
            last = time.monotonic()

    def close(self) -> None:
        """Let go of the socket: a fork that stays would else keep it open."""
        self._listening.close()

    def leave(self) -> bool:
        """Close and remove the socket; false if another has taken its place."""
        self.close()
        if not stands(self._path, self._inode):
            return False
        self._path.unlink()
        return True


def stands(path: Path, inode: int) -> bool:
    """Return whether what is at `path` is still the file of that inode."""
    try:
        return path.stat().st_ino == inode
    except FileNotFoundError:
        return False


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
