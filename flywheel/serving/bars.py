"""The serving gate's checks: what a model's trial found, against the bars of `gates.serving`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Check
from flywheel.serving.outside import Outcome
from flywheel.serving.pyfunc import PREDICTION, PROBABILITY
from flywheel.serving.shadow import Shadow

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from flywheel.config import ServingGate

RELATIVE, ABSOLUTE = 1e-6, 1e-9
"""Two predictions are the same up to this share of their size, and this much near nothing."""
_STAGES = ("load", "example", "rows", "speed", "shadow", "done")
_ASKED = {
    "load": ("loads outside the run", "give it what it imports: serving has its package alone."),
    "example": ("answers its input example", "ask it with its own input_example.json, outside the project's folder."),
    "rows": ("answers the judge's rows", "return one finite prediction for each row, in a fresh process too."),
    "speed": ("answers in time", "raise `gates.serving.timeout`, or make the model quicker."),
    "shadow": ("answers logged requests", "the champion answered them: take what clients really send."),
}


def judge(gate: ServingGate, outcome: Outcome, expected: pa.Table, model: Path) -> list[Check]:
    """Return a check for each thing that was tried, and one that failed for what could not be.

    Args:
        gate: The bars.
        outcome: What the trial found.
        expected: What the model predicted for the same rows when it was analyzed, column `candidate`.
        model: MLflow model folder.
    """
    found = outcome.found
    checks = [_stage(stage, outcome, len(expected)) for stage in _STAGES[: _STAGES.index(outcome.stage) + 1]]
    kept = [check for check in checks if check is not None]
    if outcome.answers is not None and gate.parity:
        kept.append(_parity(outcome.answers, expected))
    for timed in found.get("latency", ()):
        kept += _latency(timed, gate)
    if "throughput" in found:
        kept.append(_throughput(found["throughput"], gate.throughput))
    if "memory_mb" in found:
        kept.append(_at_most("resident memory", found["memory_mb"], gate.memory_mb, "MB", "memory_mb"))
    kept.append(_at_most("size on disk", size_mb(model), gate.max_mb, "MB", "max_mb"))
    return kept


def _stage(stage: str, outcome: Outcome, rows: int) -> Check | None:
    if stage == "done" or (stage in ("speed", "shadow") and stage != outcome.stage):
        return None
    name, remedy = _ASKED[stage]
    if stage == outcome.stage:
        return Check(name, "fail", reason=f"it does not get through `{name}`: {outcome.error}", remedy=remedy)
    if stage == "load":
        return Check(name, "pass", reason=f"loaded in {outcome.found['load_seconds']:.1f} s by a process of its own")
    if stage == "example":
        rows = outcome.found.get("example", 0)
        if not rows:
            return Check(name, "warn", reason="it has no input example", remedy="log it with one.")
    return Check(name, "pass", reason=f"{rows:,} rows, a finite prediction each", rows=rows)


def _parity(answers: pa.Table, expected: pa.Table) -> Check:
    """Hold the trial's predictions against those of the evaluation, row by row."""
    import numpy as np

    name = "same predictions as analyze"
    then, now = _matrix(expected["candidate"]), _answered(answers, expected)
    if then.shape != now.shape:
        why = f"analyze has predictions of shape {then.shape}, the trial of shape {now.shape}"
        return Check(name, "fail", reason=why, remedy="analyze and serve the same model.")
    apart = np.abs(now - then)
    wrong = (apart > RELATIVE * np.maximum(np.abs(now), np.abs(then)) + ABSOLUTE).any(axis=1)
    largest = float(apart.max()) if apart.size else 0.0
    said = f"{len(now):,} rows, largest difference {largest:.2g}; {RELATIVE:g} of a prediction is let pass"
    if not wrong.any():
        return Check(name, "pass", largest, reason=said, rows=len(now))
    at = int(np.flatnonzero(wrong)[0])
    why = (
        f"{int(wrong.sum()):,} of {len(now):,} rows are predicted otherwise than in analyze, as {then[at][0]:.6g} then "
    )
    why += f"and {now[at][0]:.6g} now"
    remedy = "does it draw at random, keep a state, or depend on the rows beside?"
    return Check(name, "fail", largest, reason=why, remedy=remedy, rows=len(now))


def _matrix(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """Return predictions of a column as an array of rows; a list of probabilities has a column a class."""
    import numpy as np

    values = np.array(column.to_pylist(), dtype=np.float64)
    return values.reshape(len(column), -1) if len(column) else values.reshape(0, 1)


def _answered(answers: pa.Table, expected: pa.Table) -> np.ndarray[Any, Any]:
    import numpy as np
    import pyarrow as pa

    classes = [name for name in answers.column_names if name.startswith(PROBABILITY)]
    kind = expected.schema.field("candidate").type
    if classes and (pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)):
        return np.stack([answers[name].to_numpy() for name in classes], axis=1)
    name = PREDICTION if PREDICTION in answers.column_names else answers.column_names[0]
    return _matrix(answers[name])


def _latency(timed: dict[str, Any], gate: ServingGate) -> list[Check]:
    size, how = timed["batch"], f"{timed['calls']:,} calls, median of {timed['repeats']} repeats"
    checks = []
    for key, bar, spread in zip(("p50_ms", "p99_ms"), (gate.p50_ms, gate.p99_ms), timed["spread"], strict=True):
        name = f"{key.removesuffix('_ms')} of a call with {size} {'row' if size == 1 else 'rows'}"
        checks.append(_at_most(name, timed[key], bar, "ms", key, how, tuple(spread)))
    return checks


def _throughput(measured: dict[str, Any], bar: float | None) -> Check:
    name, found = "throughput", measured["per_second"]
    how = f"{measured['rows']:,} rows at once, median of {measured['repeats']} repeats"
    said = f"{found:,.0f} rows a second ({how})"
    if bar is None or found >= bar:
        return Check(name, "pass", found, bar, reason=said if bar else f"{said}; no bar")
    return Check(
        name,
        "fail",
        found,
        bar,
        reason=f"{said}, at least {bar:,.0f} are asked for",
        remedy="make the model lighter, or lower `gates.serving.throughput`.",
    )


def _at_most(
    name: str,
    found: float,
    bar: float | None,
    unit: str,
    key: str,
    how: str = "",
    interval: tuple[float, float] | None = None,
) -> Check:
    said = f"{name} is {found:.4g} {unit}" + (f" ({how})" if how else "")
    if bar is None or found <= bar:
        return Check(name, "pass", found, bar, reason=said if bar else f"{said}; no bar", interval=interval)
    return Check(
        name,
        "fail",
        found,
        bar,
        reason=f"{said}, at most {bar:g} {unit} is asked for",
        remedy=f"make the model lighter, or raise `gates.serving.{key}`.",
        interval=interval,
    )


def changed(shadow: Shadow, bar: float | None) -> Check:
    """Return whether too many logged rows change; it fails when more than `bar` are shown to, at 95%."""
    low, high = shadow.interval()
    name = "changed on logged requests"
    said = f"{shadow.share:.1%} of {shadow.rows:,} logged rows change ({shadow.meaning})"
    if bar is None or low <= bar:
        said = f"{said}, {low:.1%} at least; {bar:.1%} is accepted" if bar is not None else f"{said}; no bar"
        return Check(name, "pass", shadow.share, bar, reason=said, interval=(low, high), rows=shadow.rows)
    return Check(
        name,
        "fail",
        shadow.share,
        bar,
        reason=f"{said}, {low:.1%} at least, and {bar:.1%} is accepted",
        remedy="look at the rows that differ most; raise `gates.serving.shadow.max_changed` if they are right.",
        interval=(low, high),
        rows=shadow.rows,
    )


def size_mb(model: Path) -> float:
    """Return the size of a model folder in MB."""
    return sum(file.stat().st_size for file in model.rglob("*") if file.is_file()) / 1e6
