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

import numpy as np

from flywheel.profiles.compare import UPWARDS
from flywheel.profiles.profile import Floats

ENOUGH = 8
_SHAPE = 0.1
_QUARTILE = 0.75
_PRIOR = 3.0  # the prior scale weighs as much as this many exceedances
_WIDTHS = {
    "rows": 0.08, "label rate": 0.05, "repeated rows": 0.04, "rows of the span before": 0.08,
    "nulls": 0.1, "zeros": 0.1, "whole": 0.1, "distinct": 0.1, "distance": 0.04, "shift": 0.015, "length": 0.03,
    "unseen": 0.05, "links": 0.04, "link with the label": 0.06, "drift": 0.03,
}  # fmt: skip
"""How wide the tail of a measure is before its history says so, and the least that a history can make of it."""


def check_of(measure: str) -> str:
    """Return the check that a measure is of: what stands before its column."""
    return measure.rpartition(" of ")[0] if measure.rpartition(" of ")[0] in _WIDTHS else measure


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
        widths = np.array([_WIDTHS[check_of(name)] for name in self.names])
        self._upper, self._lower = _Tails(table, widths), _Tails(-table, widths)
        self._both = np.array([check_of(name) not in UPWARDS for name in self.names], bool)
        self.bar = _bar_of_largest(self._scores_of_past(), false_alarms, len(self.names))

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
        """Return between which values `name` is not called unusual."""
        place = self._place[name]
        p = 10.0**-self.bar / (2 if self._both[place] else 1)
        high = self._upper.value_at(place, p)
        return (-self._lower.value_at(place, p) if self._both[place] else -np.inf), high

    def _scores_of_past(self) -> Floats:
        up = self._upper.p_of_past()
        p = np.where(self._both, 2 * np.minimum(up, self._lower.p_of_past()), up)
        with np.errstate(divide="ignore"):
            return np.asarray(-np.log10(np.clip(p, 1e-300, 1.0)))


class _Tails:
    """The upper tail of each column of a table: a threshold, the share above it, and how fast that falls."""

    def __init__(self, table: Floats, widths: Floats) -> None:
        self._table, self._widths = table, widths
        self.counts = np.isfinite(table).sum(0)
        some = self.counts > 0
        self._threshold = np.zeros(table.shape[1])
        if some.any():
            self._threshold[some] = np.nanquantile(table[:, some], _QUARTILE, axis=0)
        self._excess = np.where(np.isfinite(table), np.maximum(table - self._threshold, 0.0), 0.0)
        self._above = (self._excess > 0).sum(0)
        self._scale = self._scaled(self._excess.sum(0), self._above)
        self._share = (self._above + 0.5) / (self.counts + 1)

    def _scaled(self, total: Floats, above: Floats) -> Floats:
        return np.asarray(np.maximum((total + _PRIOR * self._widths) / (above + _PRIOR), self._widths / 2))

    def p_value(self, place: int, value: float) -> float:
        """Return the chance of a value of at least `value`."""
        beyond = value - self._threshold[place]
        if beyond <= 0:
            return 1.0
        return float(self._share[place] * (1 + _SHAPE * beyond / self._scale[place]) ** (-1 / _SHAPE))

    def value_at(self, place: int, p: float) -> float:
        """Return the value above which there is the chance `p`."""
        ratio = min(p / self._share[place], 1.0)
        return float(self._threshold[place] + self._scale[place] / _SHAPE * (ratio**-_SHAPE - 1))

    def p_of_past(self) -> Floats:
        """Return the chance of each value of the table, judged by all others of its column."""
        own = self._excess
        scale = self._scaled(self._excess.sum(0) - own, np.maximum(self._above - (own > 0), 0))
        return np.asarray(np.where(own > 0, self._share * (1 + _SHAPE * own / scale) ** (-1 / _SHAPE), 1.0))


def _bar_of_largest(scores: Floats, false_alarms: float, measures: int) -> float:
    """Return what the largest score of a usual span passes with the chance `false_alarms`.

    Were all tails right and independent, the largest of n scores would have an exponential tail of scale 1/ln(10) above
    log10(n): that is where a short history starts from.
    """
    exact = 1 / np.log(10)
    nominal = np.log10(max(measures, 1) / false_alarms)
    if len(scores) < ENOUGH or not measures:
        return float(nominal)
    largest = scores.max(1)
    middle = float(np.median(largest))
    beyond = largest[largest > middle] - middle
    spread = float(np.median(beyond) / np.log(2)) if len(beyond) else exact
    weight = len(beyond) / (len(beyond) + 10)
    return float(middle + (weight * max(spread, exact) + (1 - weight) * 2 * exact) * np.log(0.5 / false_alarms))
