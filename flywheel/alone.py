"""One process at a time: a lock on a file, which ends with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(file: Path, busy: Callable[[str], object]) -> Iterator[None]:
    """Hold `file` for the block, and wait for it while another process has it.

    Args:
        file: Made if it is not there; it says which process has it.
        busy: Called with who has it before it is waited for; it may raise instead.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.seek(0)
            busy(held.read().strip() or "another process")
            fcntl.flock(held, fcntl.LOCK_EX)
        held.truncate(0)
        held.write(f"process {os.getpid()}")
        held.flush()
        yield
