"""Where a measure usually is, from its own past, and how unlikely a value beyond that is.

Of each measure the values above its upper quartile tell the tail (a generalised Pareto with a small fixed
shape: Pickands 1975), which reaches further than counting: with 28 spans an empirical p-value cannot go below 1/29.
A score is -log10 of that p-value. Hundreds of measures are looked at in a span, and they move together; so the bar is
set for the largest score of a span, from what the largest score was in usual spans (the max-statistic of Westfall and
Young 1993, its tail fitted too). That holds the rate of false alarms over all columns and checks at once, whatever
their dependence, where Holm's bars would have to assume that each single tail is right far beyond the data.
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
_SHAPES = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0])
_VARIATION = np.array([gamma(1 + 2 / k) / gamma(1 + 1 / k) ** 2 - 1 for k in _SHAPES])
_SHAPES, _VARIATION = _SHAPES[::-1], _VARIATION[::-1]
_VARIED = (float(_VARIATION[0]), float(_VARIATION[-1]))
_FLOORS = {
    "rows": 0.02, "label rate": 0.02, "repeated rows": 0.01, "rows seen before": 0.02, "champion's score": 0.01,
    "champion's bias": 0.01,
    "nulls": 0.01, "zeros": 0.01, "whole": 0.01, "distinct": 0.03, "distance": 0.01, "shift": 0.005, "length": 0.005,
    "unseen": 0.01, "stale": 0.02, "links": 0.01, "link with the label": 0.02, "drift": 0.005, "level": 0.02,
    "spread": 0.02, "step": 0.02, "surprise": 0.02, "bias": 0.005, "fit": 0.01,
}  # fmt: skip
"""The least scale of a tail: what is smaller harms nobody, however regular the past was."""

_WIDER = 4.0
"""How many times the least scale a tail has before its history says so."""


def check_of(measure: str) -> str:
    """Return the check that a measure is of: what stands before its column."""
    return measure.rpartition(" of ")[0] if measure.rpartition(" of ")[0] in _FLOORS else measure


def column_of(measure: str) -> str:
    """Return the column of a measure; empty when it is of the whole span."""
    return measure[len(check_of(measure)) + 4 :]


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
        scores = self._scores_of_past()
        columns = np.array([column_of(name) for name in self.names])
        joint = [_top(scores[:, columns == column]) for column in sorted(set(columns))]
        self._largest = scores.max(1) if self.names else np.zeros(0)
        self._largest_joint = np.max(joint, axis=0) if joint else np.zeros(0)
        self.bar, self.joint_bar = self.at(false_alarms)

    def at(self, false_alarms: float) -> tuple[float, float]:
        """Return the bars for a single measure and for the three most unusual of a column, half the rate for each."""
        measures, columns = len(self.names), len({column_of(name) for name in self.names})
        return (
            _bar_of_largest(self._largest, false_alarms / 2, measures),
            _bar_of_largest(self._largest_joint, false_alarms / 2, columns),
        )

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
        p = 10.0**-self.bar / (2 if self._both[place] else 1)
        high = self._upper.value_at(place, p)
        return (-self._lower.value_at(place, p) if self._both[place] else -np.inf), high

    def _scores_of_past(self) -> Floats:
        up = self._upper.p_of_past()
        p = np.where(self._both, 2 * np.minimum(up, self._lower.p_of_past()), up)
        with np.errstate(divide="ignore"):
            return np.asarray(-np.log10(np.clip(p, 1e-300, 1.0)))


def together(scores: Sequence[float]) -> float:
    """Return how unusual a column is by its three most unusual measures together: a fault moves more than one."""
    return float(_top(np.asarray([scores], float))[0]) if len(scores) else 0.0


def _top(scores: Floats) -> Floats:
    return np.asarray(-np.sort(-scores, axis=1)[:, :3].sum(1))


class _Tails:
    """The upper tail of each column of a table: a threshold, the share above it, and how fast that falls."""

    def __init__(self, table: Floats, floors: Floats) -> None:
        self._floors = floors
        self.counts = np.isfinite(table).sum(0)
        some = self.counts > 0
        self._threshold = np.zeros(table.shape[1])
        if some.any():
            self._threshold[some] = np.nanquantile(table[:, some], _QUARTILE, axis=0)
        self._excess = np.where(np.isfinite(table), np.maximum(table - self._threshold, 0.0), 0.0)
        self._above = (self._excess > 0).sum(0)
        self._sums = self._excess.sum(0), (self._excess**2).sum(0)
        self._scale, self._shape = self._fitted(*self._sums, self._above)
        self._share = (self._above + 0.5) / (self.counts + 1)

    def _fitted(self, first: Floats, second: Floats, above: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return scale and shape of Weibull tails with these sums of excesses and of their squares, by moments."""
        prior = _PRIOR * _WIDER * self._floors
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


def _gamma(values: Floats) -> Floats:
    from scipy.special import gamma as gammas

    return np.asarray(gammas(values))


def _bar_of_largest(largest: Floats, false_alarms: float, measures: int) -> float:
    """Return what the largest score of a usual span passes with the chance `false_alarms`.

    Were all tails right and independent, the largest of n scores would have an exponential tail of scale 1/ln(10) above
    log10(n): that is where a short history starts from.
    """
    exact = 1 / np.log(10)
    if len(largest) < ENOUGH:
        return float(np.log10(max(measures, 1) / false_alarms))
    middle = float(np.median(largest))
    beyond = largest[largest > middle] - middle
    spread = float(np.median(beyond) / np.log(2)) if len(beyond) else exact
    weight = len(beyond) / (len(beyond) + 10)
    return float(middle + (weight * max(spread, exact) + (1 - weight) * 2 * exact) * np.log(0.5 / false_alarms))
