"""Decide: may the freshly trained model take the champion's place?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flywheel.artifacts import Evaluation, Verdict
from flywheel.config.metrics import HEADLINE
from flywheel.errors import ConfigError
from flywheel.evaluation.looks import Look
from flywheel.evaluation.predictions import BASELINE, CANDIDATE, CHAMPION, FILE, Predictions
from flywheel.evaluation.shown import shown

if TYPE_CHECKING:
    from flywheel.config import ModelGate

__all__ = ["PRELOAD", "Decision", "Look", "decide", "shown"]

PRELOAD = (
    "flywheel.ledger.engine",
    "pyarrow._exec_plan",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "scipy.special",
    "vl_convert",
    "flywheel.evaluation.report",
    "flywheel.evaluation.worst",
    "flywheel.reports.templates",
)


class Decision(NamedTuple):
    """What follows from the verdict.

    Attributes:
        ok: Whether the candidate may take the champion's place.
        undecided: Whether it may not yet, and further spans can decide it.
    """

    ok: bool
    undecided: bool

    @classmethod
    def of(cls, verdict: Verdict) -> Decision:
        """Return what follows from `verdict`."""
        return cls(verdict.ok, verdict.facts["look"]["more"] is not None)


def decide(
    evaluation: Evaluation,
    gates: Sequence[dict[str, Any]],
    report: Path,
    look: Look | None = None,
    about: str = "",
    waiting: str = "",
) -> Verdict:
    """Return whether the candidate clears every gate, and write a report that says why.

    Slices that are too small or have one class are reported as passed with the reason `not judged`. While there is no
    champion, gates that compare with it are said and do not block. With no gates at all the verdict is not ok.

    Args:
        evaluation: What `analyze` found, all models on the same rows.
        gates: Bars to clear, as in `gates.model` of flywheel.yaml.
        report: Where the HTML goes.
        look: Which of the times that this candidate is judged; by default the only one.
        about: What is judged, for the report; empty for a new candidate.
        waiting: The challenger that is there beside it, for the report; empty for none.

    Raises:
        ConfigError: A gate is none, or asks for a metric, a slice or a comparison that was not evaluated.
    """
    from flywheel.evaluation import gates as model_gates
    from flywheel.evaluation import leaks, thresholds, worst
    from flywheel.evaluation.report import render

    found, look = Predictions.read(evaluation.path / FILE), look or Look()
    bars = _parse(gates, found, look)
    _check_slices(bars, found)
    leak = evaluation.manifest.facts.get("leak") or {}
    believed = leaks.checks(found, leak["seen"], leak["gate"]) if leak else ()
    search = evaluation.manifest.facts.get("search") or {}
    told = worst.find(found, int(search["minimum_rows"])) if search else []
    chosen = evaluation.manifest.facts.get("thresholds") or {}
    believed = (*believed, *thresholds.checks(found, chosen, look, model_gates.precision(found, bars)))
    believed += worst.checks(told, search.get("severity", "warn"))
    checks = (*model_gates.judge(found, bars, look), *believed, *model_gates.beats_baseline(found))
    verdict = Verdict("model", checks, _facts(found) | {"look": look.after(checks, len(found.spans.keys))})
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(render(verdict, found, evaluation, told, bars, about, waiting), encoding="utf-8")
    return verdict


def _facts(found: Predictions) -> dict[str, Any]:
    """Return the headline figure of all models and what the candidate gains by it, whatever the gates look at.

    Those of the baseline are left out where there is none.
    """
    from flywheel.evaluation import estimates

    metric = HEADLINE[found.task]
    facts: dict[str, Any] = {"rows": len(found), "metric": metric, "champion": None, "delta": None, "interval": None}
    facts |= {name: estimates.value(found, metric, name) for name in found.models}
    own = estimates.figure(found, metric, CANDIDATE)
    facts |= {"error": own.error if own.sound else None, "spans": own.clusters}
    for other, suffix in ((CHAMPION, ""), (BASELINE, "_baseline")):
        if other in found.models:
            gained = estimates.difference(found, metric, other)
            interval = gained.interval()
            facts |= {f"delta{suffix}": gained.value, f"interval{suffix}": list(interval) if interval else None}
            facts |= {f"delta{suffix}_error": gained.error if gained.sound else None}
    return facts


def _parse(gates: Sequence[dict[str, Any]], found: Predictions, look: Look) -> list[ModelGate]:
    from pydantic import ValidationError

    from flywheel.config import ModelGate
    from flywheel.evaluation import metrics, queries

    try:
        bars = [ModelGate.model_validate(gate) for gate in gates]
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "a gate"
        raise ConfigError(
            f"gates.model is wrong: {where}: {fault['msg']}", "write a gate as `{metric: auc, at_least: 0.6}`."
        ) from None
    for bar in bars:
        try:
            bar.fit(found.task, (*found.own, *queries.names(found.tops)), found.classes)
        except ValueError as error:
            raise ConfigError(f"gates.model is wrong: {error}", "name one of those, or mend `task`.") from None
        if bar.metric not in metrics.of(found):
            raise ConfigError(
                f"gates.model is wrong: there is no {bar.metric!r} here, only {', '.join(metrics.of(found))}",
                "name one of those; `mase` needs `naive`.",
            )
        gone = (CHAMPION,) if look.number == 1 else (CHAMPION, BASELINE)
        if bar.no_worse_than not in (None, *gone, *found.scores):
            raise ConfigError(
                f"a gate compares with {bar.no_worse_than!r}, evaluated were {', '.join(found.scores)}",
                "set `train.baseline: true`, or `naive` to a column with a forecast.",
            )
    return bars


def _check_slices(gates: Sequence[ModelGate], found: Predictions) -> None:
    asked = [column for gate in gates for column in (*gate.slices, *[gate.gap] * bool(gate.gap))]
    for column in dict.fromkeys(asked):
        if column not in found.slices:
            raise ConfigError(
                f"a gate asks for slices by {column!r}, evaluated were {', '.join(found.slices) or 'none'}",
                "name that column in `slices` of analyze's settings too.",
            )
