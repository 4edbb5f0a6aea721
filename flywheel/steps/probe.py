"""Probe: does the packaged model serve, outside the run, as well as it has to?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Check, Evaluation, Examples, Model, Verdict
from flywheel.config.deploy import SERVING, target_of
from flywheel.errors import ArtifactError, FlywheelError
from flywheel.evaluation.predictions import FILE
from flywheel.say import say
from flywheel.serving.folder import path_of

if TYPE_CHECKING:
    import pyarrow as pa

    from flywheel.config import ServingGate
    from flywheel.serving.outside import Outcome
    from flywheel.serving.shadow import Shadow

PRELOAD = (
    "flywheel.ledger.engine",
    "pyarrow._exec_plan",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "vl_convert",
    "yaml",
    "flywheel.reports.templates",
    "flywheel.serving.bars",
    "flywheel.serving.report",
    "flywheel.serving.shadow",
    "flywheel.serving.trial",
)
ROWS = 1000
"""So many of the judge's rows are asked again, evenly spread over all of them."""


def probe(
    examples: Examples,
    model: Model,
    evaluation: Evaluation,
    settings: dict[str, Any],
    serving: str,
    report: Path,
) -> Verdict:
    """Return whether the packaged model does outside the run what `gates.serving` asks, and write a report of it.

    It is loaded by a process that does nothing else, where nothing of the project can be imported: it answers its input
    example and rows that analyze predicted, its calls are timed, and logged requests are replayed. A model that fails,
    hangs or answers nonsense fails a check.

    Args:
        examples: Raw rows.
        model: The candidate.
        evaluation: What `analyze` predicted with it.
        settings: `name` and `task` of the flywheel, and `gate`, as `gates.serving` of flywheel.yaml.
        serving: As `target` of deploy. Beside the folder of `flywheel serve` stand the logs of requests, and
            environments are kept there.
        report: Where the HTML goes.

    Raises:
        ConfigError: `gate` is no serving gate.
        ArtifactError: The evaluation is not of these examples.
        ServingError: `serving` is no folder.
    """
    from flywheel.config import ServingGate
    from flywheel.serving import bars
    from flywheel.serving.report import render

    gate = ServingGate.told(settings["gate"], "gates.serving", "{p99_ms: 50, max_mb: 100}")
    rows, expected = sample(examples, evaluation, _asked_with(model.path, examples.columns, evaluation))
    shadow: Shadow | None = None
    state = path_of(getattr(target_of(serving), "folder", None) or SERVING).parent
    logged, why_not = _logged(settings["name"], model, evaluation, state / "requests", gate)
    outcome, checks = _try(model, rows, logged, gate, state / "environments")
    if outcome is not None:
        checks += bars.judge(gate, outcome, expected, model.path)
        if logged is not None and outcome.replayed is not None:
            shadow, check = _compare(logged, outcome.replayed, gate, settings.get("task", "binary"))
            checks.append(check)
        elif gate.shadow and logged is None:
            checks.append(Check("changed on logged requests", "pass", reason=f"not checked: {why_not}"))
    verdict = Verdict("serving", tuple(checks), _facts(outcome, shadow, model))
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(render(verdict, outcome, shadow, why_not, model.path), encoding="utf-8")
    return verdict


def sample(
    examples: Examples, evaluation: Evaluation, columns: Sequence[str], most: int = ROWS
) -> tuple[pa.Table, pa.Table]:
    """Return raw rows of the judge, evenly spread over all of them, and what analyze predicted for each of them.

    Args:
        examples: Raw rows.
        evaluation: Predictions of all rows of the judge, in their order.
        columns: Which to return.
        most: At most so many rows.

    Raises:
        ArtifactError: The two do not have the same rows.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(evaluation.path / FILE) as file:
        predicted = file.read(columns=["candidate"])
    chosen = np.unique(np.linspace(0, len(predicted) - 1, min(most, len(predicted))).astype(np.int64))
    taken, before = [], 0
    for _, batch in examples.batches(evaluation.manifest.facts["judge"], columns):
        here = chosen[(chosen >= before) & (chosen < before + batch.num_rows)] - before
        if len(here):
            taken.append(batch.take(pa.array(here)))
        before += batch.num_rows
    if before != len(predicted):
        raise ArtifactError(
            f"the evaluation has predictions of {len(predicted)} rows, the examples have {before} in its spans",
            "give the examples that were analyzed.",
        )
    return pa.Table.from_batches(taken).combine_chunks(), predicted.take(pa.array(chosen))


def _try(
    model: Model, rows: pa.Table, logged: pa.Table | None, gate: ServingGate, environments: Path
) -> tuple[Outcome | None, list[Check]]:
    """Try the model; in an environment of its own where the gate says so, which is a check too."""
    from flywheel.serving.outside import attempt, environment, requirements

    python, checks = None, []
    if gate.isolated:
        name, declared = "installs from what it declares", requirements(model.path)
        try:
            python = environment(model.path, environments)
        except FlywheelError as error:
            return None, [Check(name, "fail", reason=error.message, remedy="mend the model's requirements.txt.")]
        checks.append(Check(name, "pass", reason=f"an environment with {len(declared)} requirements alone"))
    say(f"trying the model in a process of its own, with {len(rows):,} rows")
    limit = gate.timeout.total_seconds()
    bars = (gate.p50_ms or 0, gate.p99_ms or 0)
    how = {"batches": gate.batch, "bars": bars if any(bars) else None}  # without a bar, figures are all there is
    return attempt(model.path, rows, logged, python=python, timeout=limit, **how), checks


def _logged(
    name: str, model: Model, evaluation: Evaluation, requests: Path, gate: ServingGate
) -> tuple[pa.Table | None, str]:
    """Return logged requests that the champion answered, or nothing and why."""
    from flywheel.config import Shadow as Settings
    from flywheel.serving import shadow

    champion = evaluation.manifest.facts.get("champion")
    if not champion:
        return None, "there is no champion yet"
    rows = gate.shadow.rows if gate.shadow else Settings.model_fields["rows"].default
    needed = [name for name, required in _signature(model.path).items() if required]
    return shadow.read(requests / name, champion.rpartition("/")[2], needed, rows)


def _signature(model: Path) -> dict[str, bool]:
    """Return the columns that a model is asked with, and whether it needs each; none when it does not say."""
    import json

    import yaml

    signature = yaml.safe_load((model / "MLmodel").read_text()).get("signature") or {}
    columns = json.loads(signature.get("inputs") or "[]")
    return {column["name"]: column.get("required", True) for column in columns if column.get("name")}


def _asked_with(model: Path, columns: Sequence[str], evaluation: Evaluation) -> list[str]:
    """Return the columns that analyze asked the model with."""
    named = _signature(model) or [name for name in columns if name != evaluation.manifest.facts["label"]]
    return [name for name in named if name in columns]


def _compare(logged: pa.Table, answers: pa.Table, gate: ServingGate, task: str) -> tuple[Shadow | None, Check]:
    from flywheel.serving import bars, shadow

    try:
        found = shadow.compare(logged, answers, task)
    except ValueError as error:
        return None, Check("changed on logged requests", "warn", reason=f"not checked: {error}")
    return found, bars.changed(found, gate.shadow.max_changed if gate.shadow else None)


def _facts(outcome: Outcome | None, shadow: Shadow | None, model: Model) -> dict[str, Any]:
    from flywheel.serving import bars

    facts: dict[str, Any] = {"size_mb": bars.size_mb(model.path)}
    found = outcome.found if outcome else {}
    if found.get("latency"):
        first = found["latency"][0]
        facts |= {"p50_ms": first["p50_ms"], "p99_ms": first["p99_ms"]}
    if "throughput" in found:
        facts |= {"throughput": found["throughput"]["per_second"], "memory_mb": found["memory_mb"]}
    if shadow:
        facts |= {"changed": shadow.share, "replayed": shadow.rows}
    return facts
