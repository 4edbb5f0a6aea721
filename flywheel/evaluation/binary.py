"""Metrics of a chance of label 1, by TFMA's definitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flywheel.evaluation.area import Wins
from flywheel.evaluation.metric import Metric, OfSums, Tfma, total
from flywheel.evaluation.paired import Statistic
from flywheel.evaluation.ranking import auc, quantised

if TYPE_CHECKING:
    from flywheel.evaluation.groups import Floats, Groups, Ints
    from flywheel.evaluation.predictions import Predictions

THRESHOLD = 0.5
_ROWS, _POSITIVES, _FLAGGED, _CAUGHT, _RIGHT, _LOSS, _SQUARES, _SCORES = range(8)


def sums(found: Predictions, model: str, codes: Ints, count: int) -> Floats:
    """Return what all metrics but AUC are made of, by group."""
    import numpy as np

    inside = codes >= 0
    y, p = found.labels[inside].astype(float), found.scores[model][inside]
    hit = p > THRESHOLD
    columns = (np.ones_like(p), y, hit, hit * y, hit == (y == 1), log_losses(y, p), (y - p) ** 2, p)
    return total(codes[inside], count, *columns, weights=found.weighed(inside))


def log_losses(labels: Floats, scores: Floats) -> Floats:
    """Return the negative log likelihood of each row; NaN or infinite where a score is exactly 0 or 1, as in TFMA."""
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        losses: Floats = -labels * np.log(scores) - (1 - labels) * np.log(1 - scores)
    return losses


class Auc:
    """The area under the ROC curve: by group as TFMA rounds it, as a statistic exact."""

    @property
    def tfma(self) -> Tfma:
        """TFMA's."""
        return Tfma("AUC")

    def by_group(self, found: Predictions, model: str, groups: Groups, known: dict[Any, Floats]) -> Floats:
        """Return TFMA's figure of each group, which is 0 for rows of one class."""
        import numpy as np

        return np.nan_to_num(auc(found.labels, quantised(found.scores[model]), groups, found.weights))

    def statistic(self, found: Predictions, model: str) -> Statistic:
        """Return the exact figure as a function of how often each cluster is counted."""
        codes, count = found.units.codes, len(found.units.keys)
        return Wins.count(found.labels, found.scores[model], codes, count, found.weights)


def _ratio(top: int, bottom: int, tfma: str) -> OfSums:
    return OfSums(sums, lambda s: s[..., top] / s[..., bottom], lambda s: s[..., bottom], Tfma(tfma))


def _calibration(s: Floats) -> Floats:
    import numpy as np

    return np.where(s[..., _POSITIVES] > 0, s[..., _SCORES] / s[..., _POSITIVES], np.nan)


def _f1(s: Floats) -> Floats:
    f1: Floats = 2 * s[..., _CAUGHT] / _called_or_there(s)
    return f1


def _called_or_there(s: Floats) -> Floats:
    both: Floats = s[..., _FLAGGED] + s[..., _POSITIVES]
    return both


def _negatives(s: Floats) -> Floats:
    rest: Floats = s[..., _ROWS] - s[..., _POSITIVES]
    return rest


METRICS: Mapping[str, Metric] = {
    "auc": Auc(),
    "accuracy": _ratio(_RIGHT, _ROWS, "BinaryAccuracy"),
    "log_loss": _ratio(_LOSS, _ROWS, "BinaryCrossEntropy"),
    "brier": _ratio(_SQUARES, _ROWS, "MeanSquaredError"),
    "precision": _ratio(_CAUGHT, _FLAGGED, "Precision"),
    "recall": _ratio(_CAUGHT, _POSITIVES, "Recall"),
    "f1": OfSums(sums, _f1, _called_or_there, Tfma("F1Score")),
    "calibration": OfSums(sums, _calibration, tfma=Tfma("Calibration")),
    "false_positive_rate": OfSums(
        sums, lambda s: (s[..., _FLAGGED] - s[..., _CAUGHT]) / _negatives(s), _negatives, Tfma("FallOut")
    ),
    "selection_rate": _ratio(_FLAGGED, _ROWS, "PredictedPositiveRate"),
    "label_rate": _ratio(_POSITIVES, _ROWS, "MeanLabel"),
    "example_count": OfSums(sums, lambda s: s[..., _ROWS], tfma=Tfma("ExampleCount")),
}
