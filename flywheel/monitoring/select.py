"""What to label next: the rows of which a label teaches most, and always a random part that says how good the model is.

A label costs money, and most requests teach nothing. Chosen are rows that the model is unsure of (margin or entropy of
its probabilities), on which champion and challenger disagree, or that models were unsure of all along (training
dynamics); with `points` those among them that are far from each other (greedy k-center). What is chosen so is no
sample: the random part is, and its inclusion probabilities let every row be weighted (Horvitz & Thompson 1952).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flywheel.errors import ConfigError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_POOL = 10
"""Rows among which diversity chooses, as a multiple of what is to be chosen: the most informative ones."""


@dataclass(frozen=True)
class Chosen:
    """What is to be labelled.

    Attributes:
        rows: Places of the rows, each once.
        why: `random` or `informative`, for each.
        inclusion: For each the chance with which the random part takes it, the same whatever the model says of the row;
            to estimate anything about all rows, use the random part and weigh by one over this.
    """

    rows: Ints
    why: list[str]
    inclusion: Floats


def margin(probabilities: Floats) -> Floats:
    """Return how unsure each row is, 0 to 1: 1 less the lead of the likeliest class (margin, Scheffer et al. 2001).

    Args:
        probabilities: Shape (rows, classes); rows add up to 1.
    """
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(1 - (two[:, 1] - two[:, 0]))


def entropy(probabilities: Floats) -> Floats:
    """Return how unsure each row is by entropy, 0 (sure) to 1 (all classes alike).

    Args:
        probabilities: Shape (rows, classes); rows add up to 1.
    """
    p = np.clip(probabilities, 1e-12, 1.0)
    return np.asarray(-(p * np.log(p)).sum(axis=1) / np.log(probabilities.shape[1]))


def disagreement(one: Floats, other: Floats) -> Floats:
    """Return how far two models are apart on each row: half the L1 distance of their probabilities, 0 to 1.

    Where a model gives a number, it is the distance of the two, as a share of the largest.

    Args:
        one: The champion's, shape (rows, classes).
        other: The challenger's, of the same shape.
    """
    apart = np.abs(one - other).sum(axis=1)
    if one.shape[1] == 1:
        return np.asarray(apart / apart.max() if apart.max() > 0 else apart)
    return np.asarray(apart / 2)


def dynamics(history: Floats) -> Floats:
    """Return how unsure models were of each row all along, 0 to 1: the margin of their mean probabilities.

    After Kye et al., TiDAL: Learning Training Dynamics for Active Learning (ICCV 2023), which averages over the epochs
    of one training, and has a module predict that average for unlabelled rows; here models say it themselves.
    Where a model gives a number, it is how far the models' numbers spread, as a share of the widest.

    Args:
        history: What each model says, shape (models, rows, classes), oldest first: epochs of a training, or the
            versions of a registry.
    """
    if history.shape[2] == 1:
        spread = history[..., 0].std(axis=0)
        return np.asarray(spread / spread.max() if spread.max() > 0 else spread)
    return margin(history.mean(axis=0))


def k_center(points: NDArray[Any], count: int, near: NDArray[Any] | None = None) -> Ints:
    """Return `count` rows that leave no row far from all of them, by greedy k-center (Sener & Savarese 2018).

    Args:
        points: What a row looks like, shape (rows, dimensions); features or, better, an embedding, alike in scale.
        count: How many.
        near: What is labelled already, in the same dimensions; the first choice is the row farthest from these.
    """
    count = min(count, len(points))
    norms = np.einsum("ij,ij->i", points, points)
    if near is not None and len(near):
        far = np.full(len(points), np.inf)
        for start in range(0, len(near), 256):  # squared distances in blocks, so that memory stays flat
            block = near[start : start + 256]
            squares = norms[:, None] - 2 * points @ block.T + np.einsum("ij,ij->i", block, block)[None]
            far = np.minimum(far, squares.min(axis=1))
    else:
        far = np.asarray(((points - points.mean(axis=0)) ** 2).sum(axis=1), np.float64)
    chosen = np.empty(count, np.int64)
    for place in range(count):  # one product of matrix and vector each: nothing larger than the points is made
        chosen[place] = at = int(far.argmax())
        far = np.minimum(far, norms - 2 * (points @ points[at]) + norms[at])
        far[at] = -np.inf
    return chosen


def select(
    scores: Floats,
    budget: int,
    *,
    points: NDArray[Any] | None = None,
    near: NDArray[Any] | None = None,
    random_part: float = 0.2,
    slices: NDArray[Any] | None = None,
    seed: int = 0,
) -> Chosen:
    """Return which rows to label.

    First a random part is drawn. Then the rest of the budget goes to the rows with the highest scores, or with `points`
    to those of the ten times as many highest ones that are farthest apart. With `slices` each slice gets an equal share
    of the budget, or all its rows when it has fewer; what is left over goes to the others. A budget of fewer labels
    than there are slices leaves some slices out, of which the random part then says nothing.

    Args:
        scores: How much a label of each row would teach: `margin`, `entropy`, `disagreement`, `dynamics`, or a mix.
        budget: How many labels there may be.
        points: What a row looks like, shape (rows, dimensions).
        near: What is labelled already, in the same dimensions.
        random_part: Share of the budget that is drawn by lot, above 0: without it live quality cannot be estimated.
        slices: A value for each row.
        seed: Of the lot.

    Raises:
        ConfigError: There is no budget, no random part, or a score is no number.
    """
    if budget < 1:
        raise ConfigError(f"the budget is {budget!r} labels", "give at least 1.")
    if not 0 < random_part <= 1:
        raise ConfigError(f"the random part is {random_part!r}", "give a share above 0, at most 1.")
    if not np.isfinite(scores).all():
        raise ConfigError("some scores are no numbers", "leave those rows out, or score them 0.")
    chance = np.random.default_rng(seed)
    names = np.zeros(len(scores), np.int64) if slices is None else np.unique(slices, return_inverse=True)[1]
    rows: list[int] = []
    why: list[str] = []
    inclusion = np.zeros(len(scores))
    for name, share in _budgets(np.bincount(names), budget).items():
        inside = np.flatnonzero(names == name)
        by_lot = min(share, max(1, round(random_part * share)))
        inclusion[inside] = by_lot / len(inside)
        drawn = chance.choice(inside, by_lot, replace=False)
        rest = np.setdiff1d(inside, drawn)
        informative = _informative(rest, scores, share - by_lot, points, near)
        rows += [*drawn.tolist(), *informative.tolist()]
        why += ["random"] * len(drawn) + ["informative"] * len(informative)
    found = np.array(rows, np.int64)
    return Chosen(found, why, inclusion[found])


def _informative(
    rest: Ints, scores: Floats, count: int, points: NDArray[Any] | None, near: NDArray[Any] | None
) -> Ints:
    best = rest[np.argsort(-scores[rest], kind="stable")]
    if points is None or count == 0:
        return np.asarray(best[:count])
    pool = best[: _POOL * count]
    return np.asarray(pool[k_center(points[pool], count, near)])


def _budgets(sizes: Ints, budget: int) -> Mapping[int, int]:
    """Return how many rows each slice gets: equal shares, small slices whole, what they leave goes to the others."""
    left, given = min(budget, int(sizes.sum())), {}
    order = np.argsort(sizes, kind="stable")
    for place, name in enumerate(order):
        share = min(int(sizes[name]), left // (len(order) - place))
        if share:
            given[int(name)] = share
        left -= share
    return dict(sorted(given.items()))
