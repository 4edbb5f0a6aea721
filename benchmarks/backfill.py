"""How long a span of a backfill takes, what all its processes take of processors, and what it needs of memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks import Figure, figure
from benchmarks.run import Memory, processor_time, project, with_orphans

FIRST, LAST, SPANS = "2013-06-01", "2013-06-13", 13
YEAR = 324
"""Daily spans of 2013 that have 28 days to train on and 14 to judge on."""


class Took(NamedTuple):
    """What a span took: seconds, and seconds of processors, of all processes."""

    promoted: bool
    wall: float
    cpu: float


def figures() -> list[Figure]:
    """Backfill thirteen days; the first, which loads the libraries, is left out of what a span takes."""
    with project() as folder:
        command = [sys.executable, "-m", "flywheel", "backfill", str(folder), "--from", FIRST, "--to", LAST, "--json"]
        start = time.perf_counter()
        with with_orphans(), subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            with Memory(process.pid, every=5.0) as memory:  # more often, looking at twenty processes takes half a core
                took = list(_spans(process))
            code = process.wait()
        seconds = time.perf_counter() - start
        if code != 0:
            raise RuntimeError(f"`flywheel backfill` ended with {code}: see its output above")
    later = took[1:]
    measured = [
        figure("flywheel backfill, a later span", _mean([each.wall for each in later]), "s"),
        figure("flywheel backfill, processor time of a later span", _mean([each.cpu for each in later]), "s"),
    ]
    for promoted, what in ((False, "not promoted"), (True, "promoted")):
        some = [each for each in later if each.promoted == promoted]
        if some:
            measured += [
                figure(f"flywheel backfill, a later span, {what}", _mean([each.wall for each in some]), "s"),
                figure(f"flywheel backfill, processor time, {what}", _mean([each.cpu for each in some]), "s"),
            ]
    year = _mean([each.wall for each in later]) * YEAR / 60
    measured += [
        figure(f"flywheel backfill, a year of {YEAR} spans, extrapolated from {SPANS}", year, "min"),
        figure(f"flywheel backfill, {SPANS} spans", seconds, "s"),
    ]
    if memory.peak:
        measured.append(figure("flywheel backfill, peak memory of all processes", memory.peak / 2**20, "MiB"))
    return measured


def _spans(process: subprocess.Popen[str]) -> Iterator[Took]:
    """Yield what each span took, as it ends."""
    assert process.stdout is not None
    cpu, at = processor_time(), time.perf_counter()
    for line in process.stdout:
        row, before, since = json.loads(line), cpu, at
        cpu, at = processor_time(), time.perf_counter()
        yield Took(row["outcome"] == "promoted", at - since, cpu - before)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
