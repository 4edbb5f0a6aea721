"""How much each row counts: `train.weight` times the weight of its class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flywheel.errors import ConfigError, meant
from flywheel.labels import MULTILABEL
from flywheel.training.context import TrainContext

Floats = NDArray[Any]
ClassWeights = Literal["balanced"] | dict[int | str, float] | None


def of_classes(context: TrainContext, given: ClassWeights) -> Floats | None:
    """Return the weight of each class, by its index; None when all count the same.

    `balanced` gives every class the same say, and all rows together the one that they have: the weight of a class is
    inverse to its frequency among the training rows (King & Zeng 2001).

    Args:
        context: Knows the classes.
        given: As in `train.parameters`: `balanced`, or {value of the label: weight}; a class left out has weight 1.

    Raises:
        ConfigError: There are no classes, one is not known, or a weight is not above 0.
    """
    if given is None:
        return None
    names = [str(value) for value in context.classes]
    if context.task == MULTILABEL:
        raise ConfigError(
            "class weights are of one label, and there are several", "use `train.weight`, a weight a row."
        )
    if not names:
        raise ConfigError("class weights are set, but this is a regression", "use `train.weight`, a weight a row.")
    if isinstance(given, Mapping):
        by_name = {str(value): weight for value, weight in given.items()}
        return np.array([_positive(name, by_name) for name in _known(names, by_name)], np.float32)
    return np.array([context.class_weights[index] for index in range(len(names))], np.float32)


def of_rows(labels: Floats, classes: Floats | None, weights: Floats | None) -> Floats | None:
    """Return the weight of each row, as float32; None when all count the same.

    Args:
        labels: 0 or 1 or the index of a class.
        classes: What `of_classes` gave.
        weights: What `Rows.weights` gave.
    """
    if classes is None:
        return weights
    own = classes[labels.astype(np.int64)]
    return own if weights is None else own * weights


def _known(names: list[str], given: Mapping[str, float]) -> list[str]:
    unknown = sorted(set(given) - set(names))
    if unknown:
        hint = meant(unknown[0], names)
        raise ConfigError(
            f"class_weights names {unknown[0]!r}, which no label is", f"{hint}labels are {', '.join(names)}."
        )
    return names


def _positive(name: str, given: Mapping[str, float]) -> float:
    weight = given.get(name, 1.0)
    if not 0 < weight < float("inf"):
        raise ConfigError(f"the class weight of {name!r} is {weight!r}", "give a number above 0.")
    return weight
