"""How long `flywheel run` takes on the flights of 28 days, and how much memory the whole of it needs."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks import Figure, figure

EXAMPLE = Path(__file__).parent.parent / "examples" / "flights"
SPANS = ["2013-06-01", "2013-06-08", "2013-06-15"]
_ADOPTS = 36  # PR_SET_CHILD_SUBREAPER
# What `flywheel run` does, with a clock around each span.
RUN = """
import json, sys, time
from pathlib import Path
from flywheel.local import Flywheel
from flywheel.workspace import Workspace

flywheel = Flywheel(Workspace.open(Path(sys.argv[1]), None, []))
flywheel.check(sys.argv[3:])
taken = []
for span in sys.argv[3:]:
    start = time.perf_counter()
    row = flywheel.run(span)
    taken.append((time.perf_counter() - start, row.outcome, row.why))
Path(sys.argv[2]).write_text(json.dumps(taken))
"""


def figures() -> list[Figure]:
    """Measure a cold run of one span, then three spans in one process."""
    with project() as folder:
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "flywheel", "run", str(folder), "--span", SPANS[0]])
        with Memory(process.pid) as memory:
            code = process.wait()
        cold = time.perf_counter() - start
        if code != 0:
            raise RuntimeError(f"`flywheel run` ended with {code}: see its output above")
    with project() as folder:
        later = [seconds for seconds, _, _ in spans(folder)[1:]]
    measured = [
        figure("flywheel run, one span, cold", cold, "s", at_most=45),
        figure("flywheel run, a later span in the same process", max(later), "s", at_most=15),
    ]
    if memory.peak:
        measured.append(figure("flywheel run, peak memory of all processes", memory.peak / 2**20, "MiB"))
    return measured


def spans(folder: Path) -> list[tuple[float, str, str]]:
    """Run the spans one after the other in one process; return seconds, outcome and why of each."""
    found = folder / "taken.json"
    subprocess.run([sys.executable, "-c", RUN, str(folder), str(found), *SPANS], check=True)
    taken: list[tuple[float, str, str]] = json.loads(found.read_text())
    failed = [why for _, outcome, why in taken if outcome not in {"promoted", "kept-champion", "data-rejected"}]
    if failed:
        raise RuntimeError(f"a span was not trained for, so nothing was measured: {failed}")
    return taken


@contextmanager
def project() -> Iterator[Path]:
    """Yield a fresh copy of the example, its warehouse filled."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent, "flights")
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".flywheel"))
        subprocess.run([sys.executable, folder / "load.py"], check=True, stdout=subprocess.DEVNULL)
        yield folder


class Memory:
    """Watches the memory of a process and all that descend from it, pages that they share counted once.

    Attributes:
        peak: The most seen at once, in bytes; 0 where there is no /proc.
    """

    def __init__(self, root: int, every: float = 0.25) -> None:
        self.peak = 0
        self._root, self._every = root, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._every):
            self.peak = max(self.peak, sum(map(proportional, family(self._root))))


def family(root: int) -> dict[int, list[str]]:
    """Return a process and all that descend from it, each with the fields of its `stat` from the state on."""
    known: dict[int, list[str]] = {}
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc") if os.path.isdir("/proc") else ():
        if entry.name.isdigit():
            with suppress(OSError):  # it has ended meanwhile
                fields = Path("/proc", entry.name, "stat").read_text().rpartition(")")[2].split()
                known[int(entry.name)] = fields
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for each in found:  # grows as it is walked
        found += children.get(each, [])
    return {each: known[each] for each in found if each in known}


def processor_time() -> float:
    """Return the seconds of processors that this process and all that descend from it have taken so far."""
    ticks = (sum(map(int, fields[11:15])) for fields in family(os.getpid()).values())  # those of ended children, too
    return sum(ticks) / os.sysconf("SC_CLK_TCK")


@contextmanager
def with_orphans() -> Iterator[None]:
    """Let processes that lose their parent descend from this one, where the system can do that."""
    libc = ctypes.CDLL(None)
    prctl = getattr(libc, "prctl", None)
    if prctl:
        prctl(_ADOPTS, 1)
    try:
        yield
    finally:
        if prctl:
            prctl(_ADOPTS, 0)


def proportional(process: int) -> int:
    """Return a process's memory in bytes, its part of shared pages by the number of those that share them."""
    try:
        lines = Path("/proc", str(process), "smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended, or there is no /proc
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
