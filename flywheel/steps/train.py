"""Train: call the user's trainer on the transformed window and package what it returns."""

from __future__ import annotations

import random
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Examples, Model, TransformState

if TYPE_CHECKING:
    import pyarrow as pa

    from flywheel.training.context import TrainContext
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
        settings: `name` of the flywheel, and `trainer`, `parameters`, `seed` as in `train` of flywheel.yaml.
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
    from flywheel.transform.state import State

    settings = settings | {"seed": int(settings["seed"])}  # Kubeflow's numbers in a dict are all floating-point
    learned, spans, started = State.read(state.file), transformed.spans, time.monotonic()
    if any(feature.function for feature in learned.features):
        learned = replace(learned, code=code)
    tags = {"flywheel.kind": "training", "flywheel.span": examples.spans[-1]}
    with training_run(ledger, settings["name"], tags) as tracker:
        context = _context(transformed, learned, settings, champion, tracker)
        tracker.parameters(_parameters(context, settings, champion))
        with trainer(code, settings["trainer"]) as call:
            _seed(settings["seed"])
            made = call(context)
        framework, metrics = _measured(made, context, settings["trainer"])
        tracker.metrics({f"validation_{name}": value for name, value in metrics.items()})
        with Model.create(model, producer="train", spans=spans) as draft:
            example = _example(examples, spans)
            package.write(draft.path, made, framework, learned, example)
            package.check_reloads(draft.path, made, example, settings["trainer"])
            draft.counts["rows"] = len(context.train)
            draft.facts |= {
                "training_run": tracker.run,
                "trainer": settings["trainer"],
                "framework": framework,
                "metrics": metrics,
                "rows": len(context.train),
                "seconds": round(time.monotonic() - started, 3),
            }
        tracker.metrics({"rows": draft.facts["rows"], "seconds": draft.facts["seconds"]})
    return Model.open(model)


def _context(
    transformed: Examples, learned: State, settings: dict[str, Any], champion: str, tracker: Tracker
) -> TrainContext:
    from flywheel.serving import pyfunc
    from flywheel.training.context import FeatureSpec, TrainContext
    from flywheel.training.rows import split

    training, validation = split(transformed, learned.label, settings["seed"])
    return TrainContext(
        train=training,
        validation=validation,
        features=tuple(FeatureSpec(i.name, i.kind, i.cardinality) for i in learned.inputs),
        label=learned.label,
        parameters=dict(settings["parameters"]),
        seed=settings["seed"],
        name=settings["name"],
        load_champion=lambda: pyfunc.load(tracker.client.download(champion)).model if champion else None,
        record=tracker.metrics,
    )


def _parameters(context: TrainContext, settings: dict[str, Any], champion: str) -> dict[str, Any]:
    held = context.validation.spans
    return {
        "trainer": settings["trainer"],
        "seed": settings["seed"],
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
