"""A trained model as an MLflow folder: raw columns in, predictions out, the transform inside it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flywheel.errors import FlywheelError, TrainerError
from flywheel.labels import MULTILABEL
from flywheel.runner.digest import digest_of
from flywheel.serving import pyfunc
from flywheel.training import frameworks
from flywheel.training.versions import version
from flywheel.transform import raw
from flywheel.transform.state import State

if TYPE_CHECKING:
    import pyarrow as pa

_SUM = 1e-3  # what float32 outputs of a thousand classes may be off
_NO_TIME = "1980-01-01 00:00:00"
_OWN_CODE = "build it of the framework's own parts; serving has none of your code."


def write(
    folder: Path,
    model: Any,
    framework: str,
    state: State,
    example: pa.RecordBatch,
    thresholds: Mapping[str, float | None] | None = None,
) -> None:
    """Write `model` with its transform to `folder`, as an MLflow model with signature, example and requirements.

    Numbers are `double` in the signature, integers too: an integer column with a missing value is no integer column in
    a DataFrame, and MLflow would refuse it. Times and lists are texts (ISO 8601, JSON), which any server can carry.

    Args:
        folder: Where to; empty.
        model: What the trainer returned.
        framework: Name of the framework it is of.
        state: The transform; the archive with its feature functions goes with it.
        example: A few raw rows.
        thresholds: By class or label, from which chance on a row is called it; None for never. With any of them the
            model answers a `decision` too.

    Raises:
        TrainerError: It cannot be saved.
    """
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    columns: list[Any] = [ColSpec(raw.mlflow_type(type), name) for name, type in state.types.items()]
    with tempfile.TemporaryDirectory(prefix="flywheel-model-") as name:
        payload = Path(name, pyfunc.PAYLOAD)
        payload.mkdir()
        state.write(payload / pyfunc.STATE)
        if state.code is not None:
            shutil.copyfile(state.code, payload / pyfunc.CODE)
        about: dict[str, Any] = {"version": pyfunc.VERSION, "framework": framework}
        told = {pyfunc.THRESHOLDS: dict(thresholds)} if thresholds else {}
        (payload / pyfunc.ABOUT).write_text(json.dumps(about | told))
        _save(model, framework, payload, state.apply_batch(example))
        mlflow.pyfunc.save_model(
            path=folder,
            # Named by what it holds, and of no time: equal trainings give equal folders.
            mlflow_model=Model(model_uuid=digest_of(payload)[:32], utc_time_created=_NO_TIME),
            loader_module=pyfunc.__name__,
            data_path=payload,
            signature=ModelSignature(Schema(columns), Schema(_outputs(state, bool(thresholds)))),
            metadata=told or None,
            input_example=raw.frame(example)[list(state.columns)],
            pip_requirements=_requirements(framework, state),
        )


def check_outputs(
    predictions: NDArray[Any], rows: int, trainer: str, task: str = "binary", classes: int = 2
) -> NDArray[Any]:
    """Return predictions for `rows` rows in the shape of the task: (rows,), or (rows, classes or labels) for several.

    Raises:
        TrainerError: They are not one number a row, or not one probability a row and class.
    """
    outputs = pyfunc.by_class(predictions, classes) if task == "multiclass" else np.asarray(predictions)
    shape = (rows, classes) if task in pyfunc.SEVERAL else (rows,)
    if outputs.shape != shape and outputs.shape != (rows, *shape[1:], 1):
        raise TrainerError(
            f"the model of {trainer!r} gives outputs of shape {outputs.shape!r} for {rows} rows", _shape(task, classes)
        )
    outputs = outputs.reshape(shape)
    if not np.isfinite(outputs).all():
        wrong = ~np.isfinite(outputs)
        raise TrainerError(
            f"the model of {trainer!r} gives {outputs[wrong][0]!s} for "
            f"{int(wrong.reshape(rows, -1).any(axis=1).sum())} of {rows} rows",
            "lower the learning rate or clip gradients; its loss has overflowed.",
        )
    if task != "regression":
        _check_probabilities(outputs, trainer, task)
    return outputs


def _shape(task: str, classes: int) -> str:
    if task == "multiclass":
        return f"end it with {classes} units and a softmax, so that it gives one probability a class."
    if task == MULTILABEL:
        return f"end it with {classes} units and a sigmoid, so that it gives one probability a label, in their order."
    if task == "regression":
        return "end it with one unit and no activation, so that it gives one number a row."
    return (
        "end it with one unit and a sigmoid, so that it gives one probability a row; for several classes set "
        "`task: multiclass`."
    )


def _check_probabilities(outputs: NDArray[Any], trainer: str, task: str) -> None:
    end = "a softmax; outputs are chances" if task == "multiclass" else "a sigmoid; outputs are the chance of label 1"
    wrong = outputs[(outputs < 0) | (outputs > 1)]
    if len(wrong):
        raise TrainerError(
            f"the model of {trainer!r} gives {wrong[0]!s}, which is no probability", f"end it with {end}, from 0 to 1."
        )
    sums = outputs.sum(axis=1) if task == "multiclass" else np.ones(1)
    off = sums[np.abs(sums - 1) > _SUM]
    if len(off):
        raise TrainerError(
            f"the model of {trainer!r} gives probabilities that sum to {off[0]!s} in a row, not to 1",
            "end it with a softmax over the classes.",
        )


def check_reloads(folder: Path, model: Any, example: pa.RecordBatch, trainer: str) -> None:
    """Load the packaged model and hold its predictions of `example` against those of `model`, as training made it.

    Raises:
        TrainerError: It does not load without the user's code, or predicts something else.
    """
    try:
        packaged = pyfunc.load(folder)
        found = packaged.outputs(raw.frame(example))
        packaged.predict(raw.frame(example))
    except Exception as error:
        raise TrainerError(
            f"the model of {trainer!r} cannot be used once it is saved: {type(error).__name__}: {error}",
            _OWN_CODE,
        ) from error
    inputs = packaged.state.apply_batch(example)
    given = frameworks.get(packaged.framework).predict(model, inputs)
    several = packaged.state.task == "multiclass"
    expected = (pyfunc.by_class(given, found.shape[1]) if several else np.asarray(given)).reshape(found.shape)
    if not np.allclose(found, expected, rtol=1e-4, atol=1e-5):
        raise TrainerError(
            f"the model of {trainer!r} predicts {found.flat[0]!s} once it is saved, {expected.flat[0]!s} before",
            "does it keep something that saving loses, or draw at random when it predicts?",
        )


def _outputs(state: State, decides: bool) -> list[Any]:
    """Return the columns of the answer: the prediction, each probability where there are several, the decision."""
    from mlflow.types import ColSpec

    kind = "double"
    if state.task in pyfunc.SEVERAL:
        kind = "string" if isinstance(state.classes[0], str) else "long"
    chances = [ColSpec("double", name) for name in pyfunc.probabilities(state)]
    decision = ColSpec("long" if state.task == "binary" else "string", pyfunc.DECISION)
    return [ColSpec(kind, pyfunc.PREDICTION), *chances, *[decision] * decides]


def _save(model: Any, framework: str, payload: Path, inputs: dict[str, NDArray[Any]]) -> None:
    try:
        frameworks.get(framework).save(model, payload, inputs)
    except FlywheelError:
        raise
    except Exception as error:
        raise TrainerError(f"the model cannot be saved: {type(error).__name__}: {error}", _OWN_CODE) from error


def _requirements(framework: str, state: State) -> list[str]:
    images = ("pillow",) if any(input.kind == "image" for input in state.inputs) else ()
    names = ("ai-flywheel", "mlflow", "numpy", "pandas", "pyarrow", *images, *frameworks.get(framework).requirements())
    return [f"{name}=={version(name)}" for name in names]
