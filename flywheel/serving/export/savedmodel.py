"""A packaged Keras model as a SavedModel whose signature takes raw columns, the transform inside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flywheel.errors import ServingError
from flywheel.labels import MULTILABEL
from flywheel.serving.export import tf_features
from flywheel.serving.pyfunc import DECISION, HALF, PREDICTION, Predictor

if TYPE_CHECKING:
    import pandas as pd

PROBABILITIES = "probabilities"


@dataclass(frozen=True)
class SavedModel:
    """What was written.

    Attributes:
        inputs: Name to dtype of what the signature `serving_default` takes.
        raw: Whether they are raw columns; else what the transform makes of them.
        shapes: Name to the shape of one row of an input.
        outputs: Name to dtype and shape of one row of what it gives: `prediction`, and of several classes or labels
            the `probabilities` in their order. The `prediction` of several labels is 0 or 1 for each of them, and
            so is the `decision` of classes or labels, where there are thresholds.
    """

    inputs: dict[str, str]
    raw: bool
    shapes: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[str, tuple[int, ...]]]


def write(predictor: Predictor, folder: Path, rows: pd.DataFrame) -> SavedModel:
    """Write a SavedModel to `folder`.

    Args:
        predictor: The packaged model.
        folder: Where to; it is made.
        rows: Raw rows, to see what the transform makes of them.

    Raises:
        ServingError: The model is of another framework, or cannot be expressed.
    """
    import tensorflow as tf

    if predictor.framework != "keras":
        raise ServingError(
            f"a model of {predictor.framework!r} is no SavedModel: that takes a Keras one",
            "deploy it to `triton` as ONNX, to `kserve` or `local`.",
        )
    module = tf.Module()
    module.model = predictor.model
    transform = tf_features.transform(predictor.state, module)
    given = predictor.state.apply_frame(rows[:1])
    specs = {name: tf.TensorSpec([None, *array.shape[1:]], array.dtype, name) for name, array in given.items()}
    if transform is not None:
        specs = {
            name: tf.TensorSpec([None], tf.string if type == "string" else tf.float64, name)
            for name, type in predictor.state.types.items()
        }

    def answer(**columns: Any) -> dict[str, Any]:
        inputs = transform(columns) if transform is not None else columns
        return _outputs(predictor, called(predictor, inputs))

    try:
        signature = tf.function(answer).get_concrete_function(**specs)
        tf.saved_model.save(module, str(folder), signatures={"serving_default": signature})
    except Exception as error:
        raise ServingError(
            f"the model cannot be written as a SavedModel: {type(error).__name__}: {error}", "deploy it to `kserve`."
        ) from error
    inputs = {name: spec.dtype.name for name, spec in specs.items()}
    given_back = signature.structured_outputs.items()
    outputs = {name: (tensor.dtype.name, tuple(tensor.shape.as_list()[1:])) for name, tensor in given_back}
    shapes = {name: tuple(spec.shape.as_list()[1:]) for name, spec in specs.items()}
    return SavedModel(inputs, transform is not None, shapes, outputs)


def ask(predictor: Predictor, folder: Path, about: SavedModel, rows: pd.DataFrame) -> NDArray[Any]:
    """Return what the SavedModel in `folder` answers to raw rows, loaded as a server loads it."""
    import tensorflow as tf

    inputs: dict[str, NDArray[Any]] = predictor.state.apply_frame(rows)
    if about.raw:
        inputs = {name: sent(rows[name].to_numpy()) for name in about.inputs}
    loaded = tf.saved_model.load(str(folder))
    answer = loaded.signatures["serving_default"](**{name: tf.constant(values) for name, values in inputs.items()})
    return np.asarray(answer[PROBABILITIES if PROBABILITIES in answer else PREDICTION])


def sent(values: NDArray[Any]) -> NDArray[Any]:
    """Return a raw column as the signature takes it: a missing text is empty, a missing number NaN."""
    if values.dtype != object:
        return values
    return np.array(["" if value is None else value for value in values], dtype=object)


def arranged(model: Any, inputs: dict[str, Any]) -> Any:
    """Return the inputs as `flywheel.training.keras` gives them to a model: by name, or side by side."""
    import tensorflow as tf

    names = [tensor.name for tensor in model.inputs]
    if set(names) <= set(inputs):
        return {name: inputs[name] for name in names}
    flat = [tf.reshape(values, [-1, max(1, math.prod(values.shape[1:]))]) for values in inputs.values()]
    return tf.concat([tf.cast(values, tf.float32) for values in flat], axis=1)


def called(predictor: Predictor, inputs: dict[str, Any]) -> Any:
    """Return what a Keras model makes of transformed inputs, of several classes one column a class."""
    import tensorflow as tf

    found = predictor.model(arranged(predictor.model, inputs), training=False)
    if predictor.state.task != "multiclass" or (found.shape.rank == 2 and found.shape[1] != 1):
        return found
    second = tf.reshape(found, [-1, 1])  # of two classes a model may give the chance of the second alone
    return tf.concat([1 - second, second], axis=1)


def _outputs(predictor: Predictor, found: Any) -> dict[str, Any]:
    import tensorflow as tf

    if predictor.state.task == MULTILABEL:
        return {PREDICTION: tf.cast(found > HALF, tf.int64), PROBABILITIES: found} | _decision(predictor, found)
    if predictor.state.task != "multiclass":
        one = tf.reshape(found, [-1])
        return {PREDICTION: one} | _decision(predictor, one)
    classes = tf.constant(predictor.state.classes)
    likeliest = tf.gather(classes, tf.argmax(found, axis=1))
    return {PREDICTION: likeliest, PROBABILITIES: found} | _decision(predictor, found)


def _decision(predictor: Predictor, found: Any) -> dict[str, Any]:
    """Return which classes or labels reach their threshold, 0 or 1 each; 0 for those that have none."""
    import tensorflow as tf

    if not predictor.thresholds:
        return {}
    names = [str(value) for value in predictor.state.classes] if found.shape.rank == 2 else ["1"]
    at = [predictor.thresholds.get(name) for name in names]
    bars = tf.constant([math.inf if value is None else value for value in at], found.dtype)
    return {DECISION: tf.cast(found >= (bars if found.shape.rank == 2 else bars[0]), tf.int64)}
