"""Gates on all rows of the judge: an absolute bar, or a comparison whose burden of proof is the candidate's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flywheel.artifacts import Check
from flywheel.evaluation import paired
from flywheel.evaluation.looks import Look
from flywheel.evaluation.paired import ALPHA
from flywheel.evaluation.predictions import BASELINE, CANDIDATE
from flywheel.evaluation.trials import Trial, count_of, plural

if TYPE_CHECKING:
    from flywheel.config import ModelGate

_UNDEFINED = {
    "precision": "no row is predicted positive",
    "log_loss": "some predictions are exactly 0 or 1",
    "mape": "every label is 0",
    "r2": "the label does not vary",
}
_MANY = 365


def against_bar(tried: Trial) -> Check:
    """Return whether the candidate's figure clears an absolute bar; with too few rows that is not known."""
    value, gate = tried.estimate.value, tried.gate
    if not math.isfinite(value):
        return _undefined(tried)
    if tried.rows < gate.minimum_rows:
        return tried.check(
            "undecided",
            f"not enough data: {tried.rows} rows judge {gate.metric}, {gate.minimum_rows} are the least",
            "judge on more spans (`source.judge`), or lower `minimum_rows`.",
            more=math.ceil(tried.spans * (gate.minimum_rows / tried.rows - 1)),
        )
    ok = value >= tried.bound if gate.at_least is not None else value <= tried.bound
    how = "clears" if ok else "is below" if gate.at_least is not None else "is above"
    reason = f"{gate.metric} {value:.4g} {how} the bar of {tried.bound:g}"
    if ok:
        return tried.check("pass", reason)
    return tried.check(
        "fail", reason, "train on more or better data (`source.window`, `features`), or move the bar in `gates.model`."
    )


def against_other(tried: Trial, look: Look) -> Check:
    """Return whether the candidate is shown to be no worse than another by the margin, now or by an earlier look."""
    found = tried.estimate
    if not math.isfinite(found.value):
        return _undefined(tried)
    if not found.sound:
        return _too_few(tried)
    known = precision(tried)
    enough = known >= 1
    level = look.level(tried.name, known)
    if tried.name in look.shown:
        return _again(tried)
    if not level or found.clusters < paired.minimum_clusters(level):
        return _too_little(tried, level)
    said = _difference_in_words(tried, level)
    if found.lower(level) > tried.bound:
        return tried.check("pass", said, level=level)
    if found.upper(level) < tried.bound:
        return _worse(tried, level)
    if not enough:
        remedy, more = _more_data(tried)
        return tried.check("undecided", f"not enough data: {said}", remedy, level, more)
    return tried.check(
        "fail",
        f"not shown to be as good: {said}",
        "raise `margin` if so much loss is acceptable, or improve the model (features, trainer, `source.window`).",
        level,
    )


def precision(tried: Trial) -> float:
    """Return how precise the judge is, as a share of what decides: 1 where it is precise enough, 0 where unknown."""
    found = tried.estimate
    if not found.sound:
        return 0.0
    widest = found.widest_error(tried.gate.margin)
    return 1.0 if found.error <= widest else widest / found.error


def gone(gate: ModelGate, look: Look) -> Check:
    """Return the check of a comparison with a model that is there no longer: what an earlier look has shown counts."""
    name = f"{gate.metric} no worse than {gate.no_worse_than}, margin {gate.margin:g}"
    if name in look.shown:
        return Check(name, "pass", reason=f"shown by an earlier look; the {gate.no_worse_than} of that day is gone")
    return Check(
        name,
        "undecided",
        reason=f"an earlier look has not shown it, and the {gate.no_worse_than} of that day is gone",
        remedy="judge on more spans at once (`source.judge`).",
    )


def _again(tried: Trial) -> Check:
    """Return the check of what an earlier look has shown: it stands unless it is shown to be wrong."""
    if tried.estimate.upper() < tried.bound:
        return _worse(tried, None)
    return tried.check("pass", f"shown by an earlier look; now {_difference_in_words(tried, ALPHA)}")


def _worse(tried: Trial, level: float | None) -> Check:
    return tried.check(
        "fail",
        f"shown to be worse: {_difference_in_words(tried, level or ALPHA)}",
        "look for what changed (features, trainer, `source.window`); if so much loss is acceptable, raise `margin`.",
        level,
    )


def _too_few(tried: Trial) -> Check:
    found, gate, unit = tried.estimate, tried.gate, tried.unit
    missing = found.least - found.clusters
    return tried.check(
        "undecided",
        f"{count_of(found.clusters, unit)} with usable rows cannot show how {gate.metric} varies from {unit} to "
        f"{unit}: rows of one {unit} are not independent, so {found.least} are the least",
        f"judge on more spans: set `source.judge` to {max(found.least, tried.spans + 1)} or more."
        if unit == "span"
        else "judge on more spans (`source.judge`), or by another `gates.cluster`.",
        more=_later(tried, _spans(tried, max(1, missing))),
    )


def _too_little(tried: Trial, level: float) -> Check:
    """Return the check of a judge that knows so little more than earlier ones that nothing can be shown by it."""
    remedy, more = _more_data(tried)
    ours = f"{tried.gate.metric} {tried.values[CANDIDATE]:.4g} against {tried.theirs}"
    return tried.check(
        "undecided",
        f"not enough data: {ours}; {count_of(tried.estimate.clusters, tried.unit)} cannot show anything at an error of "
        f"{level:.2%}, which is what so imprecise a judge may spend of {ALPHA:.0%} beside earlier and later ones",
        remedy,
        more=more,
    )


def _difference_in_words(tried: Trial, level: float) -> str:
    """Say both figures, and how far apart they surely are, or may be."""
    ours, theirs = tried.values[CANDIDATE], tried.theirs
    low, high = tried.estimate.lower(level), tried.estimate.upper(level)
    says = f"{tried.gate.metric} {ours:.4g} against {theirs}; with {100 * (1 - level):.3g}% confidence "
    if low > 0:
        return says + f"better by {low:.2g} or more"
    if high < tried.bound:
        return says + f"worse by {-high:.2g} or more, where {tried.gate.margin:g} is accepted"
    return says + f"worse by {-low:.2g} at most, where {tried.gate.margin:g} is accepted"


def _more_data(tried: Trial) -> tuple[str, int | None]:
    """Return what would decide it in words, and how many further spans that is."""
    more = paired.more_clusters(tried.estimate, tried.gate.margin)
    rows = round(more * tried.rows / tried.estimate.clusters)
    spans = _spans(tried, more)
    if spans > _MANY:
        return f"the margin {tried.gate.margin:g} is finer than these rows can ever show: raise `margin`.", None
    further = f"{more:,} more {plural(more, tried.unit)}"
    words = f"about {further} ({rows:,} rows) would decide: set `source.judge` to {tried.spans + spans}"
    return f"{words}, or raise `margin`.", _later(tried, spans)


def _spans(tried: Trial, clusters: int) -> int:
    """Return how many spans have so many clusters."""
    return clusters if tried.unit == "span" else math.ceil(tried.spans * clusters / max(tried.estimate.clusters, 1))


def _later(tried: Trial, spans: int) -> int | None:
    """Return after how many further spans to look again; None where the other model is not there then."""
    return None if tried.gate.no_worse_than == BASELINE else spans


def _undefined(tried: Trial) -> Check:
    who = [name for name, value in tried.values.items() if not math.isfinite(value)]
    why = _UNDEFINED.get(tried.gate.metric, "too few rows of one class")
    return tried.check(
        "fail",
        f"{tried.gate.metric} of the {' and the '.join(who)} is undefined: {why}",
        "mend the model's predictions, or judge by another metric in `gates.model`.",
    )
