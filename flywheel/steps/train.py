"""Train: call the user's trainer on the transformed window and package what it returns."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Examples, Model, TransformState
from flywheel.errors import ConfigError, meant
from flywheel.say import say
from flywheel.training.job import Job, called, launched

if TYPE_CHECKING:
    import pyarrow as pa

    from flywheel.evaluation.predictions import Predictions
    from flywheel.training.context import TrainContext
    from flywheel.training.tracking import Tracker
    from flywheel.training.tuning import Found

PRELOAD = (
    "flywheel.ledger.engine",
    "flywheel.ledger.requirements",
    "mlflow.pyfunc",
    "mlflow.system_metrics.system_metrics_monitor",
    "pandas",
    "pyarrow.parquet",
    "pyarrow.compute",
    "pyarrow.pandas_compat",
    "fsspec.implementations.local",
    "flywheel.training.context",
    "flywheel.training.distributed",
    "flywheel.training.memory",
    "flywheel.training.package",
    "flywheel.training.tracking",
    "flywheel.training.user_code",
    "flywheel.training.versions",
    "flywheel.training.watchdog",
    "flywheel.trainjob.own",
)
_EXAMPLE_ROWS = 5


def train(
    examples: Examples,
    transformed: Examples,
    state: TransformState,
    code: Path,
    settings: dict[str, Any],
    champion: str,
    ledger: str,
    model: Path,
) -> Model:
    """Return the model that the user's trainer makes of the training window, packaged at `model`.

    Args:
        examples: Raw rows; a few of them become the model's input example.
        transformed: The training window as the model sees it.
        state: The transform, packed into the model.
        code: The project's archive, which holds the trainer.
        settings: `name` of the flywheel, number of `gpus`, and the rest of `train` in flywheel.yaml; `role` is
            `baseline` for the model that every other is compared with.
        champion: MLflow URI of the model in service, to start from; empty when there is none.
        ledger: MLflow tracking URI, where parameters and metrics are logged.
        model: Where the packaged model goes.

    Raises:
        ConfigError: `thresholds` names a class that the model does not know.
        TrainerError: The trainer cannot be imported, fails, or returns something that cannot be served; nothing is
            written then.
        ClusterError: It is to be trained on several machines, and the cluster refuses or has no room.
    """
    from flywheel.evaluation.thresholds import FILE, values
    from flywheel.training import package
    from flywheel.training.tracking import training_run
    from flywheel.training.user_code import trainer
    from flywheel.trainjob.own import on_kubeflow

    settings = _whole(settings)
    if "resources" in settings and on_kubeflow():
        from flywheel.steps.nodes import train_on_nodes

        return train_on_nodes(examples, transformed, state, code, settings, champion, ledger, model)
    began, spans, bars = time.monotonic(), transformed.spans, settings.get("thresholds") or {}
    tags = {
        "flywheel.kind": "training",
        "flywheel.span": examples.spans[-1],
        "flywheel.role": settings.get("role", "candidate"),
        "flywheel.data": transformed.digest,
        "flywheel.state": state.digest,
        "flywheel.code": hashlib.sha256(code.read_bytes()).hexdigest(),
    }
    with training_run(ledger, settings["name"], tags) as tracker:
        job = Job(transformed, state, code, settings, champion, ledger, tracker.run, time.time() + _budget(settings))
        with trainer(code, settings["trainer"]) as call:
            context = job.context(lambda: tracker)
            say(f"training the {tags['flywheel.role']}, {settings['trainer']}, on {len(context.train):,} rows")
            _refuse_unknown(bars, context)
            tracker.parameters(_parameters(context, settings, champion))
            found = _searched(job, call, tracker) if settings.get("tune") else None
            made = found.model if found else called(job, call, context)
        framework, judged = _judged(made, context, settings["trainer"])
        metrics = _figures(judged)
        thresholds = _thresholds(judged, bars, settings.get("together"))
        tracker.metrics({f"validation_{name}": value for name, value in metrics.items()})
        with Model.create(model, producer="train", spans=spans) as draft:
            example = _example(examples, spans)
            package.write(draft.path, made, framework, job.learned, example, values(thresholds))
            package.check_reloads(draft.path, made, example, settings["trainer"])
            draft.counts["rows"] = len(context.train)
            draft.facts |= {
                "training_run": tracker.run,
                "trainer": settings["trainer"],
                "framework": framework,
                "metrics": metrics,
                "warm_start": tracker.tags().get("flywheel.warm_start", "cold: the trainer did not ask"),
                "rows": len(context.train),
                "seconds": round(time.monotonic() - began, 3),
            } | ({"tuned": found.facts} if found else {})
            if thresholds:
                draft.facts["thresholds"] = thresholds
                (draft.path / FILE).write_text(json.dumps(thresholds, indent=1))
        tracker.metrics({"rows": draft.facts["rows"], "seconds": draft.facts["seconds"]})
    context.checkpoints.clear()
    if found and found.study:
        found.study.unlink(missing_ok=True)
    return Model.open(model)


def assist(
    transformed: Examples, state: TransformState, code: Path, settings: dict[str, Any], champion: str, ledger: str
) -> None:
    """Train on one of several machines, of which another logs and packages what they make together.

    The arguments are those of `train`.

    Raises:
        TrainerError: The trainer cannot be imported, or fails.
    """
    from flywheel.training.watchdog import watched

    settings = _whole(settings)
    job = Job(transformed, state, code, settings, champion, ledger, "", time.time() + _budget(settings))
    with watched(settings.get("time_budget"), settings["trainer"]):
        launched(job)


def _searched(job: Job, call: Any, tracker: Tracker) -> Found:
    """Return the best model of those that the trainer makes with other parameters."""
    from flywheel.training.tuning import Search

    def attempt(parameters: dict[str, Any], run: Tracker, passing: Any) -> tuple[Any, dict[str, float]]:
        trial = replace(job, settings=job.settings | {"parameters": parameters}, run=run.run)
        context = trial.context(lambda: run)
        context.record = passing(context.record)
        made = called(trial, call, context)
        context.checkpoints.clear()
        return made, _figures(_judged(made, context, job.settings["trainer"])[1])

    folder = job.settings.get("checkpoint", {}).get("folder", "")
    search = Search(
        asked=job.settings["tune"],
        parameters=job.settings["parameters"],
        identity=job.identity(but=("tune", "parameters")),
        task=job.learned.task,
        seed=job.settings["seed"],
        folder=Path(folder) if folder and "://" not in folder else None,
    )
    found = search.run(attempt, tracker)
    tracker.parameters({f"tuned.{name}": value for name, value in found.facts["parameters"].items()})
    return found


def _whole(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with counts as integers: Kubeflow's numbers in a dict are all floating-point."""
    import os

    from flywheel.config.resources import GPUS

    counts = {key: int(settings[key]) for key in ("seed", "gpus", "processes") if key in settings}
    return {"gpus": int(os.environ.get(GPUS, 0))} | settings | counts


def _budget(settings: dict[str, Any]) -> float:
    budget = settings.get("time_budget")
    return float("inf") if budget is None else float(budget)


def _parameters(context: TrainContext, settings: dict[str, Any], champion: str) -> dict[str, Any]:
    held = context.validation.spans
    return {
        "trainer": settings["trainer"],
        "seed": settings["seed"],
        "device": context.device,
        "champion": champion or "none",
        "window": f"{min(context.train.spans)} to {max(*context.train.spans, *held)}",
        "validation": str(context.validation),
        "rows": len(context.train),
    } | {f"parameters.{key}": value for key, value in context.parameters.items()}


def _judged(made: Any, context: TrainContext, trainer: str) -> tuple[str, Predictions]:
    """Return the framework of what the trainer returned, and what it predicts of the validation rows."""
    import numpy as np

    from flywheel.evaluation.groups import Groups
    from flywheel.evaluation.predictions import CANDIDATE, Predictions
    from flywheel.labels import UNKNOWN
    from flywheel.serving.pyfunc import SEVERAL
    from flywheel.training import frameworks, package

    framework = frameworks.name_of(made, trainer)
    inputs, labels = context.validation.arrays()
    given = frameworks.get(framework).predict(made, inputs)
    scores = package.check_outputs(given, len(labels), trainer, context.task, len(context.classes))
    found = Predictions(
        labels if context.task == "regression" else np.nan_to_num(labels, nan=UNKNOWN).astype(np.int64),
        {CANDIDATE: scores.astype(np.float64)},
        Groups.whole(len(labels)),
        task=context.task,
        classes=tuple(map(str, context.classes)) if context.task in SEVERAL else (),
    )
    return framework, found


def _figures(judged: Predictions) -> dict[str, float]:
    """Return metrics as `analyze` has them."""
    from flywheel.evaluation import metrics
    from flywheel.evaluation.predictions import CANDIDATE

    return metrics.finite(metrics.overall(judged, CANDIDATE))


def _refuse_unknown(bars: Mapping[str, Any], context: TrainContext) -> None:
    """Raise a ConfigError, before anything is trained, if a threshold is asked for of a class that there is not."""
    from flywheel.serving.pyfunc import SEVERAL

    known = [str(each) for each in context.classes] if context.task in SEVERAL else ["1"]
    if wrong := next((name for name in bars if name not in known), ""):
        raise ConfigError(
            f"`train.thresholds` names the class {wrong!r}, the model knows {', '.join(known)}",
            f"{meant(wrong, known)}name one of those, or train on a window that has it.",
        )


def _thresholds(
    judged: Predictions, bars: Mapping[str, Mapping[str, float]], together: Mapping[str, float] | None
) -> dict[str, Any]:
    """Return the thresholds of classes that have a bar, with what they reach on the validation rows."""
    from flywheel.evaluation import thresholds

    chosen = thresholds.choose(judged, bars, together) if bars else {}
    for name, each in chosen.items():
        rates = f"precision {each['precision']:.4g}, recall {each['recall']:.4g} on validation rows"
        bar = f"{each['bar']} {each['at_least']:g}" if each["bar"] else "the bar on all"
        if name == thresholds.ANY:
            say(f"together they are {'' if each['shown'] else 'not '}shown to reach {bar}: {rates}")
            continue
        at = "it is never called" if each["shown"] else f"none is shown to reach {bar}"
        if each["threshold"] is not None:
            at = f"{each['threshold']:.4g}{' reaches' if each['bar'] else ', with others for'} {bar}"
        say(f"threshold of {name}: {at}; {rates}")
    return chosen


def _example(examples: Examples, spans: tuple[str, ...]) -> pa.RecordBatch:
    """Return the first few raw rows of the newest span that has any."""
    filled = [span for span in spans if examples.rows_of([span])]
    _, batch = next(examples.batches(filled[-1:]))
    return batch.slice(0, _EXAMPLE_ROWS)
