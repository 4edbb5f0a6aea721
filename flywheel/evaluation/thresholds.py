"""From which chance on a row is called a class: chosen on validation rows under a bar, and held to it on fresh ones.

For moderation: several classes or labels, each of which has to be caught precisely enough, or often enough. A class's
threshold is the most useful one that is shown to clear its bar: under a bar of precision the one that catches most,
under one of recall the most precise. Shown means that the lower 95% bound of the rate clears it (Wilson 1927), because
the best of many thresholds is good by chance; so fresh rows mostly confirm it, and the gate looks. With one bar on all
of them together, a row being called any of them, the thresholds are chosen jointly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Check
from flywheel.evaluation import joint, paired
from flywheel.evaluation.joint import PRECISION, RECALL, Bar, Calls
from flywheel.evaluation.looks import ONLY, Look
from flywheel.evaluation.metric import OfSums, total
from flywheel.evaluation.predictions import CANDIDATE, Predictions

if TYPE_CHECKING:
    from flywheel.evaluation.groups import Floats, Ints
    from flywheel.evaluation.metric import Sums

FILE = "thresholds.json"
ANY = "any of them"
"""What the decision is called: whether a row is any of the classes."""


def choose(
    found: Predictions, bars: Mapping[str, Mapping[str, float]], together: Mapping[str, float] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the threshold of each class in `bars`, on the rows of `found`, with what it reaches there.

    Args:
        found: Predictions on validation rows.
        bars: By class or label (`1` of a binary task) its bar: `{"precision": 0.95}` or `{"recall": 0.9}`; with
            `together` it may have none.
        together: Bar of a row being called any of them; None for none.

    Returns:
        By class `bar`, `at_least`, `threshold`, `precision`, `recall`, `rows` of the class, and whether the bar is
        `shown` to be cleared. A `threshold` is None where none is shown to clear the class's bar, and the rates are
        those that come closest; or where the class is better never called. With `together` the decision is there too,
        as `any of them`.
    """
    asked = {name: Bar.of(bar) for name, bar in bars.items()}
    calls, whole = _calls(found, list(bars)), Bar.of(together)
    alone = [_one(calls, index, bar or whole) for index, bar in enumerate(asked.values())]
    if whole is None:
        return dict(zip(bars, alone, strict=True))
    first = [math.inf if each["threshold"] is None else each["threshold"] for each in alone]
    found_at = joint.search(calls, list(asked.values()), whole, first)
    called = calls.scores >= found_at
    chosen = {
        name: _told(bar, at, joint.of_calls(calls.truth[:, index], called[:, index]))
        for index, ((name, bar), at) in enumerate(zip(asked.items(), found_at, strict=True))
    }
    return chosen | {ANY: _told(whole, math.inf, joint.of_calls(calls.whole, called.any(axis=1)))}


def values(chosen: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    """Return the thresholds alone, by class: None where it is never called."""
    return {name: each["threshold"] for name, each in chosen.items() if name != ANY}


def checks(
    found: Predictions, chosen: Mapping[str, Mapping[str, Any]], look: Look = ONLY, precision: float = 1.0
) -> tuple[Check, ...]:
    """Return whether fresh rows keep each class's bar at its threshold, and the decision its own.

    The burden is the blocker's: a class fails when its rate is shown to be below the bar, with the chance of even one
    false alarm held at 5% over all classes (Holm 1979) and looks; a rate below it that can be chance is a warning.

    Args:
        found: Predictions on fresh rows.
        chosen: As `choose` gave it.
        look: Which of the times that the candidate is judged.
        precision: The judge's, as a share of what decides.
    """
    barred = {name: each for name, each in chosen.items() if each["bar"]}
    tried = {
        name: paired.estimate([_rate(name, each["bar"], chosen).statistic(found, CANDIDATE)])
        for name, each in barred.items()
        if each["shown"]
    }
    judged = {name: each for name, each in tried.items() if each.sound}
    p = [each.p_below(chosen[name]["at_least"]) for name, each in judged.items()]
    adjusted = dict(zip(judged, paired.holm(p), strict=True))
    spend = partial(look.level, precision=precision)
    return tuple(
        _check(found, name, each, tried.get(name), adjusted.get(name, 1.0), spend) for name, each in barred.items()
    )


def table(found: Predictions, chosen: Mapping[str, Mapping[str, Any]]) -> list[dict[str, object]]:
    """Return each class's threshold with its rates on validation and on fresh rows."""
    rows: list[dict[str, object]] = []
    for name, each in chosen.items():
        at = each["threshold"]
        bar = f"{each['bar']} at least {each['at_least']:g}" if each["bar"] else "that of all together"
        row: dict[str, object] = {"class": name, "bar": bar, "threshold": at}
        for rate in (PRECISION, RECALL):
            row[f"{rate}, validation"] = each[rate]
            known = at is not None or name == ANY
            fresh = _rate(name, rate, chosen).statistic(found, CANDIDATE) if known else None
            row[f"{rate}, fresh"] = fresh and paired.estimate([fresh]).value
        rows.append(row)
    return rows


def _check(
    found: Predictions,
    name: str,
    each: Mapping[str, Any],
    tried: paired.Estimate | None,
    adjusted: float,
    spend: Callable[[str], float],
) -> Check:
    rate, least, at = each["bar"], float(each["at_least"]), each["threshold"]
    where = "at their thresholds" if name == ANY else "above its threshold"
    said = f"{rate} of {name} {where} at least {least:g}"
    if tried is None:
        what = "no thresholds are" if name == ANY else f"no threshold of {name} is"
        return Check(
            said,
            "fail",
            each[rate],
            least,
            reason=f"{what} shown to reach {rate} {least:g} on validation rows, {each['rows']:,} of "
            f"which are {name}; the closest is {each[rate]:.4g}"
            + (", of too few rows to show it" if each[rate] >= least else ""),
            remedy=f"train on more rows of that class, or lower its bar in `train.{_key(name)}`.",
        )
    kept: dict[str, Any] = {"observed": tried.value, "bound": least, "interval": tried.interval(), "rows": len(found)}
    kept["level"] = level = spend(said)
    if not math.isfinite(tried.value):
        what = "is above it" if rate == PRECISION else f"is {name}"
        return Check(said, "pass", bound=least, rows=len(found), reason=f"not judged: no row {what}")
    figure = f"{rate} of {name} is {tried.value:.4g} on fresh rows, {each[rate]:.4g} on validation rows"
    figure = figure if at is None else f"from {at:.4g} on, {figure}"
    if adjusted <= level:
        remedy = "look at the mistakes of that class; a longer `source.window` validates on more days."
        return Check(said, "fail", **kept, reason=f"{figure}: shown to be below {least:g}", remedy=remedy)
    if tried.value < least:
        return Check(said, "warn", **kept, reason=f"{figure}: below {least:g}, but that can be chance")
    return Check(said, "pass", **kept, reason=figure)


def _key(name: str) -> str:
    return "together" if name == ANY else "thresholds"


def _calls(found: Predictions, names: list[str]) -> Calls:
    """Return for each row which of `names` it is, and the candidate's chances of them."""
    import numpy as np

    scores = found.scores[CANDIDATE]
    if not found.classes:
        return Calls.of(found.labels[:, None], scores[:, None])
    places = [found.classes.index(name) for name in names]
    truth = found.labels[:, places] if found.labels.ndim == 2 else found.labels[:, None] == np.array(places)
    return Calls.of(truth.astype(np.int64), scores[:, places])


def _one(calls: Calls, index: int, bar: Bar | None) -> dict[str, Any]:
    """Return the threshold of one class by itself."""
    import numpy as np

    assert bar
    rates, (order, last) = calls.rates(index), calls.order(index)
    if not rates.there or not len(last):
        return _told(bar, math.inf, joint.Rates(np.zeros(1), np.zeros(1), 0.0))
    shown = rates.shown(bar.rate)
    enough = np.flatnonzero(shown >= bar.least)
    at = int((enough[-1] if bar.rate == PRECISION else enough[0]) if len(enough) else np.argmax(shown))
    reached = joint.Rates(rates.caught[[at]], rates.flagged[[at]], rates.there)
    return _told(bar, float(calls.scores[order[last[at]], index]), reached)


def _told(bar: Bar | None, at: float, rates: joint.Rates) -> dict[str, Any]:
    shown = bar is None or float(rates.shown(bar.rate)[0]) >= bar.least
    return {
        "bar": bar and bar.rate,
        "at_least": bar and bar.least,
        "threshold": at if shown and math.isfinite(at) else None,
        PRECISION: float(rates.value(PRECISION)[0]),
        RECALL: float(rates.value(RECALL)[0]),
        "rows": int(rates.there),
        "shown": shown,
    }


def _rate(name: str, rate: str, chosen: Mapping[str, Mapping[str, Any]]) -> OfSums:
    """Return the precision or recall of a class, or of the decision, at the thresholds, as a metric."""
    at = {key: math.inf if value is None else float(value) for key, value in values(chosen).items()}
    names = list(at) if name == ANY else [name]

    def sums(found: Predictions, model: str, codes: Ints, count: int) -> Floats:
        import numpy as np

        calls = _calls(found, names)
        truth = calls.whole
        flagged = (calls.scores >= np.array([at[each] for each in names])).any(axis=1) & (truth >= 0)
        bottom = flagged if rate == PRECISION else truth == 1
        inside = codes >= 0
        columns = (np.ones(len(truth)), bottom, flagged & (truth == 1))
        counted = (column[inside].astype(float) for column in columns)
        return total(codes[inside], count, *counted, weights=found.weighed(inside))

    told: Sums = sums
    return OfSums(told, lambda s: s[..., 2] / s[..., 1], lambda s: s[..., 1])
