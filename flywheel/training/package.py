"""A trained model as an MLflow folder: raw columns in, predictions out, the transform inside it."""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flywheel.errors import FlywheelError, TrainerError
from flywheel.serving import pyfunc
from flywheel.training import frameworks
from flywheel.transform import raw
from flywheel.transform.state import State

if TYPE_CHECKING:
    import pyarrow as pa

_OWN_CODE = "build it of the framework's own parts; serving has none of your code."


def write(folder: Path, model: Any, framework: str, state: State, example: pa.RecordBatch) -> None:
    """Write `model` with its transform to `folder`, as an MLflow model with signature, example and requirements.

    Numbers are `double` in the signature, integers too: an integer column with a missing value is no integer column in
    a DataFrame, and MLflow would refuse it.

    Args:
        folder: Where to; empty.
        model: What the trainer returned.
        framework: Name of the framework it is of.
        state: The transform.
        example: A few raw rows.

    Raises:
        TrainerError: It cannot be saved.
    """
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    columns: list[Any] = [
        ColSpec("string" if feature.type == "string" else "double", feature.column) for feature in state.features
    ]
    with tempfile.TemporaryDirectory(prefix="flywheel-model-") as name:
        payload = Path(name, pyfunc.PAYLOAD)
        payload.mkdir()
        state.write(payload / pyfunc.STATE)
        (payload / pyfunc.ABOUT).write_text(json.dumps({"version": pyfunc.VERSION, "framework": framework}))
        _save(model, framework, payload, state.apply_batch(example))
        mlflow.pyfunc.save_model(
            path=folder,
            loader_module=pyfunc.__name__,
            data_path=payload,
            signature=ModelSignature(Schema(columns), Schema([ColSpec("double", pyfunc.PREDICTION)])),
            input_example=raw.frame(example)[list(state.columns)],
            pip_requirements=_requirements(framework),
        )


def check_outputs(predictions: NDArray[Any], rows: int, trainer: str) -> NDArray[Any]:
    """Return predictions for `rows` rows as one column.

    Raises:
        TrainerError: They are not one probability a row.
    """
    outputs = np.asarray(predictions)
    if outputs.size != rows or outputs.shape[0] != rows:
        raise TrainerError(
            f"the model of {trainer!r} gives outputs of shape {outputs.shape!r} for {rows} rows",
            "end it with one unit and a sigmoid, so that it gives one probability a row.",
        )
    outputs = outputs.reshape(rows)
    if not np.isfinite(outputs).all():
        raise TrainerError(
            f"the model of {trainer!r} gives {outputs[~np.isfinite(outputs)][0]!s} for "
            f"{int((~np.isfinite(outputs)).sum())} of {rows} rows",
            "lower the learning rate or clip gradients; its loss has overflowed.",
        )
    wrong = outputs[(outputs < 0) | (outputs > 1)]
    if len(wrong):
        raise TrainerError(
            f"the model of {trainer!r} gives {wrong[0]!s}, which is no probability",
            "end it with a sigmoid; outputs are the chance of label 1, from 0 to 1.",
        )
    return outputs


def check_reloads(folder: Path, model: Any, example: pa.RecordBatch, trainer: str) -> None:
    """Load the packaged model and hold its predictions of `example` against those of `model`, as training made it.

    Raises:
        TrainerError: It does not load without the user's code, or predicts something else.
    """
    try:
        packaged = pyfunc.load(folder)
        found = packaged.predict(raw.frame(example))[pyfunc.PREDICTION].to_numpy()
    except Exception as error:
        raise TrainerError(
            f"the model of {trainer!r} cannot be used once it is saved: {type(error).__name__}: {error}",
            _OWN_CODE,
        ) from error
    inputs = packaged.state.apply_batch(example)
    expected = np.asarray(frameworks.get(packaged.framework).predict(model, inputs)).reshape(-1)
    if not np.allclose(found, expected, rtol=1e-4, atol=1e-5):
        raise TrainerError(
            f"the model of {trainer!r} predicts {found[0]!s} once it is saved, {expected[0]!s} before",
            "does it keep something that saving loses, or draw at random when it predicts?",
        )


def _save(model: Any, framework: str, payload: Path, inputs: dict[str, NDArray[Any]]) -> None:
    try:
        frameworks.get(framework).save(model, payload, inputs)
    except FlywheelError:
        raise
    except Exception as error:
        raise TrainerError(f"the model cannot be saved: {type(error).__name__}: {error}", _OWN_CODE) from error


def _requirements(framework: str) -> list[str]:
    names = ("ai-flywheel", "mlflow", "numpy", "pandas", "pyarrow", *frameworks.get(framework).requirements())
    return [f"{name}=={importlib.metadata.version(name)}" for name in names]
