"""What was ever usual: values, and how far numbers reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flywheel.profiles.distances import deviation
from flywheel.profiles.profile import Column, Floats, Profile

_MOST_KNOWN = 20_000
_ENOUGH_NUMBERS = 28
_MOST_FRACTIONS = 64
_WIDEST_GAP = 8.0
_MILLIONTHS = 1_000_000


class Known:
    """All values that words and whole-numbered codes had in usual spans, and how far numbers reached."""

    def __init__(self, profiles: Iterable[Profile] = ()) -> None:
        self.words: dict[str, set[str]] = {}
        self.numbers: dict[str, Floats | None] = {}
        self._fractions: dict[str, list[int] | None] = {}
        self._moments: dict[str, tuple[float, float, float]] = {}
        for profile in profiles:
            self.add(profile)

    def add(self, profile: Profile) -> None:
        """Take in a usual span."""
        for name, column in profile.columns.items():
            if column.kind == "word":
                words = self.words.setdefault(name, set())
                words.update(column.values if len(words) < _MOST_KNOWN else ())
            elif column.kind == "number":
                before = self.numbers.get(name, np.empty(0))
                few = before is not None and column.distinct == len(column.points) and len(before) < _MOST_KNOWN
                self.numbers[name] = np.union1d(before, column.points) if few else None  # type: ignore[arg-type]
                fractions = self._fractions.get(name, [])
                if fractions is not None:
                    fractions = sorted({*fractions, *_fractions(column.points).tolist()})
                    self._fractions[name] = fractions if len(fractions) <= _MOST_FRACTIONS else None
                if len(column.points):
                    mean = float(np.average(column.points, weights=column.masses))
                    moments = (1.0, mean, deviation(column) ** 2 + mean**2)
                    earlier = self._moments.get(name, (0.0, 0.0, 0.0))
                    self._moments[name] = tuple(a + b for a, b in zip(earlier, moments, strict=True))  # type: ignore[assignment]

    def spread(self, name: str) -> float:
        """Return the standard deviation of a number over all usual spans, each weighing the same; 0 if not known."""
        count, first, second = self._moments.get(name, (0.0, 0.0, 0.0))
        return float(np.sqrt(max(second / count - (first / count) ** 2, 0.0))) if count else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        numbers = {name: None if points is None else points.tolist() for name, points in self.numbers.items()}
        words = {name: sorted(words) for name, words in self.words.items()}
        return {"words": words, "numbers": numbers, "fractions": self._fractions, "moments": self._moments}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Known:
        """Return what `to_json` gave."""
        known = cls()
        known.words = {name: set(words) for name, words in values["words"].items()}
        known.numbers = {
            name: None if points is None else np.asarray(points, float) for name, points in values["numbers"].items()
        }
        known._fractions = dict(values.get("fractions", {}))
        known._moments = {name: tuple(moments) for name, moments in values["moments"].items()}
        return known

    def unseen(self, name: str, column: Column) -> float | None:
        """Return the share of values that were never there before; None where that cannot be told."""
        if column.kind == "word" and name in self.words:
            return sum(share for word, share in column.values.items() if word not in self.words[name])
        points = self.numbers.get(name)
        if self._moments.get(name, (0.0,))[0] < _ENOUGH_NUMBERS:
            return None
        if column.kind == "number" and points is not None and column.distinct == len(column.points):
            return float(column.masses[~np.isin(column.points, points)].sum())
        return None

    def between(self, name: str, column: Column) -> float | None:
        """Return the share of numbers that were never there, though near ones on both sides were: another unit or grid.

        None where that cannot be told. A gale beyond all winds before is not between them, nor is it between them and
        an outlier that was ten times as high.
        """
        points = self.numbers.get(name)
        if points is None or len(points) < 2 or self.unseen(name, column) is None:
            return None
        gaps = np.diff(points)
        place = np.clip(np.searchsorted(points, column.points), 1, len(gaps))
        near = gaps[place - 1] <= _WIDEST_GAP * np.median(gaps)
        inside = (column.points > points[0]) & (column.points < points[-1]) & near
        return float(column.masses[inside & ~np.isin(column.points, points)].sum())

    def odd_fraction(self, name: str, column: Column) -> float | None:
        """Return the share of numbers whose digits after the point no number ever had; None where all digits come."""
        known = self._fractions.get(name)
        if column.kind != "number" or not known or self._moments.get(name, (0.0,))[0] < _ENOUGH_NUMBERS:
            return None
        return float(column.masses[~np.isin(_fractions(column.points), known)].sum())


def _fractions(points: Floats) -> NDArray[np.int64]:
    """Return what stands after the point, in millionths."""
    return np.asarray(np.round((points - np.floor(points)) * _MILLIONTHS).astype(np.int64) % _MILLIONTHS)
