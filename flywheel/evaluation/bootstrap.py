"""Another interval for the paired test: whole clusters drawn anew, for figures too skewed for a Student quantile.

It takes many clusters. Over a dozen days it is too short (decision 7), so it is only believed from forty on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flywheel.evaluation.groups import Groups
from flywheel.evaluation.paired import ALPHA, Estimate, Statistic, combined

if TYPE_CHECKING:
    from flywheel.evaluation.groups import Floats, Ints

REPLICATES, LEAST = 2000, 40
_BLOCKS = 500
_CELLS = 2_000_000


@dataclass(frozen=True)
class Resampled(Estimate):
    """An estimate with its bootstrap distribution; its bounds are bias-corrected and accelerated (BCa, Efron 1987).

    Attributes:
        replicates: The figure of each resample, sorted.
        skew: The acceleration, from the jackknife.
    """

    replicates: Floats = field(compare=False, repr=False)
    skew: float

    @property
    def least(self) -> int:
        """Fewest clusters that it can be believed with."""
        return LEAST

    def lower(self, alpha: float = ALPHA) -> float:
        """Return the one-sided lower (1 - alpha) bound."""
        return self._at(alpha)

    def upper(self, alpha: float = ALPHA) -> float:
        """Return the one-sided upper (1 - alpha) bound."""
        return self._at(1 - alpha)

    def p_below(self, bound: float) -> float:
        """Return the p-value against the true figure being at least `bound`."""
        from scipy.special import ndtr

        return 1 - float(ndtr(self._level(self._share(bound))))

    def p_above(self, bound: float) -> float:
        """Return the p-value against the true figure being at most `bound`."""
        from scipy.special import ndtr

        return float(ndtr(self._level(self._share(bound))))

    def _share(self, bound: float) -> float:
        """Return the share of replicates below `bound`, never quite 0 or 1: no more is known of so many."""
        import numpy as np

        count = len(self.replicates)
        low, high = (float(np.searchsorted(self.replicates, bound, side)) for side in ("left", "right"))
        return min(max((low + high) / 2, 0.5), count - 0.5) / count

    def _level(self, share: float) -> float:
        """Return the normal quantile of the level whose bound stands where `share` of the replicates is below."""
        from scipy.special import ndtri

        shifted = float(ndtri(share)) - self._bias
        return shifted / (1 + self.skew * shifted) - self._bias

    @property
    def _bias(self) -> float:
        from scipy.special import ndtri

        return float(ndtri(self._share(self.value)))

    def _at(self, level: float) -> float:
        import numpy as np
        from scipy.special import ndtr, ndtri

        shifted = self._bias + float(ndtri(level))
        share = float(ndtr(self._bias + shifted / (1 - self.skew * shifted)))
        return float(np.quantile(self.replicates, share))


def resampled(statistics: Sequence[Statistic], signs: Sequence[float], strata: Ints, seed: int = 0) -> Estimate:
    """Return a signed sum of metrics with its bootstrap distribution over clusters.

    Args:
        statistics: One metric for a figure of its own; candidate and champion for their difference.
        signs: Factor of each.
        strata: Of each cluster; each stratum is resampled by itself, so that every resample has both classes.
        seed: Of the draws: the same rows give the same interval.
    """
    import numpy as np

    plain, left_out = combined(statistics, signs)
    parts = [
        sum((sign * part.at(weights) for sign, part in zip(signs, statistics, strict=True)), np.zeros(()))
        for weights in _draws(strata, seed)
    ]
    drawn = np.concatenate(parts)
    if plain.clusters < 2 or not np.isfinite(left_out).all() or not np.isfinite(drawn).all():
        return Resampled(plain.value, math.nan, plain.clusters, plain.freedom, drawn, 0.0)
    pulls = left_out.mean() - left_out
    spread = float((pulls**2).sum())
    skew = float((pulls**3).sum()) / (6 * spread**1.5) if spread else 0.0
    return Resampled(plain.value, float(drawn.std(ddof=1)), plain.clusters, plain.freedom, np.sort(drawn), skew)


def _draws(strata: Ints, seed: int) -> Iterator[Floats]:
    """Yield weights of resamples, some at a time: how often each cluster is drawn."""
    import numpy as np

    draw = np.random.default_rng(seed)
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    step = max(1, _CELLS // max(len(strata), 1))
    for first in range(0, REPLICATES, step):
        weights = np.zeros((min(step, REPLICATES - first), len(strata)))
        for own in members:
            drawn = draw.integers(0, len(own), (len(weights), len(own))) + np.arange(len(weights))[:, None] * len(own)
            counts = np.bincount(drawn.ravel(), minlength=drawn.size)
            weights[:, own] = counts.reshape(drawn.shape)
        yield weights


def pooled(clusters: Groups, labels: Ints, seed: int = 0) -> tuple[Groups, Ints]:
    """Return clusters put together at random into at most about five hundred, and the stratum of each.

    Sums of whole clusters are independent again, and their spread tells as much: so a million users cost what five
    hundred do. A cluster's stratum is the largest of its labels; numbers have one stratum, rows of
    several labels are in the second one when they have any.
    """
    import numpy as np

    used, codes = np.unique(clusters.codes, return_inverse=True)
    strata = np.zeros(len(used), np.int64)
    if np.issubdtype(labels.dtype, np.integer):
        np.maximum.at(strata, codes, labels if labels.ndim == 1 else labels.max(axis=1))
    block, blocks = np.zeros(len(used), np.int64), 0
    found: list[int] = []
    draw = np.random.default_rng(seed)
    for stratum in np.unique(strata):
        own = draw.permutation(np.flatnonzero(strata == stratum))
        count = max(1, min(len(own), round(_BLOCKS * len(own) / len(used)), _BLOCKS))
        block[own] = blocks + np.arange(len(own)) % count
        found += [int(stratum)] * count
        blocks += count
    return Groups(range(blocks), block[codes]), np.array(found)
