"""Where a measure usually is, from its own past, and how unlikely a value beyond that is.

Of each measure the values above its upper quartile tell the tail, a Weibull law shrunk towards an exponential one; it
reaches further than counting: with 28 spans an empirical p-value cannot go below 1/29. A score is -log10 of that
p-value. Hundreds of measures are looked at in a span, and they move together; so the bar is set for the largest score
of a span, from what the largest score was in usual spans (the max-statistic of Westfall and Young 1993, its tail fitted
too). That holds the rate of false alarms over all columns and checks at once, whatever their dependence, where Holm's
bars would have to assume that each single tail is right far beyond the data.

Measures stand in families, each with a bar of its own and an equal share of the false alarms: how the weather runs is
wild, and would blind a single bar for the number of rows, which hardly changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import gamma

import numpy as np
from numpy.typing import NDArray

from flywheel.profiles.compare import UPWARDS
from flywheel.profiles.profile import Floats

ENOUGH = 8
_QUARTILE = 0.75
_PRIOR = 3.0  # the prior scale weighs as much as this many exceedances
_PRIOR_SHAPE = 10.0  # so does the exponential's shape
_PRIOR_SPREAD = 1.3
_CARE, _GROWN = 10.0, 60
_SHAPES = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0])
_VARIATION = np.array([gamma(1 + 2 / k) / gamma(1 + 1 / k) ** 2 - 1 for k in _SHAPES])
_SHAPES, _VARIATION = _SHAPES[::-1], _VARIATION[::-1]
_VARIED = (float(_VARIATION[0]), float(_VARIATION[-1]))
_FLOORS = {
    "rows": 0.02, "label rate": 0.02, "repeated rows": 0.01, "rows seen before": 0.02, "champion's score": 0.01,
    "nulls": 0.01, "zeros": 0.01, "whole": 0.01, "distinct": 0.03, "distance": 0.01, "shift": 0.005, "length": 0.005,
    "unseen": 0.01, "stale": 0.02, "links": 0.01, "link with the label": 0.02, "drift": 0.015, "level": 0.02,
    "row drift": 0.02, "null drift": 0.01,
    "spread": 0.02, "step": 0.02, "surprise": 0.02, "bias": 0.005, "fit": 0.01,
    "pairs": 0.01, "odd": 0.01, "word": 0.02, "scatter": 0.03, "course": 0.05, "join": 0.02,
    "signal": 0.2, "against": 0.2,
    "between": 0.02, "fraction": 0.02, "common": 0.01, "size": 0.1, "digits": 0.01, "unit": 0.43, "new keys": 0.02,
    "still": 0.03, "stuck": 0.03, "line": 0.05, "agree": 0.03, "again": 0.03,
}  # fmt: skip
"""The least scale of a tail: what is smaller harms nobody, however regular the past was."""

_WIDER = 3.0
"""How many times wider than the least scale a tail is taken to be after eight spans; half of that after sixteen."""

_FAMILIES = {
    "rows": ("rows", "repeated rows", "rows seen before"),
    "values": ("nulls", "unseen", "zeros", "whole", "distinct", "length", "stale"),
    "shape": ("distance", "shift", "level", "spread", "step", "word", "common", "size", "digits"),
    "grid": ("between", "fraction"),
    "units": ("unit",),
    "keys": ("new keys",),
    "drift": ("drift",),
    "counts drift": ("row drift", "null drift"),
    "relations": ("links", "link with the label", "surprise", "odd", "bias", "fit", "pairs"),
    "scatter": ("scatter",),
    "course": ("course", "join"),
    "series": ("still", "stuck", "line", "agree", "again"),
}
"""Checks whose largest scores are held against one bar."""

_FAMILY = {check: family for family, checks in _FAMILIES.items() for check in checks}


def check_of(measure: str) -> str:
    """Return the check that a measure is of: what stands before its column."""
    return measure.partition(" of ")[0]


def column_of(measure: str) -> str:
    """Return the column of a measure; empty when it is of the whole span."""
    return measure.partition(" of ")[2]


class Bars:
    """What is usual, learnt from the measures of earlier spans.

    Args:
        past: Measures of usual spans, oldest first.
        false_alarms: How often a usual span may be called unusual.
    """

    def __init__(self, past: Sequence[Mapping[str, float]], false_alarms: float) -> None:
        self.names = sorted({name for values in past for name in values})
        self._place = {name: index for index, name in enumerate(self.names)}
        table = np.array([[values.get(name, np.nan) for name in self.names] for values in past], float)
        self._spans = len(past)
        if not past:
            table = np.empty((0, len(self.names)))
        floors = np.array([_FLOORS[check_of(name)] for name in self.names])
        self._upper, self._lower = _Tails(table, floors), _Tails(-table, floors)
        self._both = np.array([check_of(name) not in UPWARDS for name in self.names], bool)
        self._families = _families_of(self.names)
        scores = self._scores_of_past()
        self._largest = {
            family: scores[:, [self._families[name] == family for name in self.names]]
            for family in sorted(set(self._families.values()))
        }
        self._bars = self.at(false_alarms)

    def at(self, false_alarms: float) -> dict[str, float]:
        """Return the bar of each family, at which together they call a usual span unusual that often."""
        each = false_alarms / max(len(self._largest), 1)
        return {
            family: _bar_of_largest(scores.max(1), each, scores.shape[1]) for family, scores in self._largest.items()
        }

    def bar(self, name: str, bars: Mapping[str, float] | None = None) -> float:
        """Return the score above which a known measure is unusual, by `bars` of another rate if given."""
        return (self._bars if bars is None else bars)[self._families[name]]

    @property
    def learnt(self) -> bool:
        """Whether the past is long enough to be believed."""
        return self._spans >= ENOUGH

    def knows(self, name: str) -> bool:
        """Whether a measure has enough past of its own."""
        return name in self._place and bool(self._upper.counts[self._place[name]] >= ENOUGH)

    def score(self, name: str, value: float) -> float:
        """Return -log10 of the chance of a value of a known measure as far out as `value`."""
        place = self._place[name]
        up = self._upper.p_value(place, value)
        p = 2 * min(up, self._lower.p_value(place, -value)) if self._both[place] else up
        return float(-np.log10(min(max(p, 1e-300), 1.0)))

    def range(self, name: str) -> tuple[float, float]:
        """Return between which values `name` alone is not called unusual."""
        place = self._place[name]
        p = 10.0 ** -self.bar(name) / (2 if self._both[place] else 1)
        high = self._upper.value_at(place, p)
        return (-self._lower.value_at(place, p) if self._both[place] else -np.inf), high

    def _scores_of_past(self) -> Floats:
        up = self._upper.p_of_past()
        p = np.where(self._both, 2 * np.minimum(up, self._lower.p_of_past()), up)
        with np.errstate(divide="ignore"):
            return np.asarray(-np.log10(np.clip(p, 1e-300, 1.0)))


def _families_of(names: Sequence[str]) -> dict[str, str]:
    """Return the family of each measure; the label has its own, and shapes of columns that run along time have."""
    label = {column_of(name) for name in names if check_of(name) == "label rate"}
    running = {column_of(name) for name in names if check_of(name) == "scatter"}
    found = {}
    for name in names:
        family, column = _FAMILY.get(check_of(name), "others"), column_of(name)
        running_shape = family == "shape" and column in running
        found[name] = "label" if column and column in label else "running shape" if running_shape else family
    return found


class _Tails:
    """The upper tail of each column of a table: a threshold, the share above it, and how fast that falls."""

    def __init__(self, table: Floats, floors: Floats) -> None:
        self._floors = floors
        self.counts = np.isfinite(table).sum(0)
        self._threshold = _quantiles(table, self.counts)
        self._excess = np.where(np.isfinite(table), np.maximum(table - self._threshold, 0.0), 0.0)
        self._above = (self._excess > 0).sum(0)
        self._sums = self._excess.sum(0), (self._excess**2).sum(0)
        self._scale, self._shape = self._fitted(*self._sums, self._above)
        self._share = (self._above + 0.5) / (self.counts + 1)

    def _fitted(self, first: Floats, second: Floats, above: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return scale and shape of Weibull tails with these sums of excesses and of their squares, by moments."""
        wider = 1 + _WIDER * ENOUGH / np.maximum(self.counts, ENOUGH)
        prior = _PRIOR * wider * self._floors
        mean = np.maximum((first + prior) / (above + _PRIOR), self._floors)
        varied = np.where(
            above > 1, second / np.maximum(above, 1) / np.maximum(first / np.maximum(above, 1), 1e-12) ** 2 - 1, 1.0
        )
        varied = (above * np.clip(varied, *_VARIED) + _PRIOR_SHAPE) / (above + _PRIOR_SHAPE)
        shape = np.interp(varied, _VARIATION, _SHAPES)
        return mean / _gamma(1 + 1 / shape), shape

    def p_value(self, place: int, value: float) -> float:
        """Return the chance of a value of at least `value`."""
        beyond = value - self._threshold[place]
        if beyond <= 0:
            return 1.0
        return float(self._share[place] * np.exp(-((beyond / self._scale[place]) ** self._shape[place])))

    def value_at(self, place: int, p: float) -> float:
        """Return the value above which there is the chance `p`."""
        depth = -np.log(min(p / self._share[place], 1.0))
        return float(self._threshold[place] + self._scale[place] * depth ** (1 / self._shape[place]))

    def p_of_past(self) -> Floats:
        """Return the chance of each value of the table, judged by all others of its column."""
        own = self._excess
        first, second = self._sums
        scale, shape = self._fitted(first - own, second - own**2, np.maximum(self._above - (own > 0), 0))
        return np.asarray(np.where(own > 0, self._share * np.exp(-((own / scale) ** shape)), 1.0))


def _quantiles(table: Floats, counts: NDArray[np.int64]) -> Floats:
    """Return the upper quartile of each column, of the values that it has; 0 without any."""
    if not len(table):
        return np.zeros(table.shape[1])
    ordered = np.sort(np.where(np.isfinite(table), table, np.inf), axis=0)
    place = _QUARTILE * np.maximum(counts - 1, 0)
    low, high = np.floor(place).astype(int), np.ceil(place).astype(int)
    columns = np.arange(table.shape[1])
    with np.errstate(invalid="ignore"):
        found = ordered[low, columns] + (place - low) * (ordered[high, columns] - ordered[low, columns])
    return np.asarray(np.where(counts > 0, found, 0.0))


def _gamma(values: Floats) -> Floats:
    from scipy.special import gamma as gammas

    return np.asarray(gammas(values))


def _bar_of_largest(largest: Floats, false_alarms: float, measures: int) -> float:
    """Return what the largest score of a usual span passes with the chance `false_alarms`.

    Were all tails right and independent, the largest of n scores would have an exponential tail of scale 1/ln(10) above
    log10(n): that is where a short history starts from, and a little above it what a longer one is shrunk to. With
    fewer than sixty spans it is higher: the tails themselves are then hardly known.
    """
    exact = 1 / np.log(10)
    young = 1 + _CARE * max(0.0, 1 / max(len(largest), 1) - 1 / _GROWN)
    if len(largest) < ENOUGH:
        return float(np.log10(max(measures, 1) / false_alarms))
    threshold = float(np.quantile(largest, _QUARTILE))
    beyond = largest[largest > threshold] - threshold
    spread = max(float(beyond.mean()), float(np.median(beyond) / np.log(2))) if len(beyond) else exact
    weight = len(beyond) / (len(beyond) + 10)
    scale = weight * max(spread, 0.75 * exact) + (1 - weight) * _PRIOR_SPREAD * exact
    share = weight * len(beyond) / len(largest) + (1 - weight) * (1 - _QUARTILE)  # ties leave fewer above
    return float(young * (threshold + scale * np.log(max(share / false_alarms, 1.0))))
