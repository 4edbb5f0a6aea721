"""A Keras model's arrays, and where its inputs enter: what a warm start needs to know of it."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from flywheel.training.warm_start import Misfit, Weights

if TYPE_CHECKING:
    from flywheel.transform.state import State


def read(model: keras.Model, state: State) -> Weights:
    """Return the arrays of a model made by `keras.Model(inputs, outputs)` whose inputs are named as `state` does.

    Raises:
        Misfit: It was made in another way.
    """
    if not isinstance(model, keras.Model) or not hasattr(model, "operations"):
        raise Misfit("the model was not made by keras.Model(inputs, outputs)")
    names = _names(model)
    values = {name: np.array(weight) for name, weight in names.items()}
    own = {weight.path: name for name, weight in names.items()}
    tables: dict[str, str] = {}
    numbers: dict[str, tuple[str, str, int]] = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.Embedding) and _is_input(model, layer.input):
            tables[own[layer.embeddings.path]] = layer.input.name
        elif isinstance(layer, keras.layers.Dense) and layer.use_bias:
            where = own[layer.kernel.path], own[layer.bias.path]
            numbers |= {name: (*where, row) for name, row in _entries(model, layer.input)}
    last = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)][-1:]
    return Weights(values, tables, numbers, frozenset(own[weight.path] for layer in last for weight in layer.weights))


def write(model: keras.Model, values: dict[str, NDArray[Any]]) -> None:
    """Set the arrays that `values` has; the others stay."""
    for name, weight in _names(model).items():
        if name in values:
            weight.assign(values[name])


def _names(model: keras.Model) -> dict[str, Any]:
    """Return the weights by layer and place: `dense_7` of one process is `dense` of the next, so they are counted."""
    found, seen = {}, Counter[str]()
    for layer in model.layers:
        base = re.sub(r"_\d+$", "", layer.name)
        if layer.weights:
            seen[base] += 1
        for weight in layer.weights:
            found[f"{base}_{seen[base]}/{weight.path.rpartition('/')[2]}"] = weight
    return found


def _entries(model: keras.Model, tensor: Any) -> list[tuple[str, int]]:
    """Return (input, row) of the numbers that are among what enters a dense layer."""
    joined = next((layer for layer in model.layers if layer.output is tensor), None)
    if not isinstance(joined, keras.layers.Concatenate):
        return []
    found, row = [], 0
    for part in joined.input:
        if part.shape[-1] == 1 and _is_input(model, part):
            found.append((part.name, row))
        row += part.shape[-1]
    return found


def _is_input(model: keras.Model, tensor: Any) -> bool:
    return any(tensor is entered for entered in model.inputs)
