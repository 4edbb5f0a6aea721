"""Metrics of one of several classes; the predicted class is the one of the largest probability.

By TFMA's definitions where it has them. F1 and top-k are TFMA's too, through Keras; what averages F1 over classes is
ours: TFMA's average counts a class that does not occur in the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from flywheel.evaluation.area import Wins
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.metric import Metric, OfSums, Tfma, total
from flywheel.evaluation.paired import Statistic
from flywheel.evaluation.ranking import auc, quantised

if TYPE_CHECKING:
    from flywheel.evaluation.groups import Floats, Ints
    from flywheel.evaluation.predictions import Predictions

TOPS = (2, 3, 5)
_ROWS, _RIGHT, _LOSS, _TOPS = 0, 1, 2, 3
_HEAD = _TOPS + len(TOPS)
_LEAST = 1e-7  # Keras's


def sums(found: Predictions, model: str, codes: Ints, count: int) -> Floats:
    """Return rows, right ones, loss and top-k hits by group, and each class's right, predicted and actual rows."""
    import numpy as np

    inside = codes >= 0
    groups, y, p = codes[inside], found.labels[inside], found.scores[model][inside]
    guess, own = p.argmax(axis=1), p[np.arange(len(y)), y]
    above = (p > own[:, None]).sum(axis=1)
    loss = -np.log(np.clip(own / p.sum(axis=1), _LEAST, 1 - _LEAST))
    weights = found.weighed(inside)
    head = total(groups, count, np.ones(len(y)), guess == y, loss, *(above < k for k in TOPS), weights=weights)
    classes = p.shape[1]

    def by_class(which: Ints, rows: Any) -> Floats:
        counting = None if weights is None else weights[rows]
        counted = np.bincount(groups[rows] * classes + which[rows], counting, count * classes)
        return counted.reshape(count, classes).astype(float)

    every = np.ones(len(y), bool)
    return np.concatenate([head, by_class(y, guess == y), by_class(guess, every), by_class(y, every)], axis=1)


def _classes(s: Floats) -> tuple[Floats, Floats, Floats]:
    """Return each class's right, predicted and actual rows."""
    import numpy as np

    right, guessed, actual = np.split(s[..., _HEAD:], 3, axis=-1)
    return right, guessed, actual


def _macro_f1(s: Floats) -> Floats:
    import numpy as np

    right, guessed, actual = _classes(s)
    there = guessed + actual > 0
    scores = np.where(there, 2 * right / np.where(there, guessed + actual, 1), 0.0)
    mean: Floats = scores.sum(axis=-1) / there.sum(axis=-1)
    return mean


def _weighted_f1(s: Floats) -> Floats:
    import numpy as np

    right, guessed, actual = _classes(s)
    scores = np.where(actual > 0, 2 * right / np.where(actual > 0, guessed + actual, 1), 0.0)
    mean: Floats = (scores * actual).sum(axis=-1) / s[..., _ROWS]
    return mean


def _mean(top: int, tfma: Tfma) -> OfSums:
    return OfSums(sums, lambda s: s[..., top] / s[..., _ROWS], tfma=tfma)


def _of_class(index: int, by: int, tfma: str) -> OfSums:
    """Return precision (`by` 1, the predicted rows) or recall (2, the actual ones) of one class."""

    def size(s: Floats) -> Floats:
        return _classes(s)[by][..., index]

    def value(s: Floats) -> Floats:
        share: Floats = _classes(s)[0][..., index] / size(s)
        return share

    return OfSums(sums, value, size, Tfma(tfma, {"class_id": index, "top_k": 1}))


class MacroAuc:
    """The mean area under the ROC curve of each class against the rest, over the classes that occur (Hand & Till 2001).

    By group as TFMA rounds it, where the area of a class that does not occur is 0 and counts; as a statistic exact.
    """

    @property
    def tfma(self) -> Tfma:
        """TFMA's, averaged over classes."""
        return Tfma("AUC", by_class=True)

    def by_group(self, found: Predictions, model: str, groups: Groups, known: dict[Any, Floats]) -> Floats:
        """Return TFMA's figure of each group."""
        import numpy as np

        areas = [
            np.nan_to_num(auc((found.labels == index).astype(np.int64), quantised(scores), groups, found.weights))
            for index, scores in enumerate(found.scores[model].T)
        ]
        mean: Floats = np.mean(areas, axis=0)
        return mean

    def statistic(self, found: Predictions, model: str) -> Statistic:
        """Return the exact figure as a function of how often each cluster is counted."""
        import numpy as np

        codes, count = found.units.codes, len(found.units.keys)
        return Mean(
            [
                Wins.count((found.labels == index).astype(np.int64), scores, codes, count, found.weights)
                for index, scores in enumerate(found.scores[model].T)
                if 0 < np.count_nonzero(found.labels == index) < len(found)
            ]
        )


@dataclass(frozen=True)
class Mean:
    """The mean of several statistics.

    Attributes:
        parts: The statistics.
        skips: Whether it is that of those which are defined; else it is undefined where one of them is.
    """

    parts: Sequence[Statistic]
    skips: bool = True

    @property
    def sizes(self) -> Floats:
        """Mean share that each cluster has in the parts."""
        import numpy as np

        sizes: Floats = np.mean([part.sizes for part in self.parts], axis=0) if self.parts else np.zeros(0)
        return sizes

    def at(self, weights: Floats) -> Floats:
        """Return the mean for each row of `weights`."""
        import numpy as np

        if not self.parts:
            return np.full(len(weights), np.nan)
        return self._mean(np.array([part.at(weights) for part in self.parts]))

    def without(self) -> Floats:
        """Return the mean without each of the clusters."""
        import numpy as np

        if not self.parts:
            return np.zeros(0)
        return self._mean(np.array([part.without() for part in self.parts]))

    def _mean(self, values: Floats) -> Floats:
        import numpy as np

        there = np.isfinite(values) if self.skips else np.ones(values.shape, bool)
        with np.errstate(invalid="ignore"):
            mean: Floats = np.where(there, values, 0).sum(axis=0) / there.sum(axis=0)
        return mean


@cache
def metrics(classes: tuple[str, ...]) -> dict[str, Metric]:
    """Return the metrics of these classes."""
    return dict(_metrics(classes))


def _metrics(classes: tuple[str, ...]) -> Iterator[tuple[str, Metric]]:
    yield "accuracy", _mean(_RIGHT, Tfma("SparseCategoricalAccuracy"))
    yield "macro_f1", OfSums(sums, _macro_f1)
    yield "weighted_f1", OfSums(sums, _weighted_f1)
    yield "auc", MacroAuc()
    yield "log_loss", _mean(_LOSS, Tfma("SparseCategoricalCrossentropy"))
    for place, k in enumerate(TOPS):
        if k < len(classes):
            yield f"top_{k}", _mean(_TOPS + place, Tfma("SparseTopKCategoricalAccuracy", {"k": k}))
    for index, value in enumerate(classes):
        yield f"precision_{value}", _of_class(index, 1, "Precision")
        yield f"recall_{value}", _of_class(index, 2, "Recall")
    yield "example_count", OfSums(sums, lambda s: s[..., _ROWS], tfma=Tfma("ExampleCount"))
