"""All metrics of a task, overall and by slice, vectorised: TFMA's definitions and TFMA's numbers where it has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flywheel.config.metrics import HEADLINE
from flywheel.config.metrics import better as better_of
from flywheel.evaluation import binary, multiclass, multilabel, queries, regression
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.metric import Metric
from flywheel.evaluation.own import metric
from flywheel.labels import MULTILABEL

if TYPE_CHECKING:
    from flywheel.evaluation.groups import Floats
    from flywheel.evaluation.predictions import Predictions

__all__ = ["HEADLINE", "better", "by_group", "finite", "of", "overall", "table"]


def of(found: Predictions) -> Mapping[str, Metric]:
    """Return the metrics that these predictions have, by name."""
    own: dict[str, Metric] = {name: metric(name) for name in found.own}
    if found.ranked is not None:
        own |= queries.metrics(found.tops)
    if found.task == "multiclass":
        return {**multiclass.metrics(found.classes), **own}
    if found.task == MULTILABEL:
        return {**multilabel.metrics(found.classes), **own}
    if found.task == "binary":
        return {**binary.METRICS, **own}
    known = {name: each for name, each in regression.METRICS.items() if name != "mase" or found.naive}
    return {**known, **own}


def better(found: Predictions, metric: str) -> int:
    """Return 1 when more of `metric` is better, -1 when less is, 0 when neither."""
    return found.better[metric] if metric in found.better else better_of(metric, found.task)


def by_group(found: Predictions, model: str, groups: Groups) -> dict[str, Floats]:
    """Return every metric of `model` for each group, in the order of its keys, as TFMA computes it.

    What is undefined is NaN, with exceptions that are TFMA's own: its AUC of rows of one class is 0, and its binary log
    loss is NaN as soon as one prediction is exactly 0 or 1.
    """
    known: dict[Any, Floats] = {}
    return {name: metric.by_group(found, model, groups, known) for name, metric in of(found).items()}


def overall(found: Predictions, model: str) -> dict[str, float]:
    """Return every metric of `model` on all rows."""
    return {name: float(values[0]) for name, values in by_group(found, model, Groups.whole(len(found))).items()}


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """Return those of `values` that are numbers: JSON has no NaN."""
    import math

    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def table(values: Mapping[str, Floats], keys: Sequence[Any]) -> dict[Any, dict[str, float]]:
    """Return the metrics of `by_group` as one mapping a group."""
    return {key: {name: float(column[index]) for name, column in values.items()} for index, key in enumerate(keys)}
