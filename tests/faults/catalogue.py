"""The catalogue of faults that are injected into the flights year to measure what lets no bad day through.

Its sizes were set before there was anything to find them, by what an engineer would say of them:

- **small**: a nuisance, and may go unseen. About one value in fifty is wrong, or all values by less than they move
  from one day to the next.
- **medium**: would visibly harm a model or a dashboard. About one value in five is wrong, or a share that leaves a
  tenth to a third of the rows out, or all values by about as much as the days of a month differ from each other.
- **large**: a broken feed. All or nearly all values are wrong, the main part of a category or of the rows is gone, or
  all values are off by more than the days of a season differ.

Where another share says the same of a fault it is set for that fault: one test row in fifty is already medium, and
where a value is wrong by a factor of a thousand one in a hundred is; half of the late flights, which are a fifth of
all, are medium too.

Two kinds of fault are left out on purpose: a column that is gone and a column of another type. The query fails on the
first, and the second is in the types of the columns and needs no statistics.
"""

from __future__ import annotations

from tests.faults import categories, joins, labels, rows, slow, values
from tests.faults.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *values.FAULTS,
    *categories.FAULTS,
    *rows.FAULTS,
    *joins.FAULTS,
    *labels.FAULTS,
    *slow.FAULTS,
)


def named(name: str) -> Fault:
    """Return the fault of that name."""
    return next(fault for fault in FAULTS if fault.name == name)
