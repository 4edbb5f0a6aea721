"""Two versions' outcomes, looked at as often as one likes: an interval that is right at all looks at once.

A confidence sequence covers the truth at every time together with probability 1 - alpha, so an experiment may be
stopped the first time that it excludes zero. A test for a fixed number of rows that is read daily is wrong far more
often than it says: read for four weeks at 5%, it calls more than 15% of A/A experiments a difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

SRM_ALPHA = 0.001
FEWEST = 50


@dataclass(frozen=True)
class Arm:
    """Outcomes of one version so far, as sums: of any outcome that is a mean, as accuracy, a loss or clicks.

    Attributes:
        rows: How many outcomes.
        total: Their sum.
        squares: The sum of their squares.
    """

    rows: float
    total: float
    squares: float

    @property
    def mean(self) -> float:
        """Their mean."""
        return self.total / self.rows if self.rows else math.nan

    @property
    def variance(self) -> float:
        """Their sample variance."""
        if self.rows < 2:
            return math.nan
        return max(0.0, (self.squares - self.total**2 / self.rows) / (self.rows - 1))


@dataclass(frozen=True)
class Effect:
    """The difference of two versions.

    Attributes:
        value: Mean outcome of the second less that of the first.
        low: Lower end of the interval that may be looked at any time.
        high: Upper end.
        p: Always-valid p-value of no difference: the least alpha at which this look would exclude it.
    """

    value: float
    low: float
    high: float
    p: float


def effect(first: Arm, second: Arm, alpha: float, planned: float) -> Effect | None:
    """Return how much more the outcome of `second` is, as may be looked at daily; None while there is too little.

    The interval is the asymptotic confidence sequence of a normal mixture (Robbins 1970; Howard et al. 2021,
    "Time-uniform, nonparametric, nonasymptotic confidence sequences"; with estimated variances Waudby-Smith et al.
    2021), for the mean of independent rows. Its p-value is that of the mixture sequential probability ratio test
    (Johari et al. 2017, "Peeking at A/B tests").

    Args:
        first: Outcomes of the version in service.
        second: Outcomes of the other one.
        alpha: How often no difference may be called one, over all looks together.
        planned: Rows at which the interval is to be narrowest; right at any number, if it is the same at all looks.
    """
    if min(first.rows, second.rows) < FEWEST:
        return None
    error = first.variance / first.rows + second.variance / second.rows
    value = second.mean - first.mean
    rows = first.rows + second.rows
    if error <= 0:
        return Effect(value, value, value, 1.0 if value == 0 else 0.0)
    mixed = _mixture(alpha) * rows / planned
    half = math.sqrt(error * (1 + 1 / mixed) * (2 * math.log(1 / alpha) + math.log1p(mixed)))
    evidence = 0.5 * (value**2 / error) * mixed / (1 + mixed) - 0.5 * math.log1p(mixed)
    return Effect(value, value - half, value + half, math.exp(-max(evidence, 0.0)))


def _mixture(alpha: float) -> float:
    """Return the mixture's precision at which the interval is about narrowest at the planned rows (Howard et al.)."""
    return 2 * math.log(1 / alpha) + math.log(1 + 2 * math.log(1 / alpha))


def sample_ratio(counts: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """Return the p-value of the versions' requests coming in the shares that were meant (chi-square).

    Below 0.001 nothing else is to be believed: whatever sends requests to versions, or logs them, is not what it should
    be, and those who are missing are seldom missing at random (Fabijan et al. 2019, on sample ratio mismatch).

    Args:
        counts: Units, requests or users, by version.
        shares: The share that each was to get; they add up to 1.
    """
    from scipy.stats import chisquare

    names = list(shares)
    total = sum(counts.get(name, 0) for name in names)
    if not total:
        return math.nan
    found = [counts.get(name, 0) for name in names]
    return float(chisquare(found, [shares[name] * total for name in names]).pvalue)
