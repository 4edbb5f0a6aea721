"""The transform in TensorFlow, to the bit, for the kinds of feature that can be expressed so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from flywheel.transform import raw
from flywheel.transform.categories import Category
from flywheel.transform.feature import Feature
from flywheel.transform.numbers import MISSING, Bucket, Numeric
from flywheel.transform.state import State

if TYPE_CHECKING:
    import tensorflow as tf

Columns = Mapping[str, Any]
_Step = Callable[[Columns], dict[str, Any]]


def transform(state: State, module: tf.Module) -> _Step | None:
    """Return what makes model inputs of raw columns; None when a feature cannot be expressed.

    A missing number is NaN, a missing text the empty string.

    Args:
        state: The transform.
        module: Holds the vocabularies, to be saved with it.
    """
    steps = [_step(feature, module) for feature in state.features]
    known = [step for step in steps if step is not None]
    if len(known) < len(steps):
        return None
    return lambda columns: {name: tensor for step in known for name, tensor in step(columns).items()}


def _step(feature: Feature, module: tf.Module) -> _Step | None:
    name, column = feature.name, feature.columns[0]
    if feature.function:
        return None
    if isinstance(feature, Numeric):
        return lambda columns: _scaled(feature, _numbers(columns[column], feature.type))
    if isinstance(feature, Bucket):
        return lambda columns: {name: _bucket(feature, _numbers(columns[column], feature.type))}
    if isinstance(feature, Category) and feature.oov == 1:
        if feature.type == "string":
            word = _word(feature, module)
            return lambda columns: {name: word(columns[column])}
        return lambda columns: {name: _number_in(feature, _numbers(columns[column], feature.type))}
    return None


def _numbers(column: Any, type: str) -> Any:
    """Return numbers as training read them: see `flywheel.transform.raw.numbers`."""
    import tensorflow as tf

    if type == "float":
        column = tf.cast(tf.cast(column, tf.float32), tf.float64)
    return tf.where(tf.abs(column) <= raw.LARGEST, column + 0.0, tf.constant(np.nan, tf.float64))


def _scaled(feature: Numeric, values: Any) -> dict[str, Any]:
    import tensorflow as tf

    for bound, side in zip(feature.clip, (tf.maximum, tf.minimum), strict=False):
        values = values if bound is None else side(values, tf.constant(bound, tf.float64))
    missing = tf.math.is_nan(values)
    fill = {"mean": feature.mean, "indicator": feature.mean, "zero": 0.0}.get(str(feature.fill), feature.fill)
    filled = tf.where(missing, tf.constant(fill, tf.float64), values)
    scaled = tf.clip_by_value(_by_scale(feature, filled), -raw.LARGEST, raw.LARGEST)
    found = {feature.name: tf.cast(scaled, tf.float32)}
    return found | {feature.name + MISSING: tf.cast(missing, tf.float32)} if feature.fill == "indicator" else found


def _by_scale(feature: Numeric, values: Any) -> Any:
    import tensorflow as tf

    if feature.scale == "none":
        return values
    if feature.scale == "log":
        return tf.sign(values) * tf.math.log1p(tf.abs(values))
    if feature.scale == "min_max":
        low, high = feature.minimum or 0.0, feature.maximum or 0.0
        return (values - low) / (high - low) if low < high else tf.zeros_like(values)
    return (values - feature.mean) / feature.deviation if feature.deviation else tf.zeros_like(values)


def _bucket(feature: Bucket, values: Any) -> Any:
    import tensorflow as tf

    index = tf.searchsorted(tf.constant(feature.boundaries, tf.float64), values, side="right") + 1
    return tf.where(tf.math.is_nan(values), 0, index)


def _word(feature: Category, module: tf.Module) -> Callable[[Any], Any]:
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
