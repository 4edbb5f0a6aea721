"""Gates of the model: bars that it has to clear, and the champion that it must not fall behind.

Who carries the burden of proof: overall, the candidate, which has to show that it is no worse than the champion by the
margin (non-inferiority). By slice, the one who would block it: demanding proof in each of forty small slices would
block every good model, so a slice blocks only when it is shown to be worse than its bound, with the chance of even one
false block held at 5% over all slices and metrics (Holm 1979). Wrong promotions by an overall check: at most 5%.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flywheel.artifacts import Check
from flywheel.config.metrics import HEADLINE
from flywheel.evaluation import gaps, paired
from flywheel.evaluation.estimates import difference, figure
from flywheel.evaluation.paired import ALPHA, Estimate
from flywheel.evaluation.predictions import BASELINE, CANDIDATE, CHAMPION, Predictions
from flywheel.evaluation.regression import NAIVE

if TYPE_CHECKING:
    from flywheel.config import ModelGate

NO_GATES = Check(
    "gates",
    "fail",
    reason="no gate judges the model, and a model is never promoted on nobody's judgement",
    remedy="add bars to `gates.model` in flywheel.yaml, as `{metric: auc, at_least: 0.6}`.",
)
_UNDEFINED = {
    "precision": "no row is predicted positive",
    "log_loss": "some predictions are exactly 0 or 1",
    "mape": "every label is 0",
    "r2": "the label does not vary",
}
_THEIRS = {CHAMPION: "the champion's", BASELINE: "the baseline's", NAIVE: "the naive forecast's"}
_MANY = 365


@dataclass(frozen=True)
class Trial:
    """A gate held against some rows.

    Attributes:
        gate: The gate.
        estimate: What it looks at: the candidate's figure, or what it gains over the other (more is better).
        rows: How many rows that rests on.
        slice: Which rows, as `carrier=HA`; empty for all.
        values: The metric's value by model.
        unit: What counts as one piece of evidence, in words.
        spans: How many spans judge.
    """

    gate: ModelGate
    estimate: Estimate
    rows: int
    slice: str
    values: dict[str, float]
    unit: str = "span"
    spans: int = 0

    @property
    def name(self) -> str:
        """What is checked, in words."""
        if self.gate.no_worse_than:
            return f"{self.gate.metric} no worse than {self.gate.no_worse_than}, margin {self.gate.margin:g}"
        return f"{self.gate.metric} at {'least' if self.gate.at_most is None else 'most'} {self.bound:g}"

    @property
    def bound(self) -> float:
        """The figure that the estimate is held against."""
        if self.gate.no_worse_than:
            return -self.gate.margin
        return float(self.gate.at_least if self.gate.at_least is not None else self.gate.at_most or 0.0)

    @property
    def theirs(self) -> str:
        """The figure that the candidate's is compared with, in words."""
        assert self.gate.no_worse_than
        return f"{_THEIRS[self.gate.no_worse_than]} {self.values[self.gate.no_worse_than]:.4g}"

    @property
    def p_worse(self) -> float:
        """P-value against the bound being kept; small when these rows are shown to be worse."""
        return (self.estimate.p_below if self.gate.at_most is None else self.estimate.p_above)(self.bound)

    def check(self, result: str, reason: str, remedy: str = "") -> Check:
        """Return the outcome of this trial."""
        return Check(
            name=self.name,
            result=result,
            observed=self.estimate.value if math.isfinite(self.estimate.value) else None,
            bound=self.bound,
            slice=self.slice,
            reason=reason,
            remedy=remedy,
            interval=self.estimate.interval(),
            rows=self.rows,
        )


def judge(found: Predictions, gates: Sequence[ModelGate]) -> tuple[Check, ...]:
    """Return what each of `gates` says, overall and by slice.

    Args:
        found: Predictions of the candidate, and of what it is compared with; a champion may be missing.
        gates: Bars to clear; with none of them nothing passes.
    """
    if not gates:
        return (NO_GATES,)
    checks: list[Check] = []
    trials: list[Trial] = []
    for gate in gates:
        if gate.gap:
            checks.append(gaps.check(found, gate))
            continue
        if gate.no_worse_than and gate.no_worse_than not in found.scores:
            checks.append(_unopposed(gate, gates))
            continue
        whole = trial(found, gate)
        checks.append(_against_other(whole) if gate.no_worse_than else _against_bar(whole))
        trials += _by_slice(found, gate)
    return tuple(checks + _slices(trials))


def trial(found: Predictions, gate: ModelGate, slice: str = "") -> Trial:
    """Return `gate` held against the rows of `found`."""
    other = gate.no_worse_than
    estimate = difference(found, gate.metric, other) if other else figure(found, gate.metric, CANDIDATE)
    compared = [CANDIDATE, other] if other else [CANDIDATE]
    values = {name: figure(found, gate.metric, name).value for name in compared}
    return Trial(gate, estimate, len(found), slice, values, found.evidence.unit, len(found.spans.keys))


def beats_baseline(found: Predictions) -> tuple[Check, ...]:
    """Return whether the candidate is shown to be better than the baseline; a warning where it is not, never more."""
    if BASELINE not in found.scores:
        return ()
    metric = HEADLINE[found.task]
    gained = difference(found, metric, BASELINE)
    ours, theirs = (figure(found, metric, name).value for name in (CANDIDATE, BASELINE))
    says = f"{metric} {ours:.4g} against the baseline's {theirs:.4g}"
    shown = gained.sound and gained.lower() > 0
    if shown:
        says += f"; with 95% confidence better by {gained.lower():.2g} or more"
    else:
        says += ": not shown to be better than a model that costs nothing to make"
    return (
        Check(
            f"{metric} better than baseline",
            "pass" if shown else "warn",
            observed=gained.value if math.isfinite(gained.value) else None,
            bound=0.0,
            reason=says,
            remedy="" if shown else "is the trainer worth its cost? Look at its features, its size and its training.",
            interval=gained.interval(),
            rows=len(found),
        ),
    )


def _unopposed(gate: ModelGate, gates: Sequence[ModelGate]) -> Check:
    """Return the check of a champion gate while there is no champion: absolute bars decide, and there has to be one."""
    name = f"{gate.metric} no worse than champion, margin {gate.margin:g}"
    if any(other.no_worse_than != CHAMPION for other in gates):
        return Check(name, "pass", reason="not judged: there is no champion yet, so the absolute bars alone decide")
    return Check(
        name,
        "fail",
        reason="there is no champion yet, and no absolute bar judges this first model",
        remedy=f"add one to `gates.model`, as `{{metric: {gate.metric}, at_least: …}}`.",
    )


def _against_bar(tried: Trial) -> Check:
    value, gate = tried.estimate.value, tried.gate
    if not math.isfinite(value):
        return _undefined(tried)
    if tried.rows < gate.minimum_rows:
        return tried.check(
            "undecided",
            f"not enough data: {tried.rows} rows judge {gate.metric}, {gate.minimum_rows} are the least",
            "judge on more spans (`source.judge`), or lower `minimum_rows`.",
        )
    ok = value >= tried.bound if gate.at_least is not None else value <= tried.bound
    how = "clears" if ok else "is below" if gate.at_least is not None else "is above"
    reason = f"{gate.metric} {value:.4g} {how} the bar of {tried.bound:g}"
    if ok:
        return tried.check("pass", reason)
    return tried.check(
        "fail", reason, "train on more or better data (`source.window`, `features`), or move the bar in `gates.model`."
    )


def _against_other(tried: Trial) -> Check:
    """Return whether the candidate is shown to be no worse than another by the margin."""
    found, gate, unit = tried.estimate, tried.gate, tried.unit
    if not math.isfinite(found.value):
        return _undefined(tried)
    if not found.sound:
        return tried.check(
            "undecided",
            f"{_count(found.clusters, unit)} with usable rows cannot show how {gate.metric} varies from {unit} to "
            f"{unit}: rows of one {unit} are not independent, so {found.least} are the least",
            f"judge on more spans: set `source.judge` to {max(found.least, tried.spans + 1)} or more."
            if unit == "span"
            else "judge on more spans (`source.judge`), or by another `gates.cluster`.",
        )
    said = _difference_in_words(tried)
    if found.lower() > tried.bound:
        return tried.check("pass", said)
    if found.upper() < tried.bound:
        return tried.check(
            "fail",
            f"shown to be worse: {said}",
            "look for what changed (features, trainer, `source.window`); if so much loss is acceptable, raise "
            "`margin`.",
        )
    if found.error > found.widest_error(gate.margin):
        return tried.check("undecided", f"not enough data: {said}", _more_data(tried))
    return tried.check(
        "fail",
        f"not shown to be as good: {said}",
        "raise `margin` if so much loss is acceptable, or improve the model (features, trainer, `source.window`).",
    )


def _difference_in_words(tried: Trial) -> str:
    """Say both figures, and how far apart they surely are, or may be."""
    ours, theirs = tried.values[CANDIDATE], tried.theirs
    low, high = tried.estimate.lower(), tried.estimate.upper()
    says = f"{tried.gate.metric} {ours:.4g} against {theirs}; with 95% confidence "
    if low > 0:
        return says + f"better by {low:.2g} or more"
    if high < tried.bound:
        return says + f"worse by {-high:.2g} or more, where {tried.gate.margin:g} is accepted"
    return says + f"worse by {-low:.2g} at most, where {tried.gate.margin:g} is accepted"


def _more_data(tried: Trial) -> str:
    more = paired.more_clusters(tried.estimate, tried.gate.margin)
    rows = round(more * tried.rows / tried.estimate.clusters)
    spans = more if tried.unit == "span" else math.ceil(tried.spans * more / tried.estimate.clusters)
    if spans > _MANY:
        return f"the margin {tried.gate.margin:g} is finer than these rows can ever show: raise `margin`."
    further = f"{more:,} more {_plural(more, tried.unit)}"
    return (
        f"about {further} ({rows:,} rows) would decide: set `source.judge` to {tried.spans + spans}, or raise `margin`."
    )


def _count(number: int, unit: str) -> str:
    return f"{number} {_plural(number, unit)}"


def _plural(number: int, unit: str) -> str:
    if unit in ("span", "row"):
        return f"{unit}s" if number != 1 else unit
    return f"values of {unit}" if number != 1 else f"value of {unit}"


def _undefined(tried: Trial) -> Check:
    who = [name for name, value in tried.values.items() if not math.isfinite(value)]
    why = _UNDEFINED.get(tried.gate.metric, "too few rows of one class")
    return tried.check(
        "fail",
        f"{tried.gate.metric} of the {' and the '.join(who)} is undefined: {why}",
        "mend the model's predictions, or judge by another metric in `gates.model`.",
    )


def _by_slice(found: Predictions, gate: ModelGate) -> Iterator[Trial]:
    for column in gate.slices:
        groups = found.slices[column]
        for code, key in enumerate(groups.keys):
            yield trial(found.select(groups.codes == code), gate, f"{column}={key}")


def _slices(trials: Sequence[Trial]) -> list[Check]:
    """Return the outcome of every slice, those that can be judged held to one family error."""
    judged = [(index, tried) for index, tried in enumerate(trials) if not _unjudged(tried)]
    adjusted = paired.holm([tried.p_worse for _, tried in judged])
    p_values = {index: p for (index, _), p in zip(judged, adjusted, strict=True)}
    return [
        _slice(tried, p_values[index], len(judged))
        if index in p_values
        else tried.check("pass", f"not judged: {_unjudged(tried)}")
        for index, tried in enumerate(trials)
    ]


def _unjudged(tried: Trial) -> str:
    """Return why a slice cannot be judged; empty when it can."""
    if tried.rows < tried.gate.minimum_rows:
        return f"{tried.rows} rows, fewer than `minimum_rows` {tried.gate.minimum_rows}"
    if not math.isfinite(tried.estimate.value):
        return f"{tried.gate.metric} is undefined on these rows"
    if not tried.estimate.sound:
        return f"too few of its {_count(tried.estimate.clusters, tried.unit)} have rows of both classes"
    return ""


def _slice(tried: Trial, adjusted: float, family: int) -> Check:
    if adjusted <= ALPHA:
        return tried.check(
            "fail",
            f"{_slice_in_words(tried)}, allowing for {family} slices looked at",
            "look at these rows first; if so much loss is acceptable there, set `margin` in a gate of its own for "
            f"{tried.slice.partition('=')[0]}.",
        )
    if tried.p_worse <= ALPHA:
        return tried.check(
            "warn", f"{_slice_in_words(tried)} if looked at alone; among {family} slices it can be chance"
        )
    return tried.check("pass", "not shown to be worse than its bound")


def _slice_in_words(tried: Trial) -> str:
    ours = f"on {tried.slice} {tried.gate.metric} {tried.values[CANDIDATE]:.4g} is shown to be "
    if tried.gate.no_worse_than:
        return ours + f"worse than {tried.theirs} by more than {tried.gate.margin:g}"
    return ours + f"{'below' if tried.gate.at_most is None else 'above'} the bar of {tried.bound:g}"
