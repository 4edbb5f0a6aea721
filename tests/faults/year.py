"""Make the flights year with faults of the catalogue at random days, each until somebody mends it a week later.

python -m tests.faults.year faulty.duckdb [--faults 12] [--days 7] [--seed 0]
"""

from __future__ import annotations

import argparse
import random
import shutil
from datetime import date, timedelta
from pathlib import Path

import duckdb

from tests.faults.catalogue import FAULTS
from tests.faults.world import year_file

FIRST, LAST = date(2013, 3, 1), date(2013, 12, 1)


def injected(count: int, days: int, seed: int) -> list[tuple[date, str]]:
    """Return on which days which faults begin: none twice, none while another lasts."""
    chance = random.Random(seed)
    names = chance.sample([fault.name for fault in FAULTS if fault.days == 1], count)
    free = list(range((LAST - FIRST).days // days))
    return sorted(
        (FIRST + timedelta(days * place), name) for place, name in zip(chance.sample(free, count), names, strict=True)
    )


def make(file: Path, found: list[tuple[date, str]], days: int) -> None:
    """Write the year with those faults, large, to `file`."""
    faults = {fault.name: fault for fault in FAULTS}
    partial = file.with_name(f".{file.name}.partial")
    shutil.copyfile(year_file(), partial)
    with duckdb.connect(str(partial)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for first, name in found:
            faults[name].apply(connection, first, first + timedelta(days - 1), faults[name].sizes["large"])
    partial.replace(file)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.year", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--faults", type=int, default=12, help="how many (%(default)s)")
    parser.add_argument("--days", type=int, default=7, help="how long each lasts (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    given = parser.parse_args()
    found = injected(given.faults, given.days, given.seed)
    make(given.file, found, given.days)
    for first, name in found:
        print(f"{first}  {name}")  # noqa: T201


if __name__ == "__main__":
    main()
