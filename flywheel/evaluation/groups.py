"""Rows in groups: spans, slices, or all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Groups:
    """A partition of rows: which group each row is in.

    Attributes:
        keys: Value that each group shares, sorted; of clusters, whose values matter to nobody, a range.
        codes: Index into `keys` of each row; -1 for rows in no group.
    """

    keys: Sequence[Any]
    codes: Ints

    @classmethod
    def whole(cls, rows: int) -> Groups:
        """Return the one group of all rows."""
        import numpy as np

        return cls(("",), np.zeros(rows, np.int64))

    def rows(self) -> Ints:
        """Return how many rows each group has."""
        import numpy as np

        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.keys))
