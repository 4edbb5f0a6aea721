"""Propose invariants from rows, for a person to accept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flywheel import labels
from flywheel.invariants import search
from flywheel.invariants.rules import Ordered, Sum
from flywheel.invariants.sample import ROWS, columns_of
from flywheel.invariants.search import Proposal

if TYPE_CHECKING:
    import pyarrow as pa

_MOST = {search.keys: 4, search.dependencies: 12, search.orders: 4, search.sums: 4}
"""What is looked for, and how many of each are shown at most: what nobody reads through protects nothing."""


def propose(batches: Iterable[pa.RecordBatch], label: str, rows: int = ROWS) -> list[Proposal]:
    """Return what is true of the rows and would not be by chance: at most 24, the plainest first.

    Only the smallest keys and determining columns are given, nothing that follows from another, and nothing about the
    label: what determines that is a leak, and no invariant. In bounded memory: of more than `rows` rows an even part
    is looked at.

    Args:
        batches: Rows of many spans, in their order.
        label: The column to predict, or columns as `flywheel.labels` joins them.
        rows: How many to look at.
    """
    columns = columns_of(batches, list(labels.columns_of(label)), rows)
    found = [_plainest(look(columns), most) for look, most in _MOST.items()]
    proposals = [proposal for each in found for proposal in each]
    totals = {(part, rule.total) for each in proposals if isinstance(rule := each.invariant, Sum) for part in rule.of}
    return [
        each for each in proposals if not (isinstance(each.invariant, Ordered) and each.invariant.columns in totals)
    ]


def _plainest(proposals: Iterable[Proposal], most: int) -> list[Proposal]:
    order = sorted(proposals, key=lambda each: (len(each.invariant.columns), each.violations, -each.chance))
    return order[:most]
