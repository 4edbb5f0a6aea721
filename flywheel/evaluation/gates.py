"""Gates of the model: bars that it has to clear, and the champion that it must not fall behind.

Who carries the burden of proof: overall, the candidate, which has to show that it is no worse than the champion by the
margin (non-inferiority). By slice, the one who would block it: demanding proof in each of forty small slices would
block every good model, so a slice blocks only when it is shown to be worse than its bound, with the chance of even one
false block held at 5% over all slices and metrics (Holm 1979). Wrong promotions by an overall check: at most 5%.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flywheel.artifacts import Check
from flywheel.evaluation import paired
from flywheel.evaluation.metrics import METRICS
from flywheel.evaluation.paired import ALPHA, Estimate
from flywheel.evaluation.predictions import CANDIDATE, CHAMPION, Predictions

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
}
_MANY = 365


@dataclass(frozen=True)
class Trial:
    """A gate held against some rows.

    Attributes:
        gate: The gate.
        estimate: What it looks at: the candidate's figure, or its difference to the champion's (more is better).
        rows: How many rows that rests on.
        slice: Which rows, as `carrier=HA`; empty for all.
        values: The metric's value by model.
    """

    gate: ModelGate
    estimate: Estimate
    rows: int
    slice: str
    values: dict[str, float]

    @property
    def name(self) -> str:
        """What is checked, in words."""
        if self.gate.no_worse_than:
            return f"{self.gate.metric} no worse than champion, margin {self.gate.margin:g}"
        return f"{self.gate.metric} at {'least' if self.gate.at_most is None else 'most'} {self.bound:g}"

    @property
    def bound(self) -> float:
        """The figure that the estimate is held against."""
        if self.gate.no_worse_than:
            return -self.gate.margin
        return float(self.gate.at_least if self.gate.at_least is not None else self.gate.at_most or 0.0)

    @property
    def p_worse(self) -> float:
        """P-value against the bound being kept; small when these rows are shown to be worse."""
        if self.gate.at_most is not None:
            return replace(self.estimate, value=-self.estimate.value).p_below(-self.bound)
        return self.estimate.p_below(self.bound)

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
        found: Predictions of the candidate, and of the champion when there is one.
        gates: Bars to clear; with none of them nothing passes.
    """
    if not gates:
        return (NO_GATES,)
    checks: list[Check] = []
    trials: list[Trial] = []
    alone = CHAMPION not in found.scores
    for gate in gates:
        if gate.no_worse_than and alone:
            checks.append(_unopposed(gate, gates))
            continue
        whole = trial(found, gate)
        checks.append(_against_champion(whole, len(found.spans.keys)) if gate.no_worse_than else _against_bar(whole))
        trials += _by_slice(found, gate)
    return tuple(checks + _slices(trials))


def trial(found: Predictions, gate: ModelGate, slice: str = "") -> Trial:
    """Return `gate` held against the rows of `found`."""
    sign = METRICS[gate.metric].better if gate.no_worse_than else 1
    estimate = difference(found, gate.metric, sign) if gate.no_worse_than else figure(found, gate.metric, CANDIDATE)
    values = {name: figure(found, gate.metric, name).value for name in found.scores}
    return Trial(gate, estimate, len(found), slice, values)


def figure(found: Predictions, metric: str, model: str) -> Estimate:
    """Return a model's `metric`, with its error over spans."""
    return paired.estimate([_statistic(found, metric, model)])


def difference(found: Predictions, metric: str, sign: float = 1) -> Estimate:
    """Return candidate minus champion in `metric` on the same rows, times `sign`, with its error over spans."""
    return paired.estimate([_statistic(found, metric, name) for name in (CANDIDATE, CHAMPION)], (sign, -sign))


def _statistic(found: Predictions, metric: str, model: str) -> paired.Statistic:
    return paired.statistic(metric, found.labels, found.scores[model], found.spans.codes, len(found.spans.keys))


def _unopposed(gate: ModelGate, gates: Sequence[ModelGate]) -> Check:
    """Return the check of a champion gate while there is no champion: absolute bars decide, and there has to be one."""
    name = f"{gate.metric} no worse than champion, margin {gate.margin:g}"
    if any(other.no_worse_than is None for other in gates):
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


def _against_champion(tried: Trial, spans: int) -> Check:
    """Return whether the candidate is shown to be no worse than the champion by the margin."""
    found, gate = tried.estimate, tried.gate
    if not math.isfinite(found.value):
        return _undefined(tried)
    if not found.sound:
        least = paired.minimum_clusters()
        return tried.check(
            "undecided",
            f"{found.clusters} span{'s' * (found.clusters != 1)} with usable rows cannot show how {gate.metric} "
            f"varies from span to span: rows of one span are not independent, so {least} are the least",
            f"judge on more spans: set `source.judge` to {max(least, spans + 1)} or more.",
        )
    said = _difference_in_words(tried)
    if found.lower() > tried.bound:
        return tried.check("pass", said)
    if found.upper() < tried.bound:
        return tried.check(
            "fail",
            f"shown to be worse: {said}",
            "keep the champion and look for what changed (features, trainer, `source.window`); if so much loss is "
            "acceptable, raise `margin`.",
        )
    if found.error > found.widest_error(gate.margin):
        return tried.check("undecided", f"not enough data: {said}", _more_data(tried, spans))
    return tried.check(
        "fail",
        f"not shown to be as good: {said}",
        "raise `margin` if so much loss is acceptable, or improve the model (features, trainer, `source.window`).",
    )


def _difference_in_words(tried: Trial) -> str:
    """Say both figures, and how far apart they surely are, or may be."""
    ours, theirs = tried.values[CANDIDATE], tried.values[CHAMPION]
    low, high = tried.estimate.lower(), tried.estimate.upper()
    says = f"{tried.gate.metric} {ours:.4g} against the champion's {theirs:.4g}; with 95% confidence "
    if low > 0:
        return says + f"better by {low:.2g} or more"
    if high < tried.bound:
        return says + f"worse by {-high:.2g} or more, where {tried.gate.margin:g} is accepted"
    return says + f"worse by {-low:.2g} at most, where {tried.gate.margin:g} is accepted"


def _more_data(tried: Trial, spans: int) -> str:
    more = paired.more_clusters(tried.estimate, tried.gate.margin)
    if more > _MANY:
        return f"the margin {tried.gate.margin:g} is finer than these rows can ever show: raise `margin`."
    rows = round(more * tried.rows / tried.estimate.clusters)
    return (
        f"about {more} more span{'s' * (more != 1)} ({rows:,} rows) would decide: set `source.judge` to "
        f"{spans + more}, or raise `margin`."
    )


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
        return f"too few of its {tried.estimate.clusters} spans have rows of both classes"
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
        return ours + f"worse than the champion's {tried.values[CHAMPION]:.4g} by more than {tried.gate.margin:g}"
    return ours + f"{'below' if tried.gate.at_most is None else 'above'} the bar of {tried.bound:g}"
