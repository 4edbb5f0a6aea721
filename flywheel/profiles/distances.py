"""Distances of distributions: what several spans are together, and how far another is from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flywheel.profiles.profile import Column, Floats

CLOCKS = (0.0, -3600.0, 3600.0)
"""How far a clock may have been changed, in seconds."""

_BINS = 20


def pool(columns: Sequence[Column], weights: Sequence[float]) -> Column | None:
    """Return the distribution of several spans together, each by its weight; None when none has values."""
    filled = [(column, weight * (1 - column.nulls)) for column, weight in zip(columns, weights, strict=True)]
    total = sum(weight for _, weight in filled)
    if not total:
        return None
    kind = columns[0].kind
    if kind == "word":
        shares: dict[str, float] = {}
        for column, weight in filled:
            for word, share in column.values.items():
                shares[word] = shares.get(word, 0.0) + share * weight / total
        return Column("word", 0.0, values=shares)
    points = np.concatenate([column.points for column, _ in filled])
    masses = np.concatenate([column.masses * weight / total for column, weight in filled])
    order = np.argsort(points, kind="stable")
    return Column(kind, 0.0, points=points[order], masses=masses[order])


def distance(left: Column, right: Column) -> float:
    """Return the Jensen-Shannon divergence of two distributions, 0 (same) to 1; numbers in bins of `right`'s quantiles.

    Lin 1991, logarithms to base 2, as TFDV has it.
    """
    if right.kind == "word":
        words = list({**left.values, **right.values})
        p, q = (np.array([side.values.get(word, 0.0) for word in words]) for side in (left, right))
        p, q = (np.append(shares, max(0.0, 1 - shares.sum())) for shares in (p, q))
    else:
        edges = _edges(right)
        p, q = (_masses(side, edges) for side in (left, right))
    return divergence(p, q)


def divergence(p: Floats, q: Floats) -> float:
    """Return the Jensen-Shannon divergence of shares that each add up to 1, in the same order."""
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(side > 0, side * np.log2(side / middle), 0.0).sum() for side in (p, q)]
    return float(np.clip(sum(terms) / 2, 0.0, 1.0))


def nearest(column: Column, usual: Column) -> float:
    """Return the distance of times, their clock an hour on or back where that is nearer: it changes twice a year."""
    return min(distance(later(column, seconds), usual) for seconds in CLOCKS)


def later(column: Column, seconds: float) -> Column:
    """Return times so many seconds later."""
    return replace(column, points=column.points + seconds) if seconds else column


def shift(left: Column, right: Column) -> float:
    """Return the chance that a number of `left` is above one of `right`, less a half: Mann and Whitney's U."""
    below = np.searchsorted(right.points, left.points, "left")
    upto = np.searchsorted(right.points, left.points, "right")
    risen = np.append(0.0, np.cumsum(right.masses))
    return float((left.masses * (risen[below] + risen[upto]) / 2).sum() / (left.masses.sum() * risen[-1]) - 0.5)


def _edges(column: Column) -> Floats:
    risen = np.cumsum(column.masses)
    at = np.searchsorted(risen, np.arange(1, _BINS) / _BINS * risen[-1])
    return np.asarray(np.unique(column.points[np.minimum(at, len(column.points) - 1)]))


def _masses(column: Column, edges: Floats) -> Floats:
    """Return the share of values up to each edge and above the last, atoms on an edge apart from what is between."""
    places = np.searchsorted(edges, column.points, "left") + np.searchsorted(edges, column.points, "right")
    counted = np.bincount(places, column.masses, minlength=2 * len(edges) + 1)
    return np.asarray(counted / counted.sum())


def deviation(column: Column) -> float:
    """Return the standard deviation of numbers."""
    mean = np.average(column.points, weights=column.masses)
    return float(np.sqrt(np.average((column.points - mean) ** 2, weights=column.masses)))


def commonest(column: Column) -> float:
    """Return the share of the number that comes most often, of quantiles a rough one."""
    _, places = np.unique(column.points, return_inverse=True)
    return float(np.bincount(places, column.masses).max(initial=0.0))


def size(column: Column) -> float | None:
    """Return the mean logarithm of how far numbers are from 0, those that are 0 left out; None when all are."""
    given = column.points != 0
    if not given.any():
        return None
    return float(np.average(np.log(np.abs(column.points[given])), weights=column.masses[given]))
