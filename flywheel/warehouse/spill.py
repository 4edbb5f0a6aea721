"""A folder for what a query cannot hold in memory; what a killed process left there is removed by the next one."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_PREFIX, _LOCK = "flywheel-duckdb-", ".lock"
_YOUNG = 60.0
"""Seconds within which a folder may be one whose owner is just about to lock it."""


class Spill:
    """A temporary folder that is locked for as long as its process lives: a lock outlives no process, a folder may."""

    def __init__(self) -> None:
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            _remove_if_left(folder)
        self.path = tempfile.mkdtemp(prefix=_PREFIX)
        self._lock = open(Path(self.path) / _LOCK, "wb")  # until close()
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        """Remove the folder."""
        self._lock.close()
        shutil.rmtree(self.path, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    """Remove a folder that nobody has locked; one of another user, or that goes at this moment, is left alone."""
    with suppress(OSError):
        lock = folder / _LOCK
        if time.time() - lock.stat().st_mtime > _YOUNG:
            with lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
