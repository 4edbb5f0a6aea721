"""Decide: may the freshly trained model take the champion's place?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Evaluation, Verdict
from flywheel.errors import ConfigError
from flywheel.evaluation.predictions import CANDIDATE, CHAMPION, FILE, Predictions

if TYPE_CHECKING:
    from flywheel.config import ModelGate

PRELOAD = ("jinja2", "pyarrow.parquet", "scipy.special", "vl_convert")


def decide(evaluation: Evaluation, gates: Sequence[dict[str, Any]], report: Path) -> Verdict:
    """Return whether the candidate clears every gate, and write a report that says why.

    Slices that are too small or have one class are reported as passed with the reason `not judged`. While there is no
    champion, gates that compare with it are said and do not block. With no gates at all the verdict is not ok.

    Args:
        evaluation: What `analyze` found, candidate and champion on the same rows.
        gates: Bars to clear, as in `gates.model` of flywheel.yaml.
        report: Where the HTML goes.

    Raises:
        ConfigError: A gate is none, or asks for a slice that was not evaluated.
    """
    from flywheel.evaluation import gates as model_gates
    from flywheel.evaluation.report import render

    bars = _parse(gates)
    found = Predictions.read(evaluation.path / FILE)
    _check_slices(bars, found)
    verdict = Verdict("model", model_gates.judge(found, bars), _facts(found))
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(render(verdict, found, evaluation), encoding="utf-8")
    return verdict


def _facts(found: Predictions) -> dict[str, Any]:
    """Return the exact overall AUC of both models and their difference, whatever the gates look at."""
    from flywheel.evaluation import gates as model_gates

    facts: dict[str, Any] = {"rows": len(found), "champion_auc": None, "delta": None, "interval": None}
    facts["auc"] = model_gates.figure(found, "auc", CANDIDATE).value
    if CHAMPION in found.scores:
        difference = model_gates.difference(found, "auc")
        interval = difference.interval()
        facts["champion_auc"] = model_gates.figure(found, "auc", CHAMPION).value
        facts |= {"delta": difference.value, "interval": list(interval) if interval else None}
    return facts


def _parse(gates: Sequence[dict[str, Any]]) -> list[ModelGate]:
    from pydantic import ValidationError

    from flywheel.config import ModelGate

    try:
        return [ModelGate.model_validate(gate) for gate in gates]
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "a gate"
        raise ConfigError(
            f"gates.model is wrong: {where}: {fault['msg']}", "write a gate as `{metric: auc, at_least: 0.6}`."
        ) from None


def _check_slices(gates: Sequence[ModelGate], found: Predictions) -> None:
    for column in dict.fromkeys(column for gate in gates for column in gate.slices):
        if column not in found.slices:
            raise ConfigError(
                f"a gate asks for slices by {column!r}, evaluated were {', '.join(found.slices) or 'none'}",
                "name that column in `slices` of analyze's settings too.",
            )
