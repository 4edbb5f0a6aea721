"""How long a span of a backfill takes, and what it needs of memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from benchmarks import Figure, figure
from benchmarks.run import Memory, project

FIRST, LAST, SPANS = "2013-06-01", "2013-06-08", 8
YEAR = 324
"""Daily spans of 2013 that have 28 days to train on and 14 to judge on."""


def figures() -> list[Figure]:
    """Backfill eight days; the first, which loads the libraries, is left out of what a span takes."""
    with project() as folder:
        command = [sys.executable, "-m", "flywheel", "backfill", str(folder), "--from", FIRST, "--to", LAST, "--json"]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        with Memory(process.pid, every=5.0) as memory:  # more often, looking at twenty processes takes half a core
            out, _ = process.communicate()
        seconds = time.perf_counter() - start
        if process.returncode != 0:
            raise RuntimeError(f"`flywheel backfill` ended with {process.returncode}: see its output above")
    took = [json.loads(line)["took"] for line in out.splitlines()]
    later = sum(took[1:]) / len(took[1:])
    measured = [
        figure("flywheel backfill, a later span", later, "s"),
        figure(f"flywheel backfill, a year of {YEAR} spans, extrapolated from {SPANS}", later * YEAR / 60, "min"),
        figure(f"flywheel backfill, {SPANS} spans", seconds, "s"),
    ]
    if memory.peak:
        measured.append(figure("flywheel backfill, peak memory of all processes", memory.peak / 2**20, "MiB"))
    return measured
