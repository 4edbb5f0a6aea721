"""Measures the data gate: every fault of the catalogue on sampled days, and every clean day of the year.

A gate walks the year day by day, as it would in production. A clean day that it blocks is a false alarm; somebody
looks, finds nothing wrong and waives it, so that days after it are compared with it too. On a sampled day, each fault
in turn is done to the tables, the project's query gives that day's rows, and the gate, as it stands that morning, is
asked. A slow fault takes four weeks, on each day of which the gate is asked and learns, until it blocks.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import flywheel
from tests.faults.catalogue import named
from tests.faults.fault import Fault
from tests.faults.gate import Day, Gate, of_the_example
from tests.faults.results import BLOCKED, MISSED, Clean, Results, Trial, alarms_of, outcome
from tests.faults.world import CACHE, EXAMPLE, World

YEAR = tuple(date(2013, 1, 1) + timedelta(count) for count in range(365))
HALVES = {"tune": (date(2013, 3, 1), date(2013, 6, 30)), "report": (date(2013, 7, 1), date(2013, 12, 31))}
"""Days from which faulty ones are sampled. The gate needs eight weeks to learn before it can be tuned."""


@dataclass(frozen=True)
class Task:
    """One day's work for one process: faults by name, each at some sizes, that end on that day."""

    day: date
    faults: tuple[tuple[str, tuple[str, ...]], ...]


def sampled(half: str, count: int, days: int = 1) -> list[date]:
    """Return days of a half spread evenly over it and over the week, none of them in the declared calendar.

    Args:
        half: `tune` or `report`.
        count: How many.
        days: How many days a fault takes that ends on them; all of them are in the half.
    """
    first, last = HALVES[half]
    declared = of_the_example().calendar
    start = first + timedelta(days - 1)
    room = (last - start).days
    found: list[date] = []
    for place in range(count):
        day = start + timedelta(round((place + 0.5) * room / count))
        wanted = place % 7  # every weekday in turn
        day += timedelta((wanted - day.weekday() + 3) % 7 - 3)
        while day.isoformat() in declared or day in found or not start <= day <= last:
            day = day + timedelta(1) if day < last else start
        found.append(day)
    return found


def clean_year() -> Path:
    """Return a file with what the gate says of each clean day; made once a version of the gate."""
    file = CACHE / f"clean-{_version()}.pickle"
    if file.exists():
        return file
    world, gate, found = World(), Gate(), []
    for day in YEAR:
        found.append(gate.judge(day, world.batches(day)))
        gate.learn(found[-1], waived=True)
    partial = file.with_suffix(f".{os.getpid()}")
    partial.write_bytes(pickle.dumps(found))
    partial.replace(file)
    return file


def measure(
    faults: Sequence[Fault], sizes: Sequence[str], half: str, days: int, jobs: int, say: Callable[[str], None]
) -> Results:
    """Return what the gate says of faults, each at some sizes, on `days` sampled days, and of all clean days.

    Args:
        faults: Which; a slow one is tried on a third of the days.
        sizes: Of `small`, `medium`, `large`.
        half: `tune` or `report`.
        days: How many days.
        jobs: Processes at a time.
        say: Told of progress.
    """
    file, declared = clean_year(), of_the_example().calendar
    clean = [
        Clean(day.isoformat(), day.isoformat() in declared, alarms_of(found.checks))
        for day, found in zip(YEAR, pickle.loads(file.read_bytes()), strict=True)
    ]
    found = Results(clean)
    say(f"{len(YEAR)} clean days judged")
    tasks = list(_tasks(faults, sizes, half, days))
    for done, trials in enumerate(_run(tasks, file, jobs), 1):
        found.trials += trials
        caught = sum(trial.caught for trial in found.trials)
        say(f"{done} of {len(tasks)} done: {caught:,} of {len(found.trials):,} trials caught")
    found.trials.sort(key=lambda trial: (trial.fault, trial.size, trial.day))
    return found


def _tasks(faults: Sequence[Fault], sizes: Sequence[str], half: str, days: int) -> Iterator[Task]:
    """Yield work of about equal length, the longest first."""
    for fault in faults:
        if fault.days > 1:
            for day in sampled(half, max(1, days // 3), fault.days):
                yield from (Task(day, ((fault.name, (size,)),)) for size in sizes)
    short = [(fault.name, tuple(sizes)) for fault in faults if fault.days == 1]
    for day in sampled(half, days):
        yield from (Task(day, tuple(short[at : at + 16])) for at in range(0, len(short), 16))


def _run(tasks: Sequence[Task], clean: Path, jobs: int) -> Iterator[list[Trial]]:
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(_work, task, clean) for task in tasks]):
            yield future.result()


class Bench:
    """What a process keeps between tasks: the tables, and the gate as it stood on some morning."""

    def __init__(self, clean: Path) -> None:
        self.world = World()
        self.clean: list[Day] = pickle.loads(clean.read_bytes())
        self._gate, self._next = Gate(), 0

    def gate(self, day: date) -> Gate:
        """Return the gate on the morning of `day`, all days before it clean; not to be taught."""
        place = (day - YEAR[0]).days
        if place < self._next:
            self._gate, self._next = Gate(), 0
        for clean in self.clean[self._next : place]:
            self._gate.learn(clean, waived=True)
        self._next = place
        return self._gate

    def outcome(self, day: date) -> str:
        """Return what the gate said of a clean day."""
        return outcome(alarms_of(self.clean[(day - YEAR[0]).days].checks))


_BENCH: list[Bench] = []


def _work(task: Task, clean: Path) -> list[Trial]:
    if not _BENCH:
        _BENCH.append(Bench(clean))
    bench = _BENCH[0]
    clean = bench.world.digest(task.day)
    return [
        trial
        for name, sizes in task.faults
        for size in sizes
        if (trial := try_one(bench, named(name), size, task.day, clean)) is not None
    ]


def try_one(bench: Bench, fault: Fault, size: str, day: date, clean: tuple[int, int]) -> Trial | None:
    """Return what the gate says of one fault that ends on `day`; None when it changes nothing there."""
    with bench.world.damaged(fault, size, day) as days:
        if bench.world.digest(day) == clean:
            return None
        if len(days) > 1:
            return Trial.of(fault, size, day.isoformat(), **_slowly(bench, days))
        alarms = alarms_of(bench.gate(day).judge(day, bench.world.batches(day)).checks)
        return Trial.of(fault, size, day.isoformat(), alarms, clean=bench.outcome(day))


def _slowly(bench: Bench, days: Sequence[date]) -> dict[str, object]:
    """Return on which day the gate blocked that would not have been blocked without the fault, and why."""
    gate, warned, alarms = bench.gate(days[0]).copy(), None, ()
    for count, day in enumerate(days, 1):
        judged = gate.judge(day, bench.world.batches(day))
        gate.learn(judged, waived=bench.outcome(day) == BLOCKED)
        if bench.outcome(day) == BLOCKED:
            continue
        alarms = alarms_of(judged.checks)
        warned = warned or (count if alarms and bench.outcome(day) == MISSED else None)
        if outcome(alarms) == BLOCKED:
            return {"alarms": alarms, "until": count, "until_warned": warned or count}
    return {"alarms": alarms, "until_warned": warned}


def _version() -> str:
    """Return a digest of everything that decides what the gate says of a clean day."""
    package = Path(flywheel.__file__).parent
    parts = ("profiles", "invariants", "statistics", "config", "evaluation")
    files = [file for part in parts for file in sorted((package / part).rglob("*.py"))]
    files += [
        package / "steps" / "validate.py",
        *(Path(__file__).with_name(f"{name}.py") for name in ("gate", "champion")),
        *sorted(EXAMPLE.glob("*.*")),
    ]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes() if file.is_file() else b"")
    return digest.hexdigest()[:16]
