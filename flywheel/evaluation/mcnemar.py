"""The paired test of accuracy when rows are independent: only rows that one of two models gets wrong tell of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flywheel.evaluation.paired import ALPHA, Estimate


@dataclass(frozen=True)
class Discordant(Estimate):
    """A difference of two accuracies on the same independent rows, with Tango's score interval.

    At a difference of 0 it is McNemar's test (1947); for any other it is its extension by Tango (1998, "Equivalence
    test and confidence interval for the difference in proportions for the paired-sample design").

    Attributes:
        won: Rows that the candidate alone gets right.
        lost: Rows that the other alone gets right.
    """

    won: float = 0.0
    lost: float = 0.0

    @classmethod
    def of(cls, rows: int, won: float, lost: float) -> Discordant:
        """Return the estimate of so many rows."""
        value = (won - lost) / rows if rows else math.nan
        error = math.sqrt(max(won + lost - (won - lost) ** 2 / rows, 0.0)) / rows if rows else math.nan
        return cls(value, error, rows, math.inf, won, lost)

    def lower(self, alpha: float = ALPHA) -> float:
        """Return the one-sided lower (1 - alpha) bound: the least difference that is not refuted, found by halving."""
        low, high, most = -1.0, self.value, self._quantile(alpha)
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if self._score(middle) <= most else (middle, high)
        return high

    def upper(self, alpha: float = ALPHA) -> float:
        """Return the one-sided upper (1 - alpha) bound."""
        return -self.of(self.clusters, self.lost, self.won).lower(alpha)

    def p_below(self, bound: float) -> float:
        """Return the p-value against the true figure being at least `bound`."""
        from scipy.special import ndtr

        return float(ndtr(self._score(bound)))

    def p_above(self, bound: float) -> float:
        """Return the p-value against the true figure being at most `bound`."""
        from scipy.special import ndtr

        return float(ndtr(-self._score(bound)))

    def _quantile(self, tail: float) -> float:
        from scipy.special import ndtri

        return float(ndtri(1 - tail))

    def _score(self, bound: float) -> float:
        """Return how many standard errors the figure is above `bound`, the error being that of a true `bound`."""
        rows = self.clusters
        linear = -self.won - self.lost + (2 * rows - self.won + self.lost) * bound
        constant = -self.lost * bound * (1 - bound)
        share = (math.sqrt(max(linear**2 - 8 * rows * constant, 0.0)) - linear) / (4 * rows)
        variance = rows * (2 * share + bound * (1 - bound))
        gained = self.won - self.lost - rows * bound
        if variance <= 0:
            return math.copysign(math.inf, gained) if gained else 0.0
        return gained / math.sqrt(variance)
