"""Distributions of a column, newest span beside what it is compared with, cut so that the two can be laid over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flywheel import statistics
from flywheel.profiles import Column
from flywheel.profiles.profile import Floats
from flywheel.reports import percent, short
from flywheel.reports.charts import Bin
from flywheel.reports.past import UNIT, Past, mean

_BINS = 24
_FEW = 8
_WHOLE = 32
_CENTRAL = (0.01, 0.99)


@dataclass(frozen=True)
class Shape:
    """One or two distributions of a column; at most one of the attributes is filled.

    Attributes:
        bins: Of a number, by the name of the series: edges and shares.
        shares: Of a word, or of a number with few values.
        sorted: Whether the categories stand in an order of their own, not that of their shares.
    """

    bins: Mapping[str, Sequence[Bin]] = field(default_factory=dict)
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    sorted: bool = False

    def __bool__(self) -> bool:
        return any(self.bins.values()) or any(self.shares.values())

    def top(self, count: int, moved: bool = False) -> list[str]:
        """Return the categories to show: the most frequent ones, half of them those that `moved` most if asked.

        Those that have an order of their own are given in it, all others by their shares.
        """
        highest: dict[str, float] = {}
        for shares in self.shares.values():
            for category, share in shares.items():
                highest[category] = max(highest.get(category, 0.0), share)
        order = sorted(highest, key=lambda category: -highest[category])
        chosen = order[:count]
        if moved and len(self.shares) == 2:
            left, right = self.shares.values()
            furthest = sorted(highest, key=lambda category: -abs(left.get(category, 0.0) - right.get(category, 0.0)))
            chosen = list(dict.fromkeys([*furthest[: count // 2], *order]))[:count]
        return [category for category in (highest if self.sorted else order) if category in chosen]


class Looks:
    """What columns look like: by their profiles, else by TFDV's statistics of the newest span and the one before.

    Args:
        past: Of the newest span.
        statistics: TFDV's of `newest` and `before`, or either of them.
    """

    def __init__(self, past: Past, statistics: Mapping[str, Any]) -> None:
        self._past = past
        self._seconds, self._unit = UNIT[past.history.every]
        self._features = {side: _by_name(statistics[side]) for side in ("newest", "before") if side in statistics}
        beside = len(past.references)
        self.names = past.newest, f"the {beside} spans it is compared with" if beside > 1 else "the span before"

    @property
    def columns(self) -> list[str]:
        """Names of the newest span's columns, in the query's order."""
        profile = self._past.profile
        return list(dict.fromkeys([*self._features.get("newest", ()), *(profile.columns if profile else ())]))

    def shape(self, column: str) -> Shape:
        """Return the distributions of a column; an empty one when it has no values."""
        newest, usual = self._past.newest_of(column), self._past.usual_of(column)
        if newest is not None:
            return of_columns(dict(zip(self.names, (newest, usual), strict=True)), self._seconds)
        sides = zip(("newest", "before"), (self.names[0], "the span before"), strict=True)
        given = {name: self._features.get(side, {}).get(column) for side, name in sides}
        return of_statistics({name: feature for name, feature in given.items() if feature is not None})

    def unit(self, column: str) -> str:
        """Return what a column's numbers are counted in, in words; empty when it is not known."""
        newest = self._past.newest_of(column)
        return f"in {self._unit} from the start of the span" if newest is not None and newest.kind == "time" else ""

    def far_out(self, column: str) -> str:
        """Return how far the values reach when that is more than twice as far as usual; empty when it is not."""
        newest, usual = self._past.newest_of(column), self._past.usual_of(column)
        if newest is None or usual is None or newest.kind != "number" or not len(newest.points):
            return ""
        (low, high), (least, most) = ((float(each.points[0]), float(each.points[-1])) for each in (newest, usual))
        if least - (most - least) <= low and high <= most + (most - least):
            return ""
        return f"{short(low)} to {short(high)}, usually {short(least)} to {short(most)}"

    def figures(self, column: str) -> dict[str, object]:
        """Return what a column's values are like in the newest span, in figures."""
        feature, newest = self._features.get("newest", {}).get(column), self._past.newest_of(column)
        if newest is None:
            return _of_feature(feature)
        facts: dict[str, object] = {"missing": percent(newest.nulls)} if newest.nulls else {}
        if newest.kind == "word":
            return facts | {"distinct": newest.distinct}
        if not len(newest.points):
            return facts
        unit = self._seconds if newest.kind == "time" else 1.0
        low, high = float(newest.points[0]), float(newest.points[-1])
        return facts | {"mean": mean(newest) / unit, "min": low / unit, "max": high / unit}


def of_columns(columns: Mapping[str, Column | None], unit: float = 1.0) -> Shape:
    """Return the distributions of a column in several sets of spans, cut at the same edges.

    Args:
        columns: The column by the name of the series; None, and it is left out. One without values, or of another kind
            than the first that has some, stays empty.
        unit: Seconds in which times are counted.
    """
    given = {name: each for name, each in columns.items() if each is not None and (len(each.points) or each.values)}
    if not given:
        return Shape()
    kind = next(iter(given.values())).kind
    alike = {name: each for name, each in given.items() if each.kind == kind}
    empty: dict[str, Any] = {name: {} for name, each in columns.items() if each is not None}
    if kind == "word":
        return Shape(shares=empty | {name: each.values for name, each in alike.items()})
    sides = {name: (each.points / (unit if kind == "time" else 1.0), each.masses) for name, each in alike.items()}
    values = np.unique(np.concatenate([points for points, _ in sides.values()]))
    if len(values) <= _FEW:
        return Shape(shares=empty | {name: _counted(values, *side) for name, side in sides.items()}, sorted=True)
    edges = _edges(values, list(sides.values()))
    return Shape(bins={name: [] for name in empty} | {name: _binned(edges, *side) for name, side in sides.items()})


def of_statistics(features: Mapping[str, Any]) -> Shape:
    """Return the distributions of a column by TFDV's statistics of it, by the name of the series."""
    kinds = {feature.WhichOneof("stats") == "num_stats" for feature in features.values()}
    if kinds == {True}:
        return Shape(bins={name: _widened(statistics.bins(feature)) for name, feature in features.items()})
    return Shape(shares={name: statistics.shares(feature) for name, feature in features.items()})


def _by_name(found: Any) -> dict[str, Any]:
    return {each.path.step[0]: each for each in statistics.features(found)} if found.datasets else {}


def _of_feature(feature: Any) -> dict[str, object]:
    common = statistics.common(feature)
    rows = common.num_non_missing + common.num_missing
    facts: dict[str, object] = {"missing": percent(common.num_missing / rows)} if common.num_missing else {}
    if feature.WhichOneof("stats") == "num_stats":
        found = feature.num_stats
        return facts | {"mean": found.mean, "min": found.min, "max": found.max}
    return facts | {"distinct": feature.string_stats.unique}


def _counted(values: Floats, points: Floats, masses: Floats) -> dict[str, float]:
    found = np.zeros(len(values))
    np.add.at(found, np.searchsorted(values, points), masses / masses.sum())
    return {f"{value:.6g}": float(share) for value, share in zip(values, found, strict=True)}


def _edges(values: Floats, sides: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Return where bins begin and end: around each whole number if there are few, else of equal width.

    The outermost hundredths of each side have no bins of their own, or one value far out would leave a single bar.
    """
    low, high = values[0], values[-1]
    if (values == np.floor(values)).all() and high - low < _WHOLE:
        return np.arange(low, high + 2) - 0.5
    ends = np.array([_quantiles(points, masses) for points, masses in sides])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    return np.linspace(low, high, _BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])


def _quantiles(points: Floats, masses: Floats) -> Floats:
    order = np.argsort(points, kind="stable")
    risen = np.cumsum(masses[order]) / masses.sum()
    at = np.minimum(np.searchsorted(risen, _CENTRAL), len(points) - 1)
    return np.asarray(points[order][at])


def _binned(edges: Floats, points: Floats, masses: Floats) -> list[Bin]:
    """Return the share of each bin; what is further out is counted in the outermost ones."""
    shares, _ = np.histogram(np.clip(points, edges[0], edges[-1]), edges, weights=masses / masses.sum())
    return [(float(low), float(high), float(share)) for low, high, share in zip(edges, edges[1:], shares, strict=False)]


def _widened(bins: list[Bin]) -> list[Bin]:
    """Return `bins`, those without width given a little: a column with one value is to be seen too."""
    if bins and bins[0][0] == bins[-1][1]:
        value = bins[0][0]
        margin = abs(value) * 0.05 or 0.05
        return [(value - margin, value + margin, 1.0)]
    return bins
