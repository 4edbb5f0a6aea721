"""What one check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: Its name.
        state: `fail` keeps a run from working, `warn` may; `skip` is not needed by this flywheel, or cannot be told.
        found: What is there, or what is wrong.
        remedy: What to do, as a sentence of its own; empty when nothing is.
    """

    check: str
    state: Literal["ok", "warn", "fail", "skip"]
    found: str
    remedy: str = ""
