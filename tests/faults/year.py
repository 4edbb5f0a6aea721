"""Make the flights year with faults of every kind of the catalogue, at random days, each until somebody mends it.

python -m tests.faults.year faulty.duckdb [--seed 0]

Drawn are two faults of each kind, and one slow one, at their large size: which, for how many days, and when. So no kind
is left out by chance, as those of the label would be in one draw of twelve out of three.
"""

from __future__ import annotations

import argparse
import random
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb

from tests.faults import categories, joins, labels, rows, slow, values
from tests.faults.fault import Fault
from tests.faults.world import year_file

FIRST, LAST = date(2013, 3, 1), date(2013, 11, 30)
KINDS = (values, categories, rows, joins, labels)
DAYS = (3, 10)
"""A fault is mended after so many days, at least and at most; a slow one when it has come to its size."""


@dataclass(frozen=True)
class Injected:
    """A fault on some days of the year.

    Attributes:
        fault: Which.
        first: Its first day.
        days: How many it lasts.
    """

    fault: Fault
    first: date
    days: int

    @property
    def last(self) -> date:
        """Its last day."""
        return self.first + timedelta(self.days - 1)


def drawn(seed: int) -> list[Injected]:
    """Return what happens in the year, in its order; no two faults at a time."""
    chance = random.Random(seed)
    faults = [fault for kind in KINDS for fault in chance.sample(kind.FAULTS, 2)] + [chance.choice(slow.FAULTS)]
    chance.shuffle(faults)
    lengths = [fault.days if fault.days > 1 else chance.randint(*DAYS) for fault in faults]
    free = (LAST - FIRST).days + 1 - sum(lengths)
    gaps = sorted(chance.randint(0, free) for _ in faults)  # days without a fault up to each of them
    found, taken = [], 0
    for fault, gap, days in zip(faults, gaps, lengths, strict=True):
        found.append(Injected(fault, FIRST + timedelta(gap + taken), days))
        taken += days
    return found


def make(file: Path, found: Iterable[Injected]) -> None:
    """Write the year with those faults, large, to `file`."""
    partial = file.with_name(f".{file.name}.partial")
    shutil.copyfile(year_file(), partial)
    with duckdb.connect(str(partial)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for each in found:
            each.fault.apply(connection, each.first, each.last, each.fault.sizes["large"])
    partial.replace(file)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.year", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    given = parser.parse_args()
    found = drawn(given.seed)
    make(given.file, found)
    for each in found:
        print(f"{each.first} to {each.last}  {each.fault.name}: {each.fault.description}")  # noqa: T201


if __name__ == "__main__":
    main()
