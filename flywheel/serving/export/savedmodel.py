"""A packaged Keras model as a SavedModel whose signature takes raw columns, the transform inside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flywheel.errors import ServingError
from flywheel.serving.pyfunc import PREDICTION, Predictor
from flywheel.transform import raw
from flywheel.transform.features import Bucket, Category, Feature, Numeric

if TYPE_CHECKING:
    import pandas as pd
    import tensorflow as tf

PROBABILITIES = "probabilities"
_Transform = Callable[[Any], Any]


@dataclass(frozen=True)
class SavedModel:
    """What was written.

    Attributes:
        inputs: Name to dtype of what the signature `serving_default` takes, each of shape (rows,).
        raw: Whether they are raw columns; else what the transform makes of them.
        outputs: Name to shape of what it gives.
    """

    inputs: dict[str, str]
    raw: bool
    outputs: dict[str, list[int | None]]


def write(predictor: Predictor, folder: Path) -> SavedModel:
    """Write a SavedModel to `folder`.

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
    transforms = [_transform(feature, module) for feature in predictor.state.features]
    takes_raw = all(transform is not None for transform in transforms)
    features = predictor.state.features
    specs = {
        feature.column: tf.TensorSpec([None], _raw_type(feature) if takes_raw else feature.dtype, name=feature.column)
        for feature in features
    }

    def answer(**columns: Any) -> dict[str, Any]:
        given = columns
        if takes_raw:
            given = {f.column: step(columns[f.column]) for f, step in zip(features, transforms, strict=True) if step}
        return _outputs(predictor.model(_arranged(predictor.model, given), training=False))

    try:
        signature = tf.function(answer).get_concrete_function(**specs)
        tf.saved_model.save(module, str(folder), signatures={"serving_default": signature})
    except Exception as error:
        raise ServingError(
            f"the model cannot be written as a SavedModel: {type(error).__name__}: {error}", "deploy it to `kserve`."
        ) from error
    inputs = {name: spec.dtype.name for name, spec in specs.items()}
    outputs = {name: tensor.shape.as_list() for name, tensor in signature.structured_outputs.items()}
    return SavedModel(inputs, takes_raw, outputs)


def ask(predictor: Predictor, folder: Path, about: SavedModel, rows: pd.DataFrame) -> NDArray[Any]:
    """Return what the SavedModel in `folder` answers to raw rows, in a process that knows nothing of this library."""
    inputs: dict[str, NDArray[Any]] = predictor.state.apply_frame(rows)
    if about.raw:
        inputs = {name: sent(rows[name].to_numpy()) for name in about.inputs}
    given, taken = folder.with_name(f"{folder.name}.in.npz"), folder.with_name(f"{folder.name}.out.npy")
    np.savez(given, **{name: _plain(values) for name, values in inputs.items()})
    done = subprocess.run(
        [sys.executable, "-c", _ASK, str(folder), str(given), str(taken)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ServingError(f"the exported model does not load: {done.stderr[-2000:]}", "deploy it to `kserve`.")
    try:
        return np.asarray(np.load(taken))
    finally:
        given.unlink()
        taken.unlink()


def sent(values: NDArray[Any]) -> NDArray[Any]:
    """Return a raw column as the signature takes it: a missing text is empty, a missing number NaN."""
    if values.dtype != object:
        return values
    return np.array(["" if value is None else value for value in values], dtype=object)


_ASK = f"""
import sys
import numpy as np
import tensorflow as tf
tf.config.set_visible_devices([], "GPU")
model = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
given = np.load(sys.argv[2])
answer = model(**{{name: tf.constant(given[name]) for name in given.files}})
np.save(sys.argv[3], (answer["{PROBABILITIES}"] if "{PROBABILITIES}" in answer else answer["{PREDICTION}"]).numpy())
"""


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    return np.array([value.encode() for value in values]) if values.dtype == object else values


def _raw_type(feature: Feature) -> tf.DType:
    import tensorflow as tf

    return tf.string if feature.type == "string" else tf.float64


def _arranged(model: Any, inputs: dict[str, Any]) -> Any:
    """Return the inputs as `flywheel.training.keras` gives them to a model: by name, or side by side."""
    import tensorflow as tf

    names = [tensor.name for tensor in model.inputs]
    if set(names) <= set(inputs):
        return {name: inputs[name] for name in names}
    return tf.stack([tf.cast(values, tf.float32) for values in inputs.values()], axis=1)


def _outputs(found: Any) -> dict[str, Any]:
    import tensorflow as tf

    if found.shape.rank == 2 and found.shape[1] != 1:
        return {PREDICTION: tf.argmax(found, axis=1), PROBABILITIES: found}
    return {PREDICTION: tf.reshape(found, [-1])}


def _transform(feature: Feature, module: tf.Module) -> _Transform | None:
    """Return the feature's transform in TensorFlow, to the bit; None for one that cannot be expressed."""
    if isinstance(feature, Numeric):
        return lambda column: _scaled(feature, _numbers(column, feature.type))
    if isinstance(feature, Bucket):
        return lambda column: _bucket(feature, _numbers(column, feature.type))
    if isinstance(feature, Category):
        if feature.type == "string":
            return _word(feature, module)
        return lambda column: _number_in(feature, _numbers(column, feature.type))
    return None


def _numbers(column: Any, type: str) -> Any:
    """Return numbers as training read them: see `flywheel.transform.raw.numbers`."""
    import tensorflow as tf

    if type == "float":
        column = tf.cast(tf.cast(column, tf.float32), tf.float64)
    return tf.where(tf.abs(column) <= raw.LARGEST, column + 0.0, tf.constant(np.nan, tf.float64))


def _scaled(feature: Numeric, values: Any) -> Any:
    import tensorflow as tf

    if feature.deviation == 0:
        return tf.zeros_like(values, tf.float32)
    scaled = (values - feature.mean) / feature.deviation
    scaled = tf.where(tf.math.is_nan(scaled), tf.zeros_like(scaled), scaled)
    return tf.cast(tf.clip_by_value(scaled, -raw.LARGEST, raw.LARGEST), tf.float32)


def _bucket(feature: Bucket, values: Any) -> Any:
    import tensorflow as tf

    index = tf.searchsorted(tf.constant(feature.boundaries, tf.float64), values, side="right") + 1
    return tf.where(tf.math.is_nan(values), 0, index)


def _word(feature: Category, module: tf.Module) -> _Transform:
    import tensorflow as tf

    words = [str(word) for word in feature.vocabulary]
    if not words:
        return lambda column: tf.where(column == "", 0, 1)
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant(words), tf.range(2, len(words) + 2, dtype=tf.int32)), 1
    )
    setattr(module, f"vocabulary_{len(vars(module))}", table)  # what is saved is what the module holds
    return lambda column: tf.where(column == "", 0, table.lookup(column))


def _number_in(feature: Category, values: Any) -> Any:
    import tensorflow as tf

    if not feature.vocabulary:
        return tf.where(tf.math.is_nan(values), 0, 1)
    known = np.array(feature.vocabulary, dtype=np.float64)
    order = np.argsort(known)
    place = tf.minimum(tf.searchsorted(tf.constant(known[order]), values), len(known) - 1)
    found = tf.equal(tf.gather(tf.constant(known[order]), place), values)
    index = tf.where(found, tf.gather(tf.constant(order.astype(np.int32)), place) + 2, 1)
    return tf.where(tf.math.is_nan(values), 0, index)
