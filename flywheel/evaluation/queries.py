"""Metrics of a ranking: how high the rows that matter stand among those of their group, as of a query or a session.

NDCG is TFMA's (Järvelin & Kekäläinen 2002, gains as they are, discounted by log2); MAP is ours, since TFMA has none of
queries. A group whose gains are all 0 counts in neither. Rows of equal score may come in any order, so each metric is
its mean over all orders of the ties (McSherry & Najork 2008, "Computing information retrieval performance measures
efficiently in the presence of tied scores"); TFMA takes the order in which a worker got them, whatever it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from flywheel.evaluation.metric import Metric, OfSums, Tfma, total

if TYPE_CHECKING:
    from flywheel.evaluation.groups import Floats, Ints
    from flywheel.evaluation.metric import Sums
    from flywheel.evaluation.predictions import Predictions


@cache
def metrics(tops: tuple[int, ...]) -> Mapping[str, Metric]:
    """Return NDCG and MAP at each of `tops`."""
    sums = _sums(tops)
    found: dict[str, Metric] = {}
    for place, k in enumerate(tops):
        found[f"ndcg_{k}"] = _mean(
            sums, 2 + place, Tfma("NDCG", {"gain_key": "label", "top_k_list": [k]}, by_list=True)
        )
    for place, k in enumerate(tops):
        found[f"map_{k}"] = _mean(sums, 2 + len(tops) + place, None)
    return found


def _mean(sums: Sums, top: int, tfma: Tfma | None) -> OfSums:
    return OfSums(sums, lambda s: s[..., top] / s[..., 1], lambda s: s[..., 1], tfma)


def _sums(tops: tuple[int, ...]) -> Sums:
    def sums(found: Predictions, model: str, codes: Ints, count: int) -> Floats:
        """Return rows, groups with any gain, and the sums of their NDCG and AP at each of `tops`, by group of rows."""
        import numpy as np

        assert found.ranked is not None
        inside = (codes >= 0) & (found.ranked.codes >= 0)
        lists, owner = _lists(codes[inside], found.ranked.codes[inside])
        gains = np.maximum(found.labels[inside].astype(float), 0.0)
        ordered = Ordered.of(lists, found.scores[model][inside], gains, len(owner))
        best = Ordered.of(lists, gains, gains, len(owner))
        there = best.dcg(1) > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            figures = [ordered.dcg(k) / best.dcg(k) for k in tops] + [ordered.ap(k) for k in tops]
        kept = [np.where(there, each, 0.0) for each in figures]
        rows = np.bincount(codes[codes >= 0], minlength=count).astype(float)
        return np.column_stack([rows, total(owner, count, there, *kept)])

    return sums


def _lists(codes: Ints, queries: Ints) -> tuple[Ints, Ints]:
    """Return which list each row is in, one for each query within each group of rows, and the group of each list."""
    import numpy as np

    width = int(queries.max()) + 1 if len(queries) else 1
    keys, lists = np.unique(codes * width + queries, return_inverse=True)
    return lists, keys // width


@dataclass(frozen=True)
class Ordered:
    """Rows of many lists, the highest score of each list first.

    Attributes:
        lists: List of each row.
        place: Its place in the list, from 1 on.
        first: The place where its run of equal scores begins.
        size: How many rows that run has.
        gain: The mean gain of that run.
        hits: How many rows of the run have a gain.
        before: How many rows with a gain stand before the run.
        count: How many lists there are.
    """

    lists: Ints
    place: Floats
    first: Floats
    size: Floats
    gain: Floats
    hits: Floats
    before: Floats
    count: int

    @classmethod
    def of(cls, lists: Ints, scores: Floats, gains: Floats, count: int) -> Ordered:
        """Return rows in the order of their scores."""
        import numpy as np

        order = np.lexsort((-scores, lists))
        own, s, g = lists[order], scores[order], gains[order]
        rows = np.arange(len(own))
        if not len(own):
            empty = np.zeros(0)
            return cls(own, empty, empty, empty, empty, empty, empty, count)
        opens = np.r_[True, own[1:] != own[:-1]]
        starts = np.flatnonzero(opens | np.r_[True, s[1:] != s[:-1]])
        sizes = np.diff(np.r_[starts, len(own)])
        run = np.repeat(np.arange(len(starts)), sizes)
        list_start = np.maximum.accumulate(np.where(opens, rows, 0))
        relevant = np.cumsum(g > 0)
        earlier = np.r_[0, relevant][starts] - np.r_[0, relevant][list_start[starts]]
        return cls(
            own,
            (rows - list_start + 1).astype(float),
            (starts[run] - list_start + 1).astype(float),
            sizes[run].astype(float),
            (np.add.reduceat(g, starts) / sizes)[run],
            np.add.reduceat((g > 0).astype(float), starts)[run],
            earlier[run].astype(float),
            count,
        )

    def dcg(self, k: int) -> Floats:
        """Return the discounted cumulative gain of the first `k` places of each list."""
        import numpy as np

        worth = np.where(self.place <= k, self.gain / np.log2(self.place + 1), 0.0)
        return np.bincount(self.lists, worth, self.count).astype(np.float64)

    def ap(self, k: int) -> Floats:
        """Return the average precision at `k` of each list: over its rows with a gain, `k` of them at most.

        Of a run of n tied rows with r that have a gain, the j-th has one with chance r/n, and then there are
        (j - 1) (r - 1) / (n - 1) of them before it in the run.
        """
        import numpy as np

        within = self.place - self.first
        others = within * (self.hits - 1) / np.maximum(self.size - 1, 1)
        worth = self.hits / self.size * (self.before + 1 + others) / self.place
        found = np.bincount(self.lists, np.where(self.place <= k, worth, 0.0), self.count)
        relevant = np.bincount(self.lists, self.hits / self.size, self.count)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares: Floats = found / np.minimum(relevant, k)
        return shares


def names(tops: Any) -> list[str]:
    """Return the names of the metrics at these places."""
    return list(metrics(tuple(tops)))
