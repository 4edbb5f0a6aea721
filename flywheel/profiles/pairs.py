"""Which values of two columns were never seen together: a flight with another carrier, a plane with other seats.

Each value of either column is one that was always there, so neither looks strange alone. Kept are hashes of pairs, one
table of bits for each two columns whose values come again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from flywheel.profiles.compare import Measure, share_change
from flywheel.profiles.measure import Rows, hash_values

_BITS = 18
_MOST_VALUES = 4096
_MOST_COLUMNS = 24
_MOST_NEW = 0.3
_MOST_FULL = 0.5
_LEAST_SPANS = 14


class Pairs:
    """The pairs of values in earlier rows, for each two columns in which few pairs are new from span to span.

    Args:
        samples: Rows of earlier spans, oldest first; of each the same columns.
        names: The columns to look at.
    """

    def __init__(self, samples: Sequence[Rows], names: Sequence[str]) -> None:
        self._seen: dict[tuple[str, str], NDArray[np.uint8]] = {}
        if len(samples) < _LEAST_SPANS:
            return
        hashed = {name: [hash_values(each.columns[name]) for each in samples] for name in names}
        distinct = {name: len(np.unique(np.concatenate(hashes))) for name, hashes in hashed.items()}
        told = sorted((count, name) for name, count in distinct.items() if 1 < count <= _MOST_VALUES)
        older = len(samples) * 3 // 4
        for left, right in combinations([name for _, name in told[:_MOST_COLUMNS]], 2):
            seen = np.zeros(1 << _BITS, bool)
            places = [_places(a, b) for a, b in zip(hashed[left], hashed[right], strict=True)]
            seen[np.concatenate(places[:older])] = True
            new = float(np.mean(~seen[np.concatenate(places[older:])]))
            seen[np.concatenate(places[older:])] = True
            if new <= _MOST_NEW and seen.mean() <= _MOST_FULL:
                self._seen[left, right] = np.packbits(seen)

    def measures(self, rows: Rows) -> dict[str, Measure]:
        """Return for each column the share of its pairs that were never seen, `pairs of <column>`."""
        hashed: dict[str, NDArray[np.uint64]] = {}
        new: dict[str, list[float]] = {}
        for pair, seen in self._seen.items():
            for name in pair:
                if name not in hashed:
                    hashed[name] = hash_values(rows.columns[name])
            share = float(np.mean(~_are_set(seen, _places(hashed[pair[0]], hashed[pair[1]]))))
            for name in pair:
                new.setdefault(name, []).append(share)
        return {f"pairs of {name}": share_change(float(np.mean(shares)), 0.0) for name, shares in new.items()}


def _are_set(bits: NDArray[np.uint8], places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether each of `places` is set in packed bits."""
    return np.asarray(bits[places >> 3] >> (7 - (places & 7)) & 1, np.bool_)


def _places(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return in which bit each pair stands."""
    with np.errstate(over="ignore"):
        mixed = (left ^ (right * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xFF51AFD7ED558CCD)
    return np.asarray(mixed >> np.uint64(64 - _BITS), np.int64)
