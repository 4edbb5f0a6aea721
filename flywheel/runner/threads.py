"""Which threads are in the way of a fork."""

from __future__ import annotations

import os

_SAFE = {"jemalloc_bg_thd"}
"""Threads of libraries that take care of forking themselves (pthread_atfork)."""


def other_threads() -> list[str]:
    """Return the threads besides this one that would make a fork unsafe; none where the system does not tell."""
    names = []
    for thread in os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else ():
        if int(thread) != os.getpid():
            with open(f"/proc/self/task/{thread}/comm") as file:
                names.append(file.read().strip())
    return [name for name in names if name not in _SAFE]
