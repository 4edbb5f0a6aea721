"""The transform in TensorFlow, to the bit, for the kinds of feature that can be expressed so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from flywheel.transform import raw
from flywheel.transform.features import Bucket, Category, Feature, Numeric
from flywheel.transform.state import State

if TYPE_CHECKING:
    import tensorflow as tf

_Transform = Callable[[Any], Any]


def columns(state: State) -> dict[str, str]:
    """Return the raw columns that a state reads, and their types."""
    return {feature.column: feature.type for feature in state.features}


def transform(state: State, module: tf.Module) -> Callable[[Mapping[str, Any]], dict[str, Any]] | None:
    """Return what makes model inputs of raw columns; None when a feature cannot be expressed.

    A missing number is NaN, a missing text the empty string.

    Args:
        state: The transform.
        module: Holds the vocabularies, to be saved with it.
    """
    steps = {feature.column: _step(feature, module) for feature in state.features}
    if any(step is None for step in steps.values()):
        return None
    return lambda given: {name: step(given[name]) for name, step in steps.items() if step is not None}


def _step(feature: Feature, module: tf.Module) -> _Transform | None:
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
