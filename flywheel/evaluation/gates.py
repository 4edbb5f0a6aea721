"""Gates of the model: bars that it has to clear, and the champion that it must not fall behind.

Who carries the burden of proof: overall, the candidate, which has to show that it is no worse than the champion by the
margin (non-inferiority). By slice, the one who would block it: demanding proof in each of forty small slices would
block every good model, so a slice blocks only when it is shown to be worse than its bound, with the chance of even one
false block held at 5% over all slices and metrics (Holm 1979). Wrong promotions by an overall check and false blocks by
any slice, or by a gap: each at most 5%, over all the times that one candidate is judged (`looks`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flywheel.artifacts import Check
from flywheel.config.metrics import HEADLINE
from flywheel.evaluation import by_slice, gaps, overall
from flywheel.evaluation.estimates import difference, value
from flywheel.evaluation.looks import SLICES, Look
from flywheel.evaluation.predictions import BASELINE, CANDIDATE, CHAMPION, Predictions
from flywheel.evaluation.trials import Trial, trial

if TYPE_CHECKING:
    from flywheel.config import ModelGate

NO_GATES = Check(
    "gates",
    "fail",
    reason="no gate judges the model, and a model is never promoted on nobody's judgement",
    remedy="add bars to `gates.model` in flywheel.yaml, as `{metric: auc, at_least: 0.6}`.",
)


def judge(found: Predictions, gates: Sequence[ModelGate], look: Look | None = None) -> tuple[Check, ...]:
    """Return what each of `gates` says, overall and by slice.

    Args:
        found: Predictions of the candidate, and of what it is compared with; a champion may be missing.
        gates: Bars to clear; with none of them nothing passes.
        look: Which of the times that this candidate is judged; by default the only one.
    """
    look = look or Look()
    if not gates:
        return (NO_GATES,)
    checks: list[Check] = []
    trials: list[Trial] = []
    known = precision(found, gates)
    for gate in gates:
        if gate.gap:
            checks.append(gaps.check(found, gate, look, known))
            continue
        if gate.no_worse_than and gate.no_worse_than not in found.scores:
            checks.append(_unopposed(gate, gates) if gate.no_worse_than == CHAMPION else overall.gone(gate, look))
            continue
        whole = trial(found, gate)
        checks.append(overall.against_other(whole, look) if gate.no_worse_than else overall.against_bar(whole))
        trials += by_slice.trials(found, gate)
    return tuple(checks + by_slice.checks(trials, look.level(SLICES, known)))


def precision(found: Predictions, gates: Sequence[ModelGate]) -> float:
    """Return the judge's precision as a share of what decides, by the comparison that has least of it; 1 with none.

    It is the clock of whatever blocks a candidate: how much of its error is to be left to later looks.
    """
    compared = [gate for gate in gates if gate.no_worse_than in found.scores and not gate.gap]
    return min((overall.precision(trial(found, gate)) for gate in compared), default=1.0)


def beats_baseline(found: Predictions) -> tuple[Check, ...]:
    """Return whether the candidate is shown to be better than the baseline; a warning where it is not, never more."""
    if BASELINE not in found.scores:
        return ()
    metric = HEADLINE[found.task]
    gained = difference(found, metric, BASELINE)
    ours, theirs = (value(found, metric, name) for name in (CANDIDATE, BASELINE))
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
