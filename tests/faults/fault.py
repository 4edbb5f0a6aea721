"""What a fault is, and how its function becomes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

import duckdb

ROWS = "(rows)"
"""Stands among a fault's columns when what is wrong is which rows there are: an alarm on counts or keys is right."""

SHARES = {"small": 0.02, "medium": 0.2, "large": 1.0}
"""The sizes of most faults: the share of the values, or rows, that are hit."""

PARTS = {"small": 0.1, "medium": 0.5, "large": 1.0}
"""The same where a share of the rows is wrong only in some: of labels, or of late flights, a fifth of all."""

RANKS = {"small": 10, "medium": 5, "large": 1}
"""Which carrier is hit, the busiest being 1: one flight in seventy, one in ten, one in six."""

Apply = Callable[[duckdb.DuckDBPyConnection, date, date, float], None]


@dataclass(frozen=True)
class Fault:
    """A way in which data goes wrong.

    Attributes:
        name: One word for it.
        description: What has happened, as an engineer would say it.
        apply: Does it to the tables, for the days first to last, both included. Chooses what to hit by a digest of the
            row's key, so it hits the same each time, and a larger size hits what the smaller hit and more.
        columns: Columns of the query in which the damage is seen. An alarm that names any of them is right; `ROWS`
            when the rows themselves are wrong.
        unit: What a size counts.
        sizes: Sizes by name: `small`, `medium`, `large`; see `catalogue` for what these words mean.
        days: How many days it takes. A fault of more than one day grows evenly to its size on the last.
    """

    name: str
    description: str
    apply: Apply
    columns: tuple[str, ...]
    unit: str
    sizes: Mapping[str, float]
    days: int = 1


def fault(
    description: str,
    columns: tuple[str, ...],
    sizes: Mapping[str, float] = SHARES,
    unit: str = "share of rows",
    days: int = 1,
) -> Callable[[Apply], Fault]:
    """Make a function on the warehouse the fault of that name."""

    def declare(apply: Apply) -> Fault:
        return Fault(apply.__name__, description, apply, columns, unit, sizes, days)

    return declare


def three(small: float, medium: float, large: float) -> Mapping[str, float]:
    """Return sizes by name."""
    return {"small": small, "medium": medium, "large": large}


def declared_in(names: Mapping[str, object]) -> list[Fault]:
    """Return the faults that a module declares, in its order."""
    return [each for each in names.values() if isinstance(each, Fault)]
