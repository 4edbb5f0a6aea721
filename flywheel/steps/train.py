"""Train: call the user's trainer on the transformed window and package what it returns."""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Examples, Model, TransformState
from flywheel.errors import ConfigError, TrainerError
from flywheel.say import say

if TYPE_CHECKING:
    import pyarrow as pa

    from flywheel.evaluation.predictions import Predictions
    from flywheel.serving.pyfunc import Predictor
    from flywheel.training.checkpoints import Checkpoints
    from flywheel.training.context import TrainContext
    from flywheel.training.tracking import Tracker
    from flywheel.training.tuning import Found
    from flywheel.training.warm_start import Decision
    from flywheel.transform.state import State

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
    from flywheel.training import package
    from flywheel.training.tracking import training_run
    from flywheel.training.user_code import trainer
    from flywheel.trainjob.own import on_kubeflow

    settings = _whole(settings)
    if "resources" in settings and on_kubeflow():
        from flywheel.steps.nodes import train_on_nodes

        return train_on_nodes(examples, transformed, state, code, settings, champion, ledger, model)
    began, spans = time.monotonic(), transformed.spans
    tags = {
        "flywheel.kind": "training",
        "flywheel.span": examples.spans[-1],
        "flywheel.role": settings.get("role", "candidate"),
        "flywheel.data": transformed.digest,
        "flywheel.state": state.digest,
        "flywheel.code": hashlib.sha256(code.read_bytes()).hexdigest(),
    }
    with training_run(ledger, settings["name"], tags) as tracker:
        job = _Job(transformed, state, code, settings, champion, ledger, tracker.run, time.time() + _budget(settings))
        with trainer(code, settings["trainer"]) as call:
            context = job.context(lambda: tracker)
            tracker.parameters(_parameters(context, settings, champion))
            found = _searched(job, call, tracker) if settings.get("tune") else None
            made = found.model if found else _called(job, call, context)
        framework, judged = _judged(made, context, settings["trainer"])
        metrics = _figures(judged)
        thresholds = _thresholds(judged, settings.get("thresholds") or {})
        tracker.metrics({f"validation_{name}": value for name, value in metrics.items()})
        with Model.create(model, producer="train", spans=spans) as draft:
            example = _example(examples, spans)
            package.write(draft.path, made, framework, job.learned, example)
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
                (draft.path / "thresholds.json").write_text(json.dumps(thresholds, indent=1))
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
    job = _Job(transformed, state, code, settings, champion, ledger, "", time.time() + _budget(settings))
    with watched(settings.get("time_budget"), settings["trainer"]):
        _launched(job)


@dataclass(frozen=True)
class _Job:
    """What each of the processes that train together is told."""

    transformed: Examples
    state: TransformState
    code: Path
    settings: dict[str, Any]
    champion: str
    ledger: str
    run: str  # in MLflow; empty on machines that log nothing
    ends: float  # when the time budget is over, in seconds since 1970: processes share no other clock

    @property
    def learned(self) -> State:
        from flywheel.transform.state import State

        found = State.read(self.state.file)
        return replace(found, code=self.code) if any(each.function for each in found.features) else found

    @property
    def processes(self) -> int:
        """How many train together on this machine."""
        return int(self.settings.get("gpus", 0) or self.settings.get("processes", 1))

    def context(self, tracker: Callable[[], Tracker], rank: int = 0, world: int = 1) -> TrainContext:
        from flywheel.training import device
        from flywheel.training.context import TrainContext
        from flywheel.training.rows import Share, split

        learned, settings = self.learned, self.settings
        features = learned.inputs
        training, validation = split(self.transformed, learned.label, settings["seed"], features, Share(rank, world))
        return TrainContext(
            train=training,
            validation=validation,
            features=features,
            label=learned.label,
            task=learned.task,
            classes=learned.classes,
            parameters=dict(settings["parameters"]),
            seed=settings["seed"],
            name=settings["name"],
            checkpoints=_checkpoints(self),
            deadline=time.monotonic() + self.ends - time.time(),
            device=device.choose(settings.get("gpus", 0), rank % self.processes),
            rank=rank,
            world=world,
            load_champion=lambda: self.predictor(tracker()).model if self.champion else None,
            start=partial(_start, self, tracker, rank),
            record=lambda metrics, step: tracker().metrics(metrics, step),
        )

    def predictor(self, tracker: Tracker) -> Predictor:
        """Return the model in service with its transform."""
        from flywheel.serving import pyfunc

        return pyfunc.load(tracker.client.download(self.champion))


def _start(job: _Job, tracker: Callable[[], Tracker], rank: int, model: Any) -> Decision:
    """Copy what fits of the model in service into `model`, if that is asked for, and keep what was decided."""
    from flywheel.training import frameworks, warm_start

    decision = warm_start.OFF
    if job.settings.get("warm_start"):
        decision = warm_start.NO_CHAMPION
        if job.champion:
            framework = frameworks.name_of(model, job.settings["trainer"])
            decision = warm_start.decide(model, framework, job.learned, job.predictor(tracker()))
    if rank == 0:
        tracker().tag("flywheel.warm_start", str(decision))
    return decision


def _called(job: _Job, call: Any, context: TrainContext) -> Any:
    """Return what the trainer makes, in this process or in several that train together."""
    from flywheel.training import distributed, memory
    from flywheel.training.watchdog import watched

    name = job.settings["trainer"]
    try:
        with watched(job.settings.get("time_budget"), name):
            if job.processes > 1 or distributed.Nodes.here().count > 1:
                return _launched(job)
            _seed(job.settings["seed"])
            return call(context)
    except TrainerError as error:
        if memory.is_out_of_memory(error.__cause__):
            raise memory.explained(name, context.parameters.get("batch")) from error
        raise


def _launched(job: _Job) -> Any:
    """Return what the trainer makes in several processes, on this machine and on others; None on all but the first."""
    from flywheel.training import distributed

    gpus, nodes = bool(job.settings.get("gpus")), distributed.Nodes.here()
    return distributed.launch(_train_together, job, job.processes, gpus=gpus, nodes=nodes)


def _searched(job: _Job, call: Any, tracker: Tracker) -> Found:
    """Return the best model of those that the trainer makes with other parameters."""
    from flywheel.training.tuning import Search

    def attempt(parameters: dict[str, Any], run: Tracker, passing: Any) -> tuple[Any, dict[str, float]]:
        trial = replace(job, settings=job.settings | {"parameters": parameters}, run=run.run)
        context = trial.context(lambda: run)
        context.record = passing(context.record)
        made = _called(trial, call, context)
        context.checkpoints.clear()
        return made, _figures(_judged(made, context, job.settings["trainer"])[1])

    folder = job.settings.get("checkpoint", {}).get("folder", "")
    search = Search(
        asked=job.settings["tune"],
        parameters=job.settings["parameters"],
        identity=_identity(job, but=("tune", "parameters")),
        task=job.learned.task,
        seed=job.settings["seed"],
        folder=Path(folder) if folder and "://" not in folder else None,
    )
    found = search.run(attempt, tracker)
    tracker.parameters({f"tuned.{name}": value for name, value in found.facts["parameters"].items()})
    return found


def _train_together(job: _Job, rank: int, world: int) -> Any:
    """Return what the trainer makes in one of several processes."""
    from flywheel.ledger import Ledger
    from flywheel.training.tracking import Tracker
    from flywheel.training.user_code import trainer

    with ExitStack() as stack, trainer(job.code, job.settings["trainer"]) as call:

        @cache  # opened by who logs: MLflow takes seconds
        def tracker() -> Tracker:
            return stack.enter_context(Tracker(Ledger(job.ledger).client, job.run))

        context = job.context(tracker, rank, world)
        _seed(job.settings["seed"])
        return call(context)


def _checkpoints(job: _Job) -> Checkpoints:
    """Return the checkpoints of just this training: of this data, code and settings."""
    from flywheel.training.checkpoints import Checkpoints

    asked = job.settings.get("checkpoint")
    if not asked:
        return Checkpoints()
    steps = int(asked["steps"]) if asked.get("steps") else None
    return Checkpoints(f"{asked['folder'].rstrip('/')}/{_identity(job)}", asked["every"], steps)


def _identity(job: _Job, but: tuple[str, ...] = ()) -> str:
    """Return what is the same for equal data, code and settings, those in `but` left aside."""
    left = ("checkpoint", "time_budget", "processes", "gpus", *but)
    settings = {key: value for key, value in job.settings.items() if key not in left}
    code = hashlib.sha256(job.code.read_bytes()).hexdigest()
    trained = [job.transformed.digest, job.state.digest, code, job.champion, settings]
    return hashlib.sha256(json.dumps(trained, sort_keys=True).encode()).hexdigest()[:16]


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


def _seed(seed: int) -> None:
    """Seed Python, NumPy, and the framework that the user's module has imported by now."""
    import numpy as np

    from flywheel.training import frameworks

    random.seed(seed)
    np.random.seed(seed % 2**32)
    for name in frameworks.FRAMEWORKS:
        if name in sys.modules:
            frameworks.get(name).seed(seed)


def _judged(made: Any, context: TrainContext, trainer: str) -> tuple[str, Predictions]:
    """Return the framework of what the trainer returned, and what it predicts of the validation rows."""
    import numpy as np

    from flywheel.evaluation.groups import Groups
    from flywheel.evaluation.predictions import CANDIDATE, Predictions
    from flywheel.training import frameworks, package

    framework = frameworks.name_of(made, trainer)
    inputs, labels = context.validation.arrays()
    given = frameworks.get(framework).predict(made, inputs)
    scores = package.check_outputs(given, len(labels), trainer, context.task, len(context.classes))
    found = Predictions(
        labels if context.task == "regression" else labels.astype(np.int64),
        {CANDIDATE: scores.astype(np.float64)},
        Groups.whole(len(labels)),
        task=context.task,
        classes=tuple(map(str, context.classes)) if context.task == "multiclass" else (),
    )
    return framework, found


def _figures(judged: Predictions) -> dict[str, float]:
    """Return metrics as `analyze` has them."""
    from flywheel.evaluation import metrics
    from flywheel.evaluation.predictions import CANDIDATE

    return metrics.finite(metrics.overall(judged, CANDIDATE))


def _thresholds(judged: Predictions, bars: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Return the thresholds of classes that have a bar, with what they reach on the validation rows.

    Raises:
        ConfigError: The model knows no such class.
    """
    from flywheel.evaluation import thresholds

    if wrong := thresholds.unknown(judged, bars):
        raise ConfigError(
            f"`train.thresholds` names the class {wrong[0]!r}, the model knows {', '.join(judged.classes) or '1'}",
            "name one of those, or train on a window that has it.",
        )
    chosen = thresholds.choose(judged, bars)
    for name, each in chosen.items():
        at = "none is shown to reach" if each["threshold"] is None else f"{each['threshold']:.4g} reaches"
        say(
            f"threshold of {name}: {at} {each['bar']} {each['at_least']:g}; precision {each['precision']:.4g}, "
            f"recall {each['recall']:.4g} on validation rows"
        )
    return chosen


def _example(examples: Examples, spans: tuple[str, ...]) -> pa.RecordBatch:
    """Return the first few raw rows of the newest span that has any."""
    filled = [span for span in spans if examples.rows_of([span])]
    _, batch = next(examples.batches(filled[-1:]))
    return batch.slice(0, _EXAMPLE_ROWS)
