"""How far a span is from others, in scalars whose usual spread a history can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from flywheel.profiles.distances import (
    CLOCKS,
    commonest,
    deviation,
    distance,
    divergence,
    later,
    nearest,
    pool,
    shift,
    size,
)
from flywheel.profiles.known import Known
from flywheel.profiles.profile import Column, Profile
from flywheel.profiles.units import CONVERSIONS

UPWARDS = frozenset(
    (
        "unseen",
        "stale",
        "distance",
        "links",
        "repeated rows",
        "rows seen before",
        "drift",
        "null drift",
        "row drift",
        "pairs",
        "odd",
        "word",
        "against",
        "between",
        "fraction",
        "common",
        "digits",
        "still",
        "stuck",
        "line",
        "agree",
        "again",
        "unit",
        "new keys",
    )
)
"""Measures that are only strange when they are large; of the others, both sides are."""

_LINKED = 0.15
_LEAST_SHARE = 0.005
_MOSTLY_ZERO = 0.25


@dataclass(frozen=True)
class Measure:
    """One scalar that says how far a span is from its references.

    Attributes:
        value: The change, on a scale on which its spread is about the same wherever it lies.
        observed: What was found, in its own unit.
        reference: The same of the references.
        scale: `angle` of shares, `log` of counts, `square` for roots of distances, `level` in units of `unit`, `plain`.
        unit: What a level is counted in.
        note: What it means, in words, if the figure does not say so.
    """

    value: float
    observed: float
    reference: float
    scale: str
    unit: float = 1.0
    note: str = ""

    def natural(self, value: float) -> float:
        """Return what would have been observed at `value`."""
        if self.scale == "angle":
            share = np.sin(np.clip(_angle(self.reference) + value, 0, np.pi / 2)) ** 2
            return float(np.clip((share - _LEAST_SHARE) / (1 - 2 * _LEAST_SHARE), 0.0, 1.0))
        if self.scale == "log":
            return float(self.reference * np.exp(np.clip(value, -50, 50)))
        return float(max(value, 0.0) ** 2 if self.scale == "square" else self.reference + value * self.unit)


def measures(
    profile: Profile, references: Sequence[Profile], before: Profile | None, known: Known, label: str
) -> dict[str, Measure]:
    """Return every measure of a span, named `<check> of <column>`; those without a column by the check alone.

    What cannot be measured, because a side has no values, is left out.

    Args:
        profile: The span.
        references: Comparable earlier spans, at least one.
        before: The span right before, if there is one.
        known: All values that were ever usual.
        label: Column to predict.
    """
    rows = float(np.mean([each.rows for each in references]))
    found = {
        "rows": _log_ratio(profile.rows, rows),
        "repeated rows": share_change(profile.repeated, _repeated(references)),
    }
    if before is not None:
        found["rows seen before"] = share_change(_overlap(profile, before), 0.0)
        found |= _since(profile, before, known, label)
    rate = float(np.mean([each.label_rate for each in references]))
    if not np.isnan(profile.label_rate + rate):
        found[f"label rate of {label}"] = share_change(profile.label_rate, rate)
    for name, column in profile.columns.items():
        others = [each.columns[name] for each in references if name in each.columns]
        weights = [float(each.rows) for each in references if name in each.columns]
        if others and others[0].kind == column.kind:
            told = _of_column(column, others, weights, known.spread(name))
            if name == label:  # its rate, which says the rest, has a measure of its own
                told = {check: value for check, value in told.items() if check in ("nulls", "word", "length")}
            found |= {f"{check} of {name}": value for check, value in told.items()}
            new = {"unseen": known.unseen, "between": known.between, "fraction": known.odd_fraction}
            shares = {check: share(name, column) for check, share in new.items()}
            found |= {f"{check} of {name}": share_change(s, 0.0) for check, s in shares.items() if s is not None}
            if (converted := known.converted(name, column)) is not None:
                found[f"unit of {name}"] = _unit(*converted)
    return found | _of_links(profile, references, label)


def _repeated(references: Sequence[Profile]) -> float:
    return float(np.mean([each.repeated for each in references]))


def drifts(newest: Sequence[Profile], earlier: Sequence[Profile]) -> dict[str, Measure]:
    """Return how far the newest spans together are from earlier ones: a slow change adds up.

    `drift of <column>` is the distance of its values, `null drift of <column>` and `row drift` the change in how many
    there are.
    """
    new, old = (float(np.mean([each.rows for each in spans])) for spans in (newest, earlier))
    found = {"row drift": _either_way(_log_ratio(new, old))}
    for name, column in newest[-1].columns.items():
        if column.distinct <= 1:  # a weekday does not drift, and a week with a holiday has fewer of them
            continue
        sides = []
        missing = []
        for spans in (newest, earlier):
            having = [each for each in spans if name in each.columns and each.columns[name].kind == column.kind]
            sides.append(pool([each.columns[name] for each in having], [float(each.rows) for each in having]))
            missing.append(float(np.mean([each.columns[name].nulls for each in having] or [0.0])))
        found[f"null drift of {name}"] = _either_way(share_change(*missing))
        left, right = sides
        if left is not None and right is not None and column.kind != "time":  # whose clock may have changed between
            found[f"drift of {name}"] = _root(distance(left, right))
    return found


def _since(profile: Profile, before: Profile, known: Known, label: str) -> dict[str, Measure]:
    """Return how each column changed since the span before: weather is more like yesterday's than last week's."""
    found = {}
    for name, column in profile.columns.items():
        earlier = before.columns.get(name)
        if earlier is None or earlier.kind != column.kind or not len(column.points) or not len(earlier.points):
            continue
        if name == label:
            continue
        if column.kind == "number" and (spread := known.spread(name)):
            found[f"step of {name}"] = _level(column, earlier, spread)
        if column.distinct == len(column.points) > 1 and earlier.distinct == len(earlier.points):
            same = float(column.masses[np.isin(column.points, earlier.points)].sum())
            found[f"stale of {name}"] = share_change(same, 0.0)
    return found


def _unit(unlikely: float, factor: float) -> Measure:
    note = f"its numbers look like {CONVERSIONS[factor]}: nearly all are multiples of {factor:g} of the usual steps"
    return Measure(unlikely, unlikely, 0.0, "plain", note=note)


def _level(column: Column, other: Column, spread: float) -> Measure:
    """Return the difference of two means, in standard deviations of all that was ever usual."""
    mean, usual = (float(np.average(each.points, weights=each.masses)) for each in (column, other))
    return Measure((mean - usual) / spread, mean, usual, "level", spread)


def _of_column(column: Column, others: Sequence[Column], weights: Sequence[float], spread: float) -> dict[str, Measure]:
    found = {"nulls": share_change(column.nulls, _mean(others, weights, "nulls"))}
    pooled = pool(others, weights)
    if column.nulls == 1 or pooled is None:
        return found
    if column.kind != "time":
        for share in ("zeros", "whole"):
            found[share] = share_change(getattr(column, share), _mean(others, weights, share))
    found["distinct"] = _log_ratio(column.distinct, float(np.mean([each.distinct for each in others])))
    found["distance"] = _root(nearest(column, pooled) if column.kind == "time" else distance(column, pooled))
    if column.kind == "word":
        found["word"] = _word(column, pooled)
        found["length"] = _log_ratio(column.length, _mean(others, weights, "length"))
    else:
        clocks = CLOCKS if column.kind == "time" else (0.0,)
        moved = min((shift(later(column, seconds), pooled) for seconds in clocks), key=abs)
        found["shift"] = Measure(moved, moved, 0.0, "plain")
    if column.kind == "number" and len(column.points):
        found["common"] = share_change(commonest(column), float(np.mean([commonest(each) for each in others])))
        if _mean(others, weights, "zeros") > _MOSTLY_ZERO and (far := size(column)) is not None:
            found["size"] = Measure(far, far, 0.0, "plain")  # the others may have nothing but zeros
        if len(column.digits) and (ends := [each.digits for each in others if len(each.digits)]):
            found["digits"] = _root(divergence(column.digits, np.mean(ends, 0)))
    if column.kind == "number" and spread:
        found["level"] = _level(column, pooled, spread)
        usual = float(np.mean([deviation(each) for each in others if len(each.points)]))
        found["spread"] = _log_ratio(deviation(column) / spread, usual / spread, least=0.1)
    return found


def _word(column: Column, usual: Column) -> Measure:
    """Return the change of the word whose share changed most; a thousandth of the rows is nothing yet."""
    told = [word for word, share in usual.values.items() if share >= _LEAST_SHARE]
    changes = [share_change(column.values.get(word, 0.0), usual.values[word]) for word in told]
    largest = max(changes, key=lambda change: abs(change.value), default=share_change(0.0, 0.0))
    return Measure(abs(largest.value), largest.observed, largest.reference, "plain")


def _of_links(profile: Profile, references: Sequence[Profile], label: str) -> dict[str, Measure]:
    """Return how the links of each column have changed: the root of the mean square over what it is linked with."""
    same = [each.links for each in references if each.names == profile.names]
    if not same:
        return {}
    with np.errstate(all="ignore"):
        counted = np.isfinite(same).sum(0)
        usual = np.where(counted, np.nansum(same, 0) / counted, np.nan)
    change = profile.links - usual
    strong = np.isfinite(change) & ((np.abs(usual) >= _LINKED) | (np.abs(profile.links) >= 2 * _LINKED))
    found = {}
    for index, name in enumerate(profile.names):
        if name == label:
            continue
        partners = [other for other in np.flatnonzero(strong[index]) if profile.names[other] != label]
        if partners:
            moved = float(np.sqrt(np.mean(change[index][partners] ** 2)))
            found[f"links of {name}"] = Measure(moved, moved, 0.0, "plain")
        if label in profile.columns:
            told = profile.names.index(label)
            if np.isfinite(change[index][told]):
                link, before = float(profile.links[index][told]), float(usual[index][told])
                found[f"link with the label of {name}"] = Measure(link - before, link, before, "plain")
    return found


def _mean(columns: Sequence[Column], weights: Sequence[float], name: str) -> float:
    return float(np.average([getattr(column, name) for column in columns], weights=weights))


def share_change(share: float, usual: float) -> Measure:
    """Return the change of a share as an angle, whose spread is the same everywhere (Freeman, Tukey 1950).

    Near 0 and 1 half a per cent is added, so that a single row is no jump.
    """
    return Measure(_angle(share) - _angle(usual), share, usual, "angle")


def _angle(share: float) -> float:
    return float(np.arcsin(np.sqrt(_LEAST_SHARE + (1 - 2 * _LEAST_SHARE) * np.clip(share, 0.0, 1.0))))


def _either_way(change: Measure) -> Measure:
    return replace(change, value=abs(change.value))


def _log_ratio(value: float, usual: float, least: float = 0.5) -> Measure:
    return Measure(float(np.log((value + least) / (usual + least))), value, usual, "log")


def _root(share: float) -> Measure:
    return Measure(float(np.sqrt(share)), share, 0.0, "square")


def _overlap(profile: Profile, before: Profile) -> float:
    """Return the share of rows that stand in the span before too, by the smallest hashes of both (Broder 1997)."""
    if not len(profile.hashes) or not len(before.hashes):
        return 0.0
    bound = min(profile.hashes[-1], before.hashes[-1])
    mine = profile.hashes[profile.hashes <= bound]
    return float(np.isin(mine, before.hashes).mean()) if len(mine) else 0.0
