"""Rows that cannot be transformed: counted in training, refused in serving."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from flywheel.errors import DataError


def refused(row: int, feature: str, reason: str) -> DataError:
    """Return the error for a row that cannot be transformed where nobody counts such rows."""
    return DataError(f"row {row} cannot be transformed: {feature!r}: {reason}", "mend it.")


class BadRows:
    """Which rows of a batch cannot be transformed, and why; the first reason of a row is kept.

    Args:
        rows: How many rows the batch has.
        refuse: Whether the first one is an error, as in serving, where nobody would look at a list.
    """

    def __init__(self, rows: int, *, refuse: bool = False) -> None:
        self.rows, self.refuse = rows, refuse
        self.reasons: dict[int, tuple[str, str]] = {}

    def add(self, rows: Iterable[int], feature: str, reason: str) -> None:
        """Take rows that `feature` cannot read.

        Raises:
            DataError: Bad rows are refused.
        """
        for row in rows:
            if self.refuse:
                raise refused(int(row), feature, reason)
            self.reasons.setdefault(int(row), (feature, reason))

    def __len__(self) -> int:
        return len(self.reasons)

    def mask(self) -> NDArray[np.bool_]:
        """Return where the bad rows are."""
        found = np.zeros(self.rows, dtype=bool)
        found[list(self.reasons)] = True
        return found
