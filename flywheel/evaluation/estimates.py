"""How good a model is, and how much better than another on the same rows: a figure, and how far it may be off."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from flywheel.evaluation import bootstrap, metrics, paired
from flywheel.evaluation.binary import THRESHOLD
from flywheel.evaluation.mcnemar import Discordant
from flywheel.evaluation.paired import Estimate, Statistic
from flywheel.evaluation.predictions import CANDIDATE, CHAMPION, ROWS, Evidence, Predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flywheel.evaluation.groups import Ints

T = TypeVar("T")


def figure(found: Predictions, metric: str, model: str) -> Estimate:
    """Return a model's `metric`, with its error over spans or whatever else is independent."""
    return _estimate(found, metric, (model,), (1,))


def value(found: Predictions, metric: str, model: str) -> float:
    """Return a model's `metric` alone, which costs less than with its error."""
    import numpy as np

    known = _statistic(found, metric, model)
    return float(known.at(np.ones((1, len(known.sizes))))[0])


def difference(found: Predictions, metric: str, other: str = CHAMPION) -> Estimate:
    """Return how much better the candidate's `metric` is than another's on the same rows, with its error.

    Where neither more nor less is better it is candidate minus the other. The error is that of a jackknife over spans,
    or over what `gates.cluster` names. Where rows are independent the same is DeLong's of AUC; of accuracy McNemar's
    test is more exact. The bootstrap is there for figures that are so skewed that none of these fits.
    """
    sign = metrics.better(found, metric) or 1
    if metric == "accuracy" and found.evidence == Evidence(ROWS) and found.weights is None:
        ours, theirs = (_right(found, name) for name in (CANDIDATE, other))
        return Discordant.of(len(found), float((ours & ~theirs).sum()), float((theirs & ~ours).sum()))
    return _estimate(found, metric, (CANDIDATE, other), (sign, -sign))


def _estimate(found: Predictions, metric: str, models: Sequence[str], signs: Sequence[int]) -> Estimate:
    return _once(found, ("estimate", metric, *models), lambda: _estimated(found, metric, models, signs))


def _estimated(found: Predictions, metric: str, models: Sequence[str], signs: Sequence[int]) -> Estimate:
    if found.evidence.test != "bootstrap":
        return paired.estimate([_statistic(found, metric, name) for name in models], signs)
    blocks, strata = _once(found, "blocks", lambda: _blocks(found))
    drawn = bootstrap.resampled([_statistic(blocks, metric, name) for name in models], signs, strata)
    return replace(drawn, clusters=int((found.units.rows() > 0).sum()))


def _statistic(found: Predictions, metric: str, model: str) -> Statistic:
    known = metrics.of(found)[metric]
    return _once(found, ("statistic", metric, model), lambda: known.statistic(found, model))


def _blocks(found: Predictions) -> tuple[Predictions, Ints]:
    clusters, strata = bootstrap.pooled(found.units, found.labels)
    return replace(found, clusters=clusters), strata


def _once(found: Predictions, what: Hashable, compute: Callable[[], T]) -> T:
    """Return what is known of these rows, computed when it is first asked for: gates, facts and report ask the same."""
    if what not in found.known:
        found.known[what] = compute()
    kept: T = found.known[what]
    return kept


def _right(found: Predictions, model: str) -> NDArray[Any]:
    """Return which rows a model gets right."""
    scores = found.scores[model]
    right: NDArray[Any] = (scores.argmax(axis=1) if scores.ndim == 2 else scores > THRESHOLD) == found.labels
    return right
