"""How far requests are from what the champion was trained on, held against how far its own training days are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from flywheel.artifacts import Check
from flywheel.profiles import History, Profile
from flywheel.profiles.bars import ENOUGH, Bars, check_of, column_of
from flywheel.profiles.compare import Measure, drifts
from flywheel.profiles.distances import distance, pool

_ROWS = 0.5
"""Requests of several spans are taken together until they are half as many rows as a span of training has."""


def skew(
    past: History, window: str, newest: Sequence[Profile], asked: Mapping[str, float], false_alarms: float
) -> list[Check]:
    """Return one check a column: are its requests farther from the training window than its own days are?

    Categories by L-infinity, numbers by Jensen-Shannon divergence over common quantiles, missing values by their share.
    The bar is where one day of the window, held against the others, comes with `false_alarms` over all columns
    (the largest score, Westfall & Young 1993).

    Args:
        past: The data gate's history, with the profiles of what was trained on.
        window: What the champion was trained on, `first to last`.
        newest: Profiles of requests, newest first.
        asked: Largest distance of a column, where its own history is not to decide.
        false_alarms: How often requests like the window may be called skewed.
    """
    first, _, last = window.partition(" to ")
    spans = [span for span in past.spans if first <= span <= (last or first)]
    then = [profile for span in spans if past[span].reference and (profile := past[span].profile) is not None]
    if len(then) < ENOUGH:
        why = f"the ledger has profiles of {len(then)} spans of {window or 'an unknown window'}, {ENOUGH} are needed"
        return [
            Check("skew", "undecided", reason=why, remedy="it comes with the next champion that a run trains here.")
        ]
    enough = _ROWS * float(np.median([profile.rows for profile in then]))
    recent: list[Profile] = []
    while len(recent) < len(newest) and sum(each.rows for each in recent) < enough:
        recent.insert(0, newest[len(recent)])
    rows = sum(each.rows for each in recent)
    if rows < enough:
        why = f"{rows:,} requests are too few to be compared with spans of {2 * enough:,.0f} rows"
        return [Check("skew", "undecided", rows=rows, reason=why, remedy="more requests tell; log all of them.")]
    usual = [_plain(drifts([then[at]], then[:at] + then[at + 1 :])) for at in range(len(then))]
    bars = Bars(usual, false_alarms)
    found = drifts(recent, then) | _stuck(recent, then)
    columns = [name for name in recent[-1].columns if name in then[-1].columns]
    return [_check(name, found, bars, asked.get(name), rows, window) for name in columns]


def _stuck(recent: Sequence[Profile], then: Sequence[Profile]) -> dict[str, Measure]:
    """Return the distance of columns that are the same in all requests and never were on a day of training."""
    found = {}
    for name, column in recent[-1].columns.items():
        known = [each for each in then if name in each.columns and each.columns[name].kind == column.kind]
        before = [each.columns[name] for each in known]
        if column.distinct != 1 or column.kind == "time" or not before or min(each.distinct for each in before) < 2:
            continue
        pooled = pool(before, [float(each.rows) for each in known])
        if pooled is not None:
            far = distance(column, pooled)
            found[f"drift of {name}"] = Measure(far**0.5, far, 0.0, "square")
    return found


def _plain(measures: Mapping[str, Measure]) -> dict[str, float]:
    return {name: each.value for name, each in measures.items() if check_of(name) != "row drift"}


def _check(column: str, found: Mapping[str, Measure], bars: Bars, asked: float | None, rows: int, window: str) -> Check:
    """Return the check of one column: the measure of it that is the farthest out."""
    name, common = f"skew of {column}", {"column": column, "rows": rows}
    distance = found.get(f"drift of {column}")
    if asked is not None and distance is not None:
        bad = distance.observed > asked
        told = {"observed": distance.observed, "bound": asked, **common}
        why = (
            f"{column} of requests is {distance.observed:.2%} from the training window, at most {asked:.2%} is accepted"
        )
        return Check(name, "fail" if bad else "pass", reason=why * bad, remedy=_REMEDY * bad, **told)  # type: ignore[arg-type]
    judged = [
        (bars.score(measure, value.value) / bars.bar(measure), measure)
        for measure, value in found.items()
        if column_of(measure) == column and bars.knows(measure)
    ]
    if not judged:
        return Check(name, "pass", reason="it is the same in all rows", **common)  # type: ignore[arg-type]
    excess, measure = max(judged)
    value = found[measure]
    bound = value.natural(bars.range(measure)[1])
    bad = excess > 1
    what = "share of missing values" if check_of(measure) == "null drift" else "distance from the training window"
    why = f"{column} of requests: {what} {value.observed:.2%}, days of {window} have at most {bound:.2%}"
    told = {"observed": value.observed, "bound": bound, **common}
    return Check(name, "fail" if bad else "pass", reason=why * bad, remedy=_REMEDY * bad, **told)  # type: ignore[arg-type]


_REMEDY = "retrain when the world has changed; mend the client when it asks with other values than it should."


__all__ = ["skew"]
