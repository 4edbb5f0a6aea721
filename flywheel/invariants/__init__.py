"""Invariants: what is true of the rows of every day, proposed from the data and accepted by a person like the schema.

Distributions move with the weather; that a route has one distance does not. So an invariant finds what a bar on one
column cannot: a dictionary remapped, a join gone wrong, a unit changed for part of the rows.
"""

from flywheel.invariants.columns import FILE
from flywheel.invariants.file import dump, load, parse, read
from flywheel.invariants.known import Known
from flywheel.invariants.propose import propose
from flywheel.invariants.rules import Determines, Invariant, Ordered, Sum, Unique, Violation
from flywheel.invariants.search import Proposal

__all__ = [
    "FILE",
    "Determines",
    "Invariant",
    "Known",
    "Ordered",
    "Proposal",
    "Sum",
    "Unique",
    "Violation",
    "dump",
    "load",
    "parse",
    "propose",
    "read",
]
