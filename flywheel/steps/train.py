"""Train: call the user's trainer on the transformed window and package what it returns."""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Examples, Model, TransformState
from flywheel.errors import TrainerError

if TYPE_CHECKING:
    import pyarrow as pa

    from flywheel.training.checkpoints import Checkpoints
    from flywheel.training.context import FeatureSpec, TrainContext
    from flywheel.training.tracking import Tracker
    from flywheel.transform.state import State

PRELOAD = ("flywheel.ledger.requirements", "mlflow.pyfunc", "pandas", "pyarrow.parquet", "pyarrow.compute")
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
        settings: `name` of the flywheel, number of `gpus`, and the rest of `train` in flywheel.yaml.
        champion: MLflow URI of the model in service, to start from; empty when there is none.
        ledger: MLflow tracking URI, where parameters and metrics are logged.
        model: Where the packaged model goes.

    Raises:
        TrainerError: The trainer cannot be imported, fails, or returns something that cannot be served; nothing is
            written then.
    """
    from flywheel.training import package
    from flywheel.training.tracking import training_run
    from flywheel.training.user_code import trainer

    settings = _whole(settings)
    began, spans = time.monotonic(), transformed.spans
    tags = {"flywheel.kind": "training", "flywheel.span": examples.spans[-1]}
    with training_run(ledger, settings["name"], tags) as tracker:
        job = _Job(transformed, state, code, settings, champion, ledger, tracker.run, time.time() + _budget(settings))
        with trainer(code, settings["trainer"]) as call:
            context = job.context(lambda: tracker)
            tracker.parameters(_parameters(context, settings, champion))
            made = _called(job, call, context)
        framework, metrics = _measured(made, context, settings["trainer"])
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
                "rows": len(context.train),
                "seconds": round(time.monotonic() - began, 3),
            }
        tracker.metrics({"rows": draft.facts["rows"], "seconds": draft.facts["seconds"]})
    context.checkpoints.clear()
    return Model.open(model)


@dataclass(frozen=True)
class _Job:
    """What each of the processes that train together is told."""

    transformed: Examples
    state: TransformState
    code: Path
    settings: dict[str, Any]
    champion: str
    ledger: str
    run: str
    ends: float  # when the time budget is over, in seconds since 1970: processes share no other clock

    @property
    def learned(self) -> State:
        from flywheel.transform.state import State

        return State.read(self.state.file)

    @property
    def processes(self) -> int:
        """How many train together on this machine."""
        return int(self.settings.get("gpus", 0) or self.settings.get("processes", 1))

    def context(self, tracker: Callable[[], Tracker], rank: int = 0, world: int = 1) -> TrainContext:
        from flywheel.serving import pyfunc
        from flywheel.training import device
        from flywheel.training.context import TrainContext
        from flywheel.training.rows import Share, split

        learned, settings = self.learned, self.settings
        features = _features(learned)
        training, validation = split(self.transformed, learned.label, settings["seed"], features, Share(rank, world))
        return TrainContext(
            train=training,
            validation=validation,
            features=features,
            label=learned.label,
            parameters=dict(settings["parameters"]),
            seed=settings["seed"],
            name=settings["name"],
            checkpoints=_checkpoints(self),
            deadline=time.monotonic() + self.ends - time.time(),
            device=device.choose(settings.get("gpus", 0), rank),
            rank=rank,
            world=world,
            load_champion=lambda: (
                pyfunc.load(tracker().client.download(self.champion)).model if self.champion else None
            ),
            record=lambda metrics, step: tracker().metrics(metrics, step),
        )


def _called(job: _Job, call: Any, context: TrainContext) -> Any:
    """Return what the trainer makes, in this process or in several that train together."""
    from flywheel.training import memory
    from flywheel.training.watchdog import watched

    name = job.settings["trainer"]
    try:
        with watched(job.settings.get("time_budget"), name):
            if job.processes > 1:
                from flywheel.training import distributed

                return distributed.launch(_train_together, job, job.processes, gpus=bool(job.settings.get("gpus")))
            _seed(job.settings["seed"])
            return call(context)
    except TrainerError as error:
        if memory.is_out_of_memory(error.__cause__):
            raise memory.explained(name, context.parameters.get("batch")) from error
        raise


def _train_together(job: _Job, rank: int, world: int) -> Any:
    """Return what the trainer makes in one of several processes."""
    from flywheel.ledger import Ledger
    from flywheel.training.tracking import Tracker
    from flywheel.training.user_code import trainer

    @cache  # opened by who logs: MLflow takes seconds
    def tracker() -> Tracker:
        return Tracker(Ledger(job.ledger).client, job.run, time.time)

    with trainer(job.code, job.settings["trainer"]) as call:
        context = job.context(tracker, rank, world)
        _seed(job.settings["seed"])
        return call(context)


def _features(learned: State) -> tuple[FeatureSpec, ...]:
    """Return the model's inputs."""
    import numpy as np

    from flywheel.training.context import FeatureSpec

    return tuple(FeatureSpec(f.column, f.kind, f.cardinality, (), np.dtype(f.dtype).name) for f in learned.features)


def _checkpoints(job: _Job) -> Checkpoints:
    """Return the checkpoints of just this training: of this data, code and settings."""
    from flywheel.training.checkpoints import Checkpoints

    asked = job.settings.get("checkpoint")
    if not asked:
        return Checkpoints()
    settings = {k: v for k, v in job.settings.items() if k not in ("checkpoint", "time_budget", "processes", "gpus")}
    code = hashlib.sha256(job.code.read_bytes()).hexdigest()
    trained = [job.transformed.digest, job.state.digest, code, job.champion, settings]
    name = hashlib.sha256(json.dumps(trained, sort_keys=True).encode()).hexdigest()[:16]
    steps = int(asked["steps"]) if asked.get("steps") else None
    return Checkpoints(f"{asked['folder'].rstrip('/')}/{name}", asked["every"], steps)


def _whole(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with counts as integers: Kubeflow's numbers in a dict are all floating-point."""
    counts = {key: int(settings[key]) for key in ("seed", "gpus", "processes") if key in settings}
    return settings | counts


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


def _measured(made: Any, context: TrainContext, trainer: str) -> tuple[str, dict[str, float]]:
    """Return the framework of what the trainer returned, and its metrics on the validation rows, as in `analyze`."""
    import numpy as np

    from flywheel.evaluation import metrics
    from flywheel.training import frameworks, package

    framework = frameworks.name_of(made, trainer)
    inputs, truth = context.validation.arrays()
    labels = truth.astype(np.int64)
    predictions = package.check_outputs(frameworks.get(framework).predict(made, inputs), len(labels), trainer)
    found = metrics.by_group(labels, predictions.astype(np.float64), metrics.Groups.whole(len(labels)))
    return framework, metrics.finite({name: values[0] for name, values in found.items()})


def _example(examples: Examples, spans: tuple[str, ...]) -> pa.RecordBatch:
    """Return the first few raw rows of the newest span that has any."""
    filled = [span for span in spans if examples.rows_of([span])]
    _, batch = next(examples.batches(filled[-1:]))
    return batch.slice(0, _EXAMPLE_ROWS)
