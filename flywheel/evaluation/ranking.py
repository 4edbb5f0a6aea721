"""How well scores rank: the area under the ROC curve, exact and as TFMA rounds it, and the curves of the report."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from flywheel.evaluation.groups import Groups

if TYPE_CHECKING:
    from flywheel.evaluation.groups import Floats, Ints

_BUCKETS = 10_000
_EPSILON = 1e-7
_TINY = 1e-300


def auc(labels: Ints, scores: Floats | Ints, groups: Groups, weights: Floats | None = None) -> Floats:
    """Return the area under each group's ROC curve, exact: the share of pairs ranked right, ties counting half.

    A pair counts as often as its two rows' `weights` multiplied.

    It is the Mann-Whitney statistic (Hanley & McNeil 1982, "The meaning and use of the area under a ROC curve"), from
    one sort. NaN for a group with one class or no rows.
    """
    import numpy as np

    count = len(groups.keys)
    inside = groups.codes >= 0
    codes, y, s = groups.codes[inside], labels[inside], scores[inside]
    order = np.lexsort((s, codes))
    codes, y, s = codes[order], y[order], s[order]
    w = np.ones(len(y)) if weights is None else weights[inside][order]
    starts = np.flatnonzero(np.r_[True, (codes[1:] != codes[:-1]) | (s[1:] != s[:-1])]) if len(y) else np.zeros(0, int)
    positive = np.add.reduceat(w * y, starts) if len(y) else np.zeros(0)
    negative = np.add.reduceat(w * (1 - y), starts) if len(y) else np.zeros(0)
    block = codes[starts]
    negatives = np.bincount(block, negative, count)
    before = np.cumsum(negative) - negative - (np.cumsum(negatives) - negatives)[block]
    wins = np.bincount(block, positive * (before + negative / 2), count)
    with np.errstate(invalid="ignore"):
        area: Floats = wins / (np.bincount(block, positive, count) * negatives)
    return area


def quantised(scores: Floats) -> Ints:
    """Return each score's interval between the 10,000 thresholds of TFMA's AUC.

    TFMA first counts in 10,000 equal buckets, then assigns each bucket, by its lower edge, to an interval between
    thresholds i / 9999; trapezoids between those are the exact area of the scores so rounded. Predictions of 1 fall
    beyond the last threshold, where its curve is forced to the origin: they share the last interval.
    """
    import numpy as np

    buckets = np.clip(scores * _BUCKETS + 1, 0, _BUCKETS + 1).astype(np.int64)
    intervals: Ints = _interval_of_bucket()[buckets]
    return intervals


@functools.cache
def _interval_of_bucket() -> Ints:
    import numpy as np

    inner = np.arange(1, _BUCKETS - 1) / (_BUCKETS - 1) + _EPSILON
    thresholds = np.r_[0.0, inner, 1 + 2 * _EPSILON]
    edges = np.r_[-np.inf, np.arange(_BUCKETS) / _BUCKETS, np.inf]
    intervals: Ints = np.clip(np.searchsorted(thresholds, edges, "right") - 1, 0, _BUCKETS - 2)
    return intervals


def roc(
    labels: Ints, scores: Floats, weights: Floats | None = None, points: int = 101
) -> tuple[list[float], list[float], list[float]]:
    """Return false positive rates, true positive rates and thresholds along the ROC curve, (0, 0) to (1, 1), thinned.

    Rows whose score is at least the threshold are called positive; at the first point none is.
    """
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    y, s = labels[order], scores[order]
    w = np.ones(len(y)) if weights is None else weights[order]
    last = np.flatnonzero(np.r_[s[1:] != s[:-1], True])
    right = np.r_[0, np.cumsum(w * y)[last]] / max(float((w * y).sum()), _TINY)
    wrong = np.r_[0, np.cumsum(w * (1 - y))[last]] / max(float((w * (1 - y)).sum()), _TINY)
    # Thinned along the curve's length in rows, so that its steep start keeps its shape.
    keep = np.unique(np.searchsorted(np.linspace(0, 2, points), right + wrong, "left"), return_index=True)[1]
    keep = np.unique(np.r_[0, keep, len(right) - 1])
    thresholds = np.r_[np.nextafter(max(float(s[0]), 1.0), 2.0), s[last]]
    return wrong[keep].tolist(), right[keep].tolist(), thresholds[keep].tolist()


def precisions(
    labels: Ints, scores: Floats, weights: Floats | None = None, points: int = 101
) -> list[tuple[float, float]]:
    """Return (recall, precision) along the thresholds, the highest first, thinned; none without a positive row."""
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    y, s = labels[order], scores[order]
    last = np.flatnonzero(np.r_[s[1:] != s[:-1], True]) if len(s) else np.zeros(0, np.int64)
    w = np.ones(len(y)) if weights is None else weights[order]
    caught = np.cumsum(w * y)[last]
    if not len(last) or not caught[-1]:
        return []
    recall, precision = caught / caught[-1], caught / np.maximum(np.cumsum(w)[last], _TINY)
    # Thinned along recall; of rows that catch nothing more only the first is kept, whose precision is the highest.
    keep = np.unique(np.searchsorted(np.linspace(0, 1, points), recall, "left"), return_index=True)[1]
    keep = np.unique(np.r_[keep, len(recall) - 1])
    return list(zip(recall[keep].tolist(), precision[keep].tolist(), strict=True))


def calibration(
    labels: Ints, scores: Floats, bins: int = 10, weights: Floats | None = None
) -> list[tuple[float, float]]:
    """Return (mean prediction, share of positives) in bins of equally many rows (Nguyen & O'Connor 2015)."""
    import numpy as np

    order = np.argsort(scores, kind="stable")
    w = np.ones(len(order)) if weights is None else weights
    parts = [part for part in np.array_split(order, max(min(bins, len(order)), 1)) if w[part].sum() > 0]
    return [
        (float(np.average(scores[part], weights=w[part])), float(np.average(labels[part], weights=w[part])))
        for part in parts
    ]
