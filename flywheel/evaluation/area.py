"""The exact AUC as a function of how often each cluster is counted, for a handful of days or a million users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flywheel.evaluation.groups import Groups
from flywheel.evaluation.ranking import auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flywheel.evaluation.groups import Floats, Ints

_TINY = 1e-300
_CELLS = 4_000_000  # replicates x rows at a time
_FEW = 600  # clusters whose pairs are worth counting before many replicates are asked for
_BLOCK, _BLOCKS = 64, 10_000  # rows that are compared one by one, and about how many such blocks there are at most


@dataclass(frozen=True)
class Wins:
    """The exact AUC of rows in clusters, the rows sorted by score.

    Its figure without one cluster needs three counts of that cluster alone, so it costs O(rows log rows) however many
    clusters there are: pairs that its positives win, pairs that its negatives lose, and those among themselves
    (Obuchowski 1997, "Nonparametric analysis of clustered ROC curve data"). With a cluster for each row the jackknife
    over it is the variance of DeLong, DeLong & Clarke-Pearson (1988), up to the order of 1 / rows.

    Attributes:
        labels: 0 or 1, by row.
        weights: How often each row counts.
        clusters: Cluster of each row.
        starts: Where in the rows each run of equal scores begins.
        positives: How many each cluster has, by weight.
        negatives: How many each cluster has, by weight.
    """

    labels: NDArray[Any]
    weights: Floats
    clusters: Ints
    starts: Ints
    positives: Floats
    negatives: Floats

    @classmethod
    def count(cls, labels: Ints, scores: Floats, clusters: Ints, count: int, weights: Floats | None = None) -> Wins:
        """Return the area of rows with `labels` 0 or 1, in `count` clusters, each row as often as `weights` says."""
        import numpy as np

        order = np.argsort(scores, kind="stable")
        y, s, own = labels[order], scores[order], clusters[order]
        w = np.ones(len(y)) if weights is None else weights[order]
        starts = np.flatnonzero(np.r_[True, s[1:] != s[:-1]]) if len(s) else np.zeros(0, np.int64)
        positives, negatives = (np.bincount(own, w * (y == label), count).astype(float) for label in (1, 0))
        return cls(y, w, own, starts, positives, negatives)

    @property
    def sizes(self) -> Floats:
        """Mean share that each cluster has in the positives and in the negatives."""
        positive = self.positives / max(self.positives.sum(), _TINY)
        shares: Floats = (positive + self.negatives / max(self.negatives.sum(), _TINY)) / 2
        return shares

    def at(self, weights: Floats) -> Floats:
        """Return the area for each row of `weights`: the weighted pairs ranked right, ties half, of all pairs."""
        import numpy as np

        areas = np.full(len(weights), np.nan)
        winners, losers = np.flatnonzero(self.positives), np.flatnonzero(self.negatives)
        if not len(winners) or not len(losers):
            return areas
        if len(weights) > 1 and len(self.positives) <= _FEW:
            won = ((weights[:, winners] @ self._pairs(winners, losers)) * weights[:, losers]).sum(axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                areas[:] = won / ((weights @ self.positives) * (weights @ self.negatives))
            return areas
        step = max(1, _CELLS // len(self.labels))
        for first in range(0, len(weights), step):
            part = weights[first : first + step]
            spread = part[:, self.clusters] * self.weights
            positive = np.add.reduceat(spread * self.labels, self.starts, axis=1)
            negative = np.add.reduceat(spread * (1 - self.labels), self.starts, axis=1)
            won = (positive * (np.cumsum(negative, axis=1) - negative / 2)).sum(axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                areas[first : first + step] = won / ((part @ self.positives) * (part @ self.negatives))
        return areas

    def _pairs(self, winners: Ints, losers: Ints) -> Floats:
        """Return how many pairs of a positive of one cluster and a negative of another are ranked right; ties half.

        Only of clusters that have such rows: many have rows of one class alone. Rows are cut into blocks of neighbours
        by score. Between blocks a pair is told by its blocks, so counts by cluster are enough; within a block each pair
        is looked at, and a block of equal scores has ties alone.
        """
        import numpy as np

        sizes = np.diff(np.r_[self.starts, len(self.labels)])
        runs = np.repeat(np.arange(len(sizes)), sizes)
        blocks, tied = self._blocks(sizes)
        block, wide, deep = blocks[runs], len(winners), len(losers)
        ours, theirs = np.flatnonzero(self.labels == 1), np.flatnonzero(self.labels == 0)
        ours, theirs = ours[self.weights[ours] > 0], theirs[self.weights[theirs] > 0]
        winner, loser = (np.searchsorted(known, self.clusters) for known in (winners, losers))
        above = np.bincount(block[ours] * wide + winner[ours], self.weights[ours], len(tied) * wide).reshape(-1, wide)
        lower = np.bincount(block[theirs] * deep + loser[theirs], self.weights[theirs], len(tied) * deep)
        below = lower.reshape(-1, deep).astype(float)
        won: Floats = above.T.astype(float) @ (np.cumsum(below, axis=0) - below + tied[:, None] * below / 2)

        ours = ours[~tied[block[ours]]]
        edges = np.searchsorted(block[theirs], np.arange(len(tied) + 1))
        rivals = np.diff(edges)[block[ours]]
        before = np.cumsum(rivals) - rivals
        for part in np.split(np.arange(len(ours)), np.flatnonzero(np.diff(before // _CELLS)) + 1):
            first = np.repeat(ours[part], rivals[part])
            nth = np.arange(len(first)) - np.repeat(before[part] - before[part[:1]], rivals[part])
            second = theirs[np.repeat(edges[block[ours[part]]], rivals[part]) + nth]
            right = (runs[first] > runs[second]) + (runs[first] == runs[second]) / 2
            right *= self.weights[first] * self.weights[second]
            won += np.bincount(winner[first] * deep + loser[second], right, wide * deep).reshape(wide, deep)
        return won

    def _blocks(self, sizes: Ints) -> tuple[Ints, NDArray[Any]]:
        """Return the block of each run of equal scores, and which blocks are one large run alone."""
        import numpy as np

        target = max(_BLOCK, len(self.labels) // _BLOCKS)
        large = sizes > target
        ends = np.cumsum(np.where(large, 0, sizes)) // target
        new = np.r_[True, (ends[1:] != ends[:-1]) | large[1:] | large[:-1]]
        blocks = np.cumsum(new) - 1
        return blocks, large[new]

    def without(self) -> Floats:
        """Return the area without each of the clusters."""
        import numpy as np

        count, sizes = len(self.positives), np.diff(np.r_[self.starts, len(self.labels)])
        if not len(self.labels):
            return np.full(count, np.nan)
        runs = np.repeat(np.arange(len(sizes)), sizes)
        positive = np.bincount(runs, self.weights * self.labels)
        negative = np.bincount(runs, self.weights * (1 - self.labels))
        below, above = (
            (np.cumsum(negative) - negative / 2)[runs],
            (np.cumsum(positive[::-1])[::-1] - positive / 2)[runs],
        )
        is_positive = self.labels == 1
        by_ours = np.bincount(self.clusters, self.weights * np.where(is_positive, below, 0.0), count)
        over_ours = np.bincount(self.clusters, self.weights * np.where(is_positive, 0.0, above), count)
        among = auc(self.labels, runs, Groups(range(count), self.clusters), self.weights)
        among = np.nan_to_num(among) * self.positives * self.negatives
        rest = (self.positives.sum() - self.positives) * (self.negatives.sum() - self.negatives)
        with np.errstate(divide="ignore", invalid="ignore"):
            areas: Floats = (by_ours.sum() - by_ours - over_ours + among) / rest
        return areas
