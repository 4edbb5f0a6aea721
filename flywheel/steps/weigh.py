"""Weigh: is this span worth a training?"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Check, Examples, Verdict
from flywheel.config import Retrain
from flywheel.config.metrics import HEADLINE, better
from flywheel.errors import ConfigError, DataError, LedgerError
from flywheel.ledger import MONITOR, Ledger, Row
from flywheel.profiles.aging import DRIFT
from flywheel.retraining import Choice, Evidence, Gain, asked_for, weigh
from flywheel.retraining.evidence import gains_of, passed, reference_of
from flywheel.say import say

if TYPE_CHECKING:
    from flywheel.evaluation.paired import Estimate
    from flywheel.retraining.policies import Function

PRELOAD = ("flywheel.ledger.engine", "jinja2", "pyarrow.parquet", "scipy.optimize", "scipy.special", "vl_convert")
_MEASURES = ("on_decay", "function")
_RECENT, _OTHERS, _FEW = 10, 20, 6


def worth_it(
    examples: Examples, settings: Mapping[str, Any], ledger: str, run: str, code: Path, report: Path
) -> Verdict:
    """Return whether a training for the run's span is worth it, and write a report that says why.

    Args:
        examples: Raw rows of all spans that the run extracted.
        settings: `name`, `label`, `task`, `every`; `window` and `judge`, the spans that are fit for each; `retrain` as
            in flywheel.yaml, and `hourly_cost`, if it is there.
        ledger: MLflow tracking URI; it has the past trainings, and what the data gate found.
        run: Row of the ledger.
        code: The project's archive, with the function that the policy may name.
        report: Where the HTML goes.

    Raises:
        ConfigError: The policy is none, or its function does not answer as it should.
        DataError: There is no such function.
        LedgerError: The ledger cannot be reached, or the champion cannot be loaded.
    """
    from flywheel.retraining.report import render

    retrain = Retrain.told(settings["retrain"], "retrain", "{policy: every, every: 7d}")
    evidence = gather(examples, settings, ledger, run, retrain)
    choice = decide(retrain, evidence, code)
    check = Check(
        "worth a training",
        "pass" if choice.train else "fail",
        reason=choice.why,
        remedy="" if choice.train else "To train all the same: `flywheel run --set retrain.policy=always`.",
    )
    facts = {
        "decision": choice.why,
        "policy": str(retrain),
        "age": evidence.age,
        "since": evidence.since,
        **choice.facts,
    }
    verdict = Verdict("retraining", (check,), facts)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(render(verdict, retrain, evidence, choice), encoding="utf-8")
    say(f"{'train' if choice.train else 'do not train'}: {choice.why}")
    return verdict


def decide(retrain: Retrain, evidence: Evidence, code: Path) -> Choice:
    """Return what the policy says.

    Raises:
        ConfigError: Its function fails, or does not answer as it should.
        DataError: There is no such function.
    """
    function: Function | None = None
    if retrain.policy == "function":
        from flywheel.transform.code import Code

        assert retrain.function is not None
        function = Code.of(code).find(retrain.function, "policy")
    try:
        return weigh(retrain, evidence, function)
    except Exception as error:
        if function is None:
            raise
        raise ConfigError(
            f"retrain.function {retrain.function!r} fails: {type(error).__name__}: {error}",
            "it takes `flywheel.retraining.Evidence` and returns a bool, or a bool and a sentence.",
        ) from error


def gather(examples: Examples, settings: Mapping[str, Any], ledger: str, run: str, retrain: Retrain) -> Evidence:
    """Return what is known of the champion."""
    book, name, every, task = Ledger(ledger), settings["name"], settings["every"], settings.get("task", "binary")
    row = book.row(run)
    champion = book.champion(name)
    rows = [each for each in book.rows(name) if each.run != run and each.span <= row.span]
    trained = [each for each in rows if "model" in each.decisions]
    spans = sorted({each.span for each in trained})
    gains = gains_of(rows, every)
    metric = HEADLINE[task]
    measured = champion is not None and retrain.policy in _MEASURES
    looks = [each for each in book.rows(name, MONITOR) if each.span <= row.span]
    judge = [span for span in settings["judge"] if examples.rows_of([span])]
    good = [*settings["window"], *settings["judge"]]
    return Evidence(
        span=row.span,
        every=every,
        champion=champion.version if champion else "",
        age=passed(champion.span, row.span, every) if champion else 0,
        since=passed(spans[-1], row.span, every) if spans else 0,
        trained=tuple(spans),
        metric=metric,
        better=better(metric, task),
        then=reference_of(champion, rows),
        now=_measured(champion.uri, ledger, examples, judge, settings) if champion and measured and judge else None,
        moved=_moved(book, row),
        asked=asked_for(champion.version, looks, rows) if champion else "",
        rows=examples.rows_of([row.span]),
        new_rows=examples.rows_of([span for span in good if champion and span > champion.span]),
        window_rows=examples.rows_of(list(settings["window"])),
        gains=gains,
        others=_others(book, name, every, metric) if len(gains) < _FEW and retrain.policy == "cost_aware" else (),
        seconds=_usual([each.seconds for each in trained if each.seconds]),
        hourly_cost=settings.get("hourly_cost"),
    )


def _measured(
    uri: str, ledger: str, examples: Examples, judge: Sequence[str], settings: Mapping[str, Any]
) -> Estimate | None:
    """Return the champion's headline metric on the judge's spans; None where it cannot be measured."""
    from flywheel.evaluation.answers import PredictionError
    from flywheel.evaluation.champion import InService, quiet_mlflow
    from flywheel.evaluation.estimates import figure
    from flywheel.evaluation.predict import Wanted, write
    from flywheel.evaluation.predictions import CHAMPION, FILE, Predictions

    task = settings.get("task", "binary")
    with quiet_mlflow(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder, FILE)
        try:
            wanted = Wanted(settings["label"], task, weight=settings.get("weight") or "")
            champion = InService(uri, ledger, examples, settings["label"], task, Path(folder, "champion"))
            write(examples, judge, {CHAMPION: champion.answered(judge)}, wanted, file)
        except (DataError, PredictionError) as error:
            say(f"the champion is not measured: {error.message}")
            return None
        return figure(Predictions.read(file), HEADLINE[task], CHAMPION)


def _moved(book: Ledger, row: Row) -> dict[str, str]:
    """Return the columns that the data gate found to have moved since the champion's training."""
    if "data" not in row.decisions:
        return {}
    checks = book.verdict(row.run, "data").checks
    return {check.column: check.reason for check in checks if check.name.startswith(DRIFT)}


def _others(book: Ledger, name: str, every: str, metric: str) -> tuple[Gain, ...]:
    """Return what trainings of other flywheels in this ledger gained, by the same metric and spans as long."""
    found: list[Gain] = []
    for experiment in book.client.search_experiments(max_results=_OTHERS):
        if experiment.name == name:
            continue
        try:
            rows = [row for row in book.rows(experiment.name) if _alike(row, metric)]
            found += gains_of(rows, every)  # type: ignore[arg-type]
        except (ConfigError, LedgerError):  # spans of another length, or an experiment that is none of a flywheel
            continue
    return tuple(found)


def _alike(row: Row, metric: str) -> bool:
    return "model" in row.decisions and row.decisions["model"].facts.get("metric") == metric


def _usual(seconds: Sequence[float]) -> float | None:
    return statistics.median(seconds[-_RECENT:]) if seconds else None
