"""What a span's rows are about: its keys less their times, and how many of those no span of the last weeks had.

Flights of another season, users of another country, machines of another plant: every column may look as usual, since it
has the same carriers, cities and hours. But the numbers of its flights are others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from flywheel.profiles.compare import Measure, share_change
from flywheel.profiles.profile import Hashes, Profile

if TYPE_CHECKING:
    from flywheel.profiles.measure import Values

_KEPT = 2048
"""So many keys of a span are kept, those of the smallest hashes: a share of new ones is true to a hundredth."""


class Keys:
    """The different keys of a span, without the times in them.

    Args:
        columns: What names a row; none, and there are no keys.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self.hashes: Hashes = np.empty(0, np.uint64)

    def add(self, values: Mapping[str, Values]) -> None:
        """Take in some rows."""
        parts = [values[name] for name in self.columns if name in values and values[name].kind != "time"]
        if not parts:
            return
        hashes = np.zeros(len(parts[0].hashes()), np.uint64)
        with np.errstate(over="ignore"):
            for part in parts:
                hashes = (hashes ^ part.hashes()) * np.uint64(0x9E3779B97F4A7C15)
                hashes ^= hashes >> np.uint64(29)
        self.hashes = np.unique(np.append(self.hashes, hashes))[:_KEPT]


def new_keys(profile: Profile, earlier: Sequence[Profile]) -> Measure | None:
    """Return the share of a span's keys that none of `earlier` had; None where most of those had no such keys.

    Of many keys, it is estimated from those of the smallest hashes in all of them (Broder 1997).
    """
    known = [each.keys for each in earlier if len(each.keys) and each.keyed == profile.keyed]
    if not known or 2 * len(known) < len(earlier) or not len(profile.keys):
        return None
    full = [each[-1] for each in (profile.keys, *known) if len(each) == _KEPT]
    mine = profile.keys[profile.keys <= min(full)] if full else profile.keys
    seen = np.isin(mine, np.concatenate(known))
    return share_change(float(np.mean(~seen)), 0.0) if len(mine) else None
