"""The metrics of a binary classifier, overall and by slice, vectorised: TFMA's definitions and TFMA's numbers."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

THRESHOLD = 0.5
_BUCKETS = 10_000
_EPSILON = 1e-7


@dataclass(frozen=True)
class Metric:
    """A metric's place in TFMA, and its direction.

    Attributes:
        tfma: Name of the TFMA class that defines it.
        better: 1 when more is better, -1 when less is, 0 when neither: it describes the rows, not the model's skill.
    """

    tfma: str
    better: int


METRICS: Mapping[str, Metric] = {
    "auc": Metric("AUC", 1),
    "accuracy": Metric("BinaryAccuracy", 1),
    "log_loss": Metric("BinaryCrossEntropy", -1),
    "brier": Metric("MeanSquaredError", -1),
    "precision": Metric("Precision", 1),
    "recall": Metric("Recall", 1),
    "calibration": Metric("Calibration", 0),
    "label_rate": Metric("MeanLabel", 0),
    "example_count": Metric("ExampleCount", 0),
}


@dataclass(frozen=True)
class Groups:
    """A partition of rows: which group each row is in.

    Attributes:
        keys: Value that each group shares, sorted.
        codes: Index into `keys` of each row; -1 for rows in no group.
    """

    keys: tuple[Any, ...]
    codes: Ints

    @classmethod
    def whole(cls, rows: int) -> Groups:
        """Return the one group of all rows."""
        import numpy as np

        return cls(("",), np.zeros(rows, np.int64))

    def rows(self) -> Ints:
        """Return how many rows each group has."""
        import numpy as np

        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.keys))


def by_group(labels: Ints, scores: Floats, groups: Groups) -> dict[str, Floats]:
    """Return every metric of `METRICS` for each group, in the order of its keys, as TFMA computes it.

    What is undefined is NaN, with two exceptions that are TFMA's own: its AUC of rows of one class is 0, and its log
    loss is NaN as soon as one prediction is exactly 0 or 1.

    Args:
        labels: 0 or 1 for each row.
        scores: Predicted probability for each row, between 0 and 1.
        groups: Which rows belong together.
    """
    import numpy as np

    inside = groups.codes >= 0
    codes, y, p = groups.codes[inside], labels[inside].astype(float), scores[inside]
    hit = p > THRESHOLD

    def total(values: Any) -> Floats:
        return np.bincount(codes, values, len(groups.keys)).astype(float)

    count, positives, flagged = total(np.ones_like(p)), total(y), total(hit)
    losses = log_losses(y, p)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "auc": np.nan_to_num(auc(labels, quantised(scores), groups)),
            "accuracy": total(hit == (y == 1)) / count,
            "log_loss": total(losses) / count,
            "brier": total((y - p) ** 2) / count,
            "precision": total(hit * y) / flagged,
            "recall": total(hit * y) / positives,
            "calibration": np.where(positives > 0, total(p) / positives, np.nan),
            "label_rate": positives / count,
            "example_count": count,
        }


def log_losses(labels: Floats, scores: Floats) -> Floats:
    """Return the negative log likelihood of each row; NaN or infinite where a score is exactly 0 or 1, as in TFMA."""
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        losses: Floats = -labels * np.log(scores) - (1 - labels) * np.log(1 - scores)
    return losses


def auc(labels: Ints, scores: Floats | Ints, groups: Groups) -> Floats:
    """Return the area under each group's ROC curve, exact: the share of pairs ranked right, ties counting half.

    It is the Mann-Whitney statistic (Hanley & McNeil 1982, "The meaning and use of the area under a ROC curve"), from
    one sort. NaN for a group with one class or no rows.
    """
    import numpy as np

    count = len(groups.keys)
    inside = groups.codes >= 0
    codes, y, s = groups.codes[inside], labels[inside], scores[inside]
    order = np.lexsort((s, codes))
    codes, y, s = codes[order], y[order], s[order]
    starts = np.flatnonzero(np.r_[True, (codes[1:] != codes[:-1]) | (s[1:] != s[:-1])]) if len(y) else np.zeros(0, int)
    positive = np.add.reduceat(y.astype(float), starts) if len(y) else np.zeros(0)
    negative = np.diff(np.r_[starts, len(y)]) - positive
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


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """Return those of `values` that are numbers: JSON has no NaN."""
    import math

    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def roc(labels: Ints, scores: Floats, points: int = 101) -> list[tuple[float, float]]:
    """Return (false positive rate, true positive rate) along the ROC curve, from (0, 0) to (1, 1), thinned."""
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    y, s = labels[order], scores[order]
    last = np.flatnonzero(np.r_[s[1:] != s[:-1], True])
    right = np.r_[0, np.cumsum(y)[last]] / max(int(y.sum()), 1)
    wrong = np.r_[0, np.cumsum(1 - y)[last]] / max(int((1 - y).sum()), 1)
    # Thinned along the curve's length in rows, so that its steep start keeps its shape.
    keep = np.unique(np.searchsorted(np.linspace(0, 2, points), right + wrong, "left"), return_index=True)[1]
    keep = np.unique(np.r_[0, keep, len(right) - 1])
    return [(float(x), float(t)) for x, t in zip(wrong[keep], right[keep], strict=True)]


def calibration(labels: Ints, scores: Floats, bins: int = 10) -> list[tuple[float, float]]:
    """Return (mean prediction, share of positives) in bins of equally many rows (Nguyen & O'Connor 2015)."""
    import numpy as np

    order = np.argsort(scores, kind="stable")
    parts = [part for part in np.array_split(order, min(bins, len(order))) if len(part)]
    return [(float(scores[part].mean()), float(labels[part].mean())) for part in parts]


def table(values: Mapping[str, Floats], keys: Sequence[Any]) -> dict[Any, dict[str, float]]:
    """Return the metrics of `by_group` as one mapping a group."""
    return {key: {name: float(column[index]) for name, column in values.items()} for index, key in enumerate(keys)}
