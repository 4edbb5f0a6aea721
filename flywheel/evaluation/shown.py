"""What the Kubeflow UI draws of a judged model by itself: figures, the ROC curve, a confusion matrix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from flywheel.artifacts import Evaluation, Verdict
from flywheel.evaluation import multilabel, ranking
from flywheel.evaluation.binary import THRESHOLD
from flywheel.evaluation.predictions import CANDIDATE, FILE, Predictions
from flywheel.labels import MULTILABEL

if TYPE_CHECKING:
    from flywheel.evaluation.groups import Ints

_MOST_CLASSES = 15
_REST = "other"


class Shown(NamedTuple):
    """Figures by name, `log_roc_curve`'s and `log_confusion_matrix`'s arguments; None where the task has no such thing.

    Attributes:
        metrics: The candidate's overall figures, the champion's and the baseline's under their names, and what the
            candidate gains by the headline metric, with its 90% interval.
        roc: False and true positive rates with their thresholds; of several labels those of all of them together.
        confusion: Categories, and rows by true class (rows of the table) and predicted class; as `roc`.
    """

    metrics: dict[str, float]
    roc: tuple[list[float], list[float], list[float]] | None
    confusion: tuple[list[str], list[list[int]]] | None

    def log(self, metrics: Any, curves: Any) -> None:
        """Write it to KFP's artifacts, a `Metrics` and a `ClassificationMetrics`."""
        for name, value in self.metrics.items():
            metrics.log_metric(name, value)
        if self.roc:
            curves.log_roc_curve(*self.roc)
        if self.confusion:
            curves.log_confusion_matrix(*self.confusion)


def shown(evaluation: Evaluation, verdict: Verdict) -> Shown:
    """Return what is to be drawn of `evaluation`, whose candidate `verdict` judged."""
    found = Predictions.read(evaluation.path / FILE)
    roc = confusion = None
    if found.task in ("binary", MULTILABEL):
        each = multilabel.of_all(found) if found.task == MULTILABEL else found
        roc = ranking.roc(each.labels, each.scores[CANDIDATE], each.weights)
        confusion = (["0", "1"], _cells(each.labels, (each.scores[CANDIDATE] > THRESHOLD).astype("int64"), 2))
    elif found.task == "multiclass":
        confusion = _classes(found)
    return Shown(_metrics(evaluation.manifest.facts["overall"], verdict.facts), roc, confusion)


def _metrics(overall: dict[str, dict[str, float] | None], facts: dict[str, Any]) -> dict[str, float]:
    figures: dict[str, Any] = {}
    for model, values in overall.items():
        figures |= {name if model == CANDIDATE else f"{model}_{name}": value for name, value in (values or {}).items()}
    gained = f"{facts['metric']}_gain"
    figures[gained] = facts.get("delta")
    figures[f"{gained}_lower"], figures[f"{gained}_upper"] = facts.get("interval") or (None, None)
    return {name: float(value) for name, value in figures.items() if value is not None and math.isfinite(value)}


def _classes(found: Predictions) -> tuple[list[str], list[list[int]]]:
    """Return the largest classes, and all others as one."""
    import numpy as np

    guesses, count = found.scores[CANDIDATE].argmax(axis=1), len(found.classes)
    kept = np.arange(count)
    if count > _MOST_CLASSES:
        sizes = np.bincount(found.labels, minlength=count)
        kept = np.sort(np.argsort(-sizes, kind="stable")[: _MOST_CLASSES - 1])
    place = np.full(count, len(kept))
    place[kept] = np.arange(len(kept))
    names = [found.classes[index] for index in kept] + [_REST] * (len(kept) < count)
    return names, _cells(place[found.labels], place[guesses], len(names))


def _cells(truth: Ints, guess: Ints, count: int) -> list[list[int]]:
    import numpy as np

    cells: list[list[int]] = np.bincount(truth * count + guess, minlength=count * count).reshape(count, count).tolist()
    return cells
