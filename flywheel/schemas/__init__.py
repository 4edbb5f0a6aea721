"""The life of a schema: shown, held against data, changed by a person who has seen why."""

from flywheel.schemas.changes import Change, apply, propose
from flywheel.schemas.problems import Problem, problems
from flywheel.schemas.seen import Past, Seen, look
from flywheel.schemas.table import table
from flywheel.schemas.text import dump, has_comments, load, parse, write

__all__ = [
    "Change",
    "Past",
    "Problem",
    "Seen",
    "apply",
    "dump",
    "has_comments",
    "load",
    "look",
    "parse",
    "problems",
    "propose",
    "table",
    "write",
]
