"""What was ever usual: values, and how far numbers reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flywheel.profiles.distances import deviation
from flywheel.profiles.profile import Column, Floats, Profile
from flywheel.profiles.units import conversion

_MOST_KNOWN = 20_000
_ENOUGH_NUMBERS = 28
_MOST_FRACTIONS = 64
_WIDEST_GAP = 8.0
_MILLIONTHS = 1_000_000
_EXPECTED = 0.01
_FURTHER = 5  # values, none of them new, that are added to a span's own: a rule of succession
_NOT_NEW = 2  # times that a value counts for which an older history did not say so


Counts = NDArray[np.int64]


class Known:
    """All values that words and whole-numbered codes had in usual spans, and how far numbers reached."""

    def __init__(self, profiles: Iterable[Profile] = ()) -> None:
        self.words: dict[str, dict[str, int]] = {}
        self.numbers: dict[str, tuple[Floats, Counts] | None] = {}
        self._fractions: dict[str, list[int] | None] = {}
        self._moments: dict[str, tuple[float, float, float]] = {}
        for profile in profiles:
            self.add(profile)

    def add(self, profile: Profile) -> None:
        """Take in a usual span."""
        for name, column in profile.columns.items():
            if column.kind == "word":
                words = self.words.setdefault(name, {})
                for word in column.values:
                    if word in words or len(words) < _MOST_KNOWN:
                        words[word] = words.get(word, 0) + 1
            elif column.kind == "number":
                before = self.numbers.get(name, (np.empty(0), np.empty(0, np.int64)))
                if before is not None and _all_there(column) and len(before[0]) < _MOST_KNOWN:
                    self.numbers[name] = _merged(before, column.points)
                else:
                    self.numbers[name] = None
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
        numbers = {
            name: None if counted is None else [each.tolist() for each in counted]
            for name, counted in self.numbers.items()
        }
        return {"words": self.words, "numbers": numbers, "fractions": self._fractions, "moments": self._moments}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Known:
        """Return what `to_json` gave."""
        known = cls()
        known.words = {
            name: dict(words) if isinstance(words, Mapping) else dict.fromkeys(words, _NOT_NEW)
            for name, words in values["words"].items()
        }
        known.numbers = {name: _numbers(counted) for name, counted in values["numbers"].items()}
        known._fractions = dict(values.get("fractions", {}))
        known._moments = {name: tuple(moments) for name, moments in values["moments"].items()}
        return known

    def unseen(self, name: str, column: Column) -> float | None:
        """Return the share of values that were never there before; None where that cannot be told.

        Where new ones are to be expected a few values prove little: that all of two gusts are new. How likely one is
        follows from how many of the values that were ever there came in one span only (Good 1953).
        """
        if column.kind == "word" and name in self.words:
            counts = self.words[name]
            new = [share for word, share in column.values.items() if word not in counts]
            return _surprising(new, len(column.values), np.fromiter(counts.values(), np.int64, len(counts)))
        counted = self._counted(name, column)
        if counted is None:
            return None
        return _surprising(column.masses[~np.isin(column.points, counted[0])], column.distinct, counted[1])

    def converted(self, name: str, column: Column) -> tuple[float, float] | None:
        """Return how little likely it is that numbers are of the usual unit, and the factor of the one they look like.

        As `units.conversion` says it; None where that cannot be told.
        """
        counted = self._counted(name, column)
        return None if counted is None else conversion(column.points, *counted)

    def _counted(self, name: str, column: Column) -> tuple[Floats, Counts] | None:
        """Return the numbers that were usual and in how many spans, where enough of those told all that they had."""
        if column.kind != "number" or not _all_there(column):
            return None
        return self.numbers.get(name) if self._moments.get(name, (0.0,))[0] >= _ENOUGH_NUMBERS else None

    def between(self, name: str, column: Column) -> float | None:
        """Return the share of numbers that were never there, though near ones on both sides were: another unit or grid.

        None where that cannot be told. A gale beyond all winds before is not between them, nor is it between them and
        an outlier that was ten times as high.
        """
        counted = self._counted(name, column)
        if counted is None or len(counted[0]) < 2:
            return None
        points = counted[0]
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


def _all_there(column: Column) -> bool:
    return column.distinct == len(column.points)


def _merged(known: tuple[Floats, Counts], points: Floats) -> tuple[Floats, Counts]:
    """Return the numbers of `known` and `points`, ascending, with the number of spans that had each."""
    merged, place = np.unique(np.concatenate([known[0], points]), return_inverse=True)
    return merged, np.bincount(place, np.append(known[1], np.ones(len(points)))).astype(np.int64)


def _numbers(counted: Any) -> tuple[Floats, Counts] | None:
    if counted is None:
        return None
    points, spans = counted if counted and isinstance(counted[0], list) else (counted, [_NOT_NEW] * len(counted))
    return np.asarray(points, float), np.asarray(spans, np.int64)


def _surprising(new: Sequence[float] | Floats, distinct: int, spans: Counts) -> float:
    """Return the share of new values, less where they are a few of few and new ones are to be expected."""
    chance = np.count_nonzero(spans == 1) / max(spans.sum(), 1)
    expected = 1 - (1 - chance) ** distinct
    return float(np.sum(new)) * (distinct / (distinct + _FURTHER) if expected > _EXPECTED else 1.0)
