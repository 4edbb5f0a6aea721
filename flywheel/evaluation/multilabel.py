"""Metrics of several labels of a row: of each by itself, their mean (macro), and of all labels of all rows (micro).

Each is the binary metric of the same name, on the rows of which the label is known. In TFMA a label is an output of the
model, and one that is not known has no weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from flywheel.config.metrics import MACRO, MICRO
from flywheel.evaluation import binary
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.metric import Metric, OfSums, Tfma, total
from flywheel.evaluation.multiclass import Mean
from flywheel.evaluation.paired import Statistic

if TYPE_CHECKING:
    from flywheel.evaluation.groups import Floats, Ints
    from flywheel.evaluation.predictions import Predictions

ALL = "all labels"
"""The output of the model, in TFMA, that every label of every row is in."""
_WHOLE = -1
_AVERAGED = ("auc", "precision", "recall", "f1", "log_loss", "brier")
_FLAT = ("auc", "precision", "recall", "f1")
"""Metrics that TFMA takes of all labels together; the others want one prediction a row."""
_OF_TRUTH = ("auc", "recall")
"""Metrics that are undefined where the rows have a label all alike, whatever a model says: their mean leaves it out."""


def of_label(found: Predictions, label: int) -> Predictions:
    """Return one label as a task of its own, on the rows of which it is known; its slices are left out."""
    return _cells(found, label)[0]


def of_all(found: Predictions) -> Predictions:
    """Return every label of every row that is known, as one binary task."""
    return _cells(found, _WHOLE)[0]


def _cells(found: Predictions, label: int) -> tuple[Predictions, Ints]:
    """Return what is known of a label, or of all of them, as binary predictions, and of which row each is."""
    if ("cells", label) not in found.known:
        found.known["cells", label] = _look(found, label)
    kept: tuple[Predictions, Ints] = found.known["cells", label]
    return kept


def _look(found: Predictions, label: int) -> tuple[Predictions, Ints]:
    import numpy as np

    if label == _WHOLE:
        rows, labels = np.nonzero(found.labels >= 0)
    else:
        rows = np.flatnonzero(found.labels[:, label] >= 0)
        labels = np.full(len(rows), label)
    clusters = None if found.clusters is None else Groups(found.clusters.keys, found.clusters.codes[rows])
    part = replace(
        found,
        labels=found.labels[rows, labels],
        scores={name: scores[rows, labels] for name, scores in found.scores.items()},
        spans=Groups(found.spans.keys, found.spans.codes[rows]),
        slices={},
        task="binary",
        classes=(),
        own={},
        better={},
        searched={},
        clusters=clusters,
        weights=found.weighed(rows),
    )
    return part, rows


@dataclass(frozen=True)
class OfLabel:
    """A binary metric of one label, or of all labels of all rows.

    Attributes:
        label: Which; `_WHOLE` for all.
        metric: The binary one.
        tfma: The same in TFMA.
    """

    label: int
    metric: Metric
    tfma: Tfma | None

    def by_group(self, found: Predictions, model: str, groups: Groups, known: dict[Any, Floats]) -> Floats:
        """Return the figure of each group."""
        part, rows = _cells(found, self.label)
        own: Any = known.setdefault(("label", self.label), {})  # type: ignore[arg-type]
        return self.metric.by_group(part, model, Groups(groups.keys, groups.codes[rows]), own)

    def statistic(self, found: Predictions, model: str) -> Statistic:
        """Return the exact figure as a function of how often each cluster is counted."""
        return self.metric.statistic(_cells(found, self.label)[0], model)


@dataclass(frozen=True)
class Macro:
    """The mean of a metric over labels: by group of all of them, as a statistic of those that occur.

    Attributes:
        parts: The metric of each label.
        skips: Whether a label that the rows have all alike is left out of the statistic.
        tfma: The same in TFMA.
    """

    parts: tuple[OfLabel, ...]
    skips: bool
    tfma: Tfma

    def by_group(self, found: Predictions, model: str, groups: Groups, known: dict[Any, Floats]) -> Floats:
        """Return the figure of each group; undefined where that of a label is."""
        import numpy as np

        mean: Floats = np.mean([part.by_group(found, model, groups, known) for part in self.parts], axis=0)
        return mean

    def statistic(self, found: Predictions, model: str) -> Statistic:
        """Return the exact figure as a function of how often each cluster is counted."""
        import numpy as np

        there = [part for part in self.parts if len(np.unique(of_label(found, part.label).labels)) == 2]
        return Mean([part.statistic(found, model) for part in (there if self.skips else self.parts)], self.skips)


_BINARY: dict[str, Metric] = {
    **{name: binary.METRICS[name] for name in (*_AVERAGED, "calibration", "label_rate")},
    "label_count": binary.METRICS["example_count"],
}


def _rows(found: Predictions, model: str, codes: Ints, count: int) -> Floats:
    import numpy as np

    inside = codes[codes >= 0]
    return total(inside, count, np.ones(len(inside)))


def _of(label: int, name: str, output: str) -> OfLabel:
    metric = _BINARY[name]
    assert metric.tfma
    return OfLabel(label, metric, replace(metric.tfma, output=output))


@cache
def metrics(labels: tuple[str, ...]) -> dict[str, Metric]:
    """Return the metrics of these labels."""
    return dict(_metrics(labels))


def _metrics(labels: tuple[str, ...]) -> Iterator[tuple[str, Metric]]:
    for name in _AVERAGED:
        parts = tuple(_of(index, name, label) for index, label in enumerate(labels))
        known = _BINARY[name].tfma
        assert known
        yield f"{MACRO}{name}", Macro(parts, name in _OF_TRUTH, replace(known, mean_of=labels))
    for name in _AVERAGED:
        together = _of(_WHOLE, name, ALL)
        yield f"{MICRO}{name}", together if name in _FLAT else replace(together, tfma=None)
    for index, label in enumerate(labels):
        for name in _BINARY:
            yield f"{name}_{label}", _of(index, name, label)
    yield "example_count", OfSums(_rows, lambda s: s[..., 0], tfma=Tfma("ExampleCount"))
