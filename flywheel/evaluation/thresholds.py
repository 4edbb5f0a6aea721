"""From which chance on a row is called a class: chosen on validation rows under a bar, and held to it on fresh rows.

For moderation: several classes, each of which has to be caught precisely enough, or often enough. A class's threshold
is the most useful one that is shown to clear its bar: under a bar of precision the one that catches most, under one of
recall the most precise. Shown means that the lower 95% bound of the rate clears it (Wilson 1927), because the best of
many thresholds is good by chance; so fresh rows mostly confirm it, and the gate looks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Check
from flywheel.evaluation import paired
from flywheel.evaluation.metric import OfSums, total
from flywheel.evaluation.paired import ALPHA
from flywheel.evaluation.predictions import CANDIDATE, Predictions

if TYPE_CHECKING:
    from flywheel.evaluation.groups import Floats, Ints
    from flywheel.evaluation.metric import Sums

FILE = "thresholds.json"
PRECISION, RECALL = "precision", "recall"


def choose(found: Predictions, bars: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Return the threshold of each class in `bars`, on the rows of `found`, with what it reaches there.

    Args:
        found: Predictions on validation rows.
        bars: By class (`1` of a binary task) its bar: `{"precision": 0.95}` or `{"recall": 0.9}`.

    Returns:
        By class `bar`, `at_least`, `threshold`, `precision`, `recall`, `rows` of the class; `threshold` is None where
        no threshold is shown to clear the bar, and the rates are those that come closest.
    """
    chosen = {}
    for name, bar in bars.items():
        ((rate, least),) = ((rate, least) for rate, least in bar.items() if least is not None)
        chosen[name] = {"bar": rate, "at_least": least} | _one(*_class(found, name), rate, least)
    return chosen


def checks(found: Predictions, chosen: Mapping[str, Mapping[str, Any]]) -> tuple[Check, ...]:
    """Return whether fresh rows keep each class's bar at its threshold.

    The burden is the blocker's: a class fails when its rate is shown to be below the bar, with the chance of even one
    false alarm held at 5% over all classes (Holm 1979); a rate below it that can be chance is a warning.
    """
    tried = {
        name: paired.estimate([_rate(name, each).statistic(found, CANDIDATE)])
        for name, each in chosen.items()
        if each["threshold"] is not None
    }
    judged = {name: each for name, each in tried.items() if each.sound}
    p = [each.p_below(chosen[name]["at_least"]) for name, each in judged.items()]
    adjusted = dict(zip(judged, paired.holm(p), strict=True))
    return tuple(_check(found, name, each, tried.get(name), adjusted.get(name, 1.0)) for name, each in chosen.items())


def table(found: Predictions, chosen: Mapping[str, Mapping[str, Any]]) -> list[dict[str, object]]:
    """Return each class's threshold with its rates on validation and on fresh rows."""
    rows: list[dict[str, object]] = []
    for name, each in chosen.items():
        at = each["threshold"]
        row: dict[str, object] = {"class": name, "bar": f"{each['bar']} at least {each['at_least']:g}", "threshold": at}
        for rate in (PRECISION, RECALL):
            row[f"{rate}, validation"] = each[rate]
            fresh = None if at is None else _rate(name, {**each, "bar": rate}).statistic(found, CANDIDATE)
            row[f"{rate}, fresh"] = fresh and paired.estimate([fresh]).value
        rows.append(row)
    return rows


def _check(
    found: Predictions, name: str, each: Mapping[str, Any], tried: paired.Estimate | None, adjusted: float
) -> Check:
    rate, least, at = each["bar"], float(each["at_least"]), each["threshold"]
    said = f"{rate} of {name} above its threshold at least {least:g}"
    if tried is None:
        return Check(
            said,
            "fail",
            each[rate],
            least,
            reason=f"no threshold of {name} is shown to reach {rate} {least:g} on validation rows, {each['rows']:,} of "
            f"which are {name}; the closest is {each[rate]:.4g}"
            + (", of too few rows to show it" if each[rate] >= least else ""),
            remedy="train on more rows of that class, or lower its bar in `train.thresholds`.",
        )
    kept: dict[str, Any] = {"observed": tried.value, "bound": least, "interval": tried.interval(), "rows": len(found)}
    if not math.isfinite(tried.value):
        what = "is above it" if rate == PRECISION else f"is {name}"
        return Check(said, "pass", bound=least, rows=len(found), reason=f"not judged: no row {what}")
    figure = (
        f"from {at:.4g} on, {rate} of {name} is {tried.value:.4g} on fresh rows, {each[rate]:.4g} on validation rows"
    )
    if adjusted <= ALPHA:
        remedy = "look at the mistakes of that class; a longer `source.window` validates on more days."
        return Check(said, "fail", **kept, reason=f"{figure}: shown to be below {least:g}", remedy=remedy)
    if tried.value < least:
        return Check(said, "warn", **kept, reason=f"{figure}: below {least:g}, but that can be chance")
    return Check(said, "pass", **kept, reason=figure)


def _class(found: Predictions, name: str) -> tuple[Ints, Floats]:
    """Return whether each row is of class `name`, and the candidate's chance that it is."""
    scores = found.scores[CANDIDATE]
    if not found.classes:
        return found.labels, scores
    index = found.classes.index(name)
    return (found.labels == index).astype("int64"), scores[:, index]


def _one(labels: Ints, scores: Floats, rate: str, least: float) -> dict[str, Any]:
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    s = scores[order]
    last = np.flatnonzero(np.r_[s[1:] != s[:-1], True]) if len(s) else np.zeros(0, np.int64)
    caught, flagged, there = np.cumsum(labels[order])[last], last + 1.0, int(labels.sum())
    if not there or not len(last):
        return {"threshold": None, PRECISION: 0.0, RECALL: 0.0, "rows": there}
    precision, recall = caught / flagged, caught / there
    shown = _wilson(caught, flagged) if rate == PRECISION else _wilson(caught, np.full(len(last), float(there)))
    enough = np.flatnonzero(shown >= least)
    if len(enough):
        at = int(enough[-1] if rate == PRECISION else enough[0])
    else:
        at = int(np.argmax(shown))
    return {
        "threshold": float(s[last[at]]) if len(enough) else None,
        PRECISION: float(precision[at]),
        RECALL: float(recall[at]),
        "rows": there,
    }


def _wilson(hits: Floats, of: Floats) -> Floats:
    """Return the lower one-sided 95% bound of each share."""
    import numpy as np
    from scipy.special import ndtri

    z = float(ndtri(1 - ALPHA))
    share = hits / of
    middle = share + z**2 / (2 * of)
    lower: Floats = (middle - z * np.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))) / (1 + z**2 / of)
    return lower


def _rate(name: str, each: Mapping[str, Any]) -> OfSums:
    """Return the precision or recall of a class at its threshold, as a metric."""
    at, rate = float(each["threshold"]), each["bar"]

    def sums(found: Predictions, model: str, codes: Ints, count: int) -> Floats:
        import numpy as np

        labels, scores = _class(found, name)
        flagged = scores >= at
        bottom = flagged if rate == PRECISION else labels
        inside = codes >= 0
        columns = (np.ones(len(labels)), bottom, flagged * labels)
        return total(codes[inside], count, *(column[inside].astype(float) for column in columns))

    told: Sums = sums
    return OfSums(told, lambda s: s[..., 2] / s[..., 1], lambda s: s[..., 1])
