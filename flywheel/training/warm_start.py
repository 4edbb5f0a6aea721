"""Start a new model from the one in service: what is copied, how vocabularies are mapped, and what was decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from flywheel.serving.pyfunc import Predictor
    from flywheel.transform.state import State


@dataclass(frozen=True)
class Decision:
    """Whether a model started from the one in service.

    Attributes:
        warm: Whether weights were copied.
        reason: What was copied and mapped, or why nothing was.
    """

    warm: bool
    reason: str

    def __str__(self) -> str:
        return f"{'warm' if self.warm else 'cold'}: {self.reason}"


OFF = Decision(False, "train.warm_start is off")
NO_CHAMPION = Decision(False, "no model is in service")


@dataclass(frozen=True)
class Weights:
    """A network's arrays, and where its inputs enter.

    Attributes:
        values: Arrays by names that are the same each time that the network is built.
        tables: Which of them is the embedding of which input.
        numbers: Which row of which kernel a number enters by, with the name of that kernel's bias, by input.
        last: The arrays of the last layer, whose size follows the label's classes.
    """

    values: dict[str, NDArray[Any]]
    tables: dict[str, str]
    numbers: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    last: frozenset[str] = frozenset()


def cardinalities(state: State) -> dict[str, int]:
    """Return the inputs that are indices, in order, each with one more than its largest."""
    return {each.name: each.cardinality for each in state.inputs if each.cardinality is not None}


class Misfit(Exception):
    """The champion's weights have no place in the new model."""


def decide(model: Any, framework: str, state: State, champion: Predictor) -> Decision:
    """Copy what fits of `champion` into `model`; nothing, when anything but what is named here does not fit.

    A row of an embedding is copied to the place that its value, or its range of numbers, has now. New values start at
    the mean of those known, and values that are gone are dropped. Where a number's mean or deviation has moved, the
    weights that it enters by are changed so that the model answers as before (Keras only; others learn it anew). The
    last layer starts anew when there are other classes. (That a network which is trained further generalises as well
    as a new one is not a matter of course: Ash & Adams 2020. The gates judge it like any other.)

    Args:
        model: Freshly built.
        framework: Name of its framework.
        state: The transform that it is trained with.
        champion: The model in service, with its transform.
    """
    if framework == "sklearn":
        return Decision(False, "models of scikit-learn start anew")
    if champion.framework != framework:
        return Decision(False, f"the champion is of {champion.framework}, this one of {framework}")
    kind = _adapter(framework)
    try:
        values, notes = _mapped(
            kind.read(model, state), kind.read(champion.model, champion.state), state, champion.state
        )
    except Misfit as misfit:
        return Decision(False, str(misfit))
    kind.write(model, values)
    return Decision(True, ", ".join(notes))


def _adapter(framework: str) -> Any:
    import importlib

    return importlib.import_module(f"flywheel.training.{framework}_weights")


def _mapped(new: Weights, old: Weights, state: State, former: State) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return the arrays for the new model, and what there is to say of them.

    Raises:
        Misfit: They are not of one shape.
    """
    features, formers = _by_input(state), _by_input(former)
    if list(features) != list(formers):
        more, less = [n for n in features if n not in formers], [n for n in formers if n not in features]
        raise Misfit(
            f"other inputs: {_list('+', more)}{_list('-', less)}".rstrip() or "the inputs are in another order"
        )
    values, notes, layers = {}, [], _layers(new)
    for name, value in new.values.items():
        given = old.values.get(name)
        if given is None:
            raise Misfit(f"the champion has no {name}")
        if name in new.tables:
            entered = new.tables[name]
            values[name], note = _table(value, given, name, features[entered], formers[entered])
            notes += [f"{entered} {note}"] if note else []
        elif value.shape == given.shape:
            values[name] = given
        elif name not in new.last:
            raise Misfit(f"{name} changed from {_shape(given)} to {_shape(value)}")
    missing = [name for name in old.values if name not in new.values]
    if missing:
        raise Misfit(f"the champion has {missing[0]} besides")
    notes += _rescaled(values, new, features, formers)
    kept = len({name.rpartition("/")[0] for name in values})
    return values, [f"{kept} of {layers} layers", *notes]


def _table(value: NDArray[Any], given: NDArray[Any], name: str, feature: Any, former: Any) -> tuple[NDArray[Any], str]:
    """Return the rows of an embedding where their values are now, and how many values are new and gone."""
    if value.shape[1:] != given.shape[1:]:
        raise Misfit(f"{name} changed from {_shape(given)} to {_shape(value)}")
    if hasattr(feature, "vocabulary"):
        now, then = feature.vocabulary, former.vocabulary
        first, begin = len(value) - len(now), len(given) - len(then)
        if first != begin:
            raise Misfit(f"{name} has {first} places for values that are not in the vocabulary, the champion's {begin}")
        place = {word: begin + index for index, word in enumerate(then)}
        index = np.array([*range(first), *(place.get(word, -1) for word in now)])
        unknown, gone = int((index < 0).sum()), len(set(then) - set(now))
        rows = given[np.maximum(index, 0)]
        if unknown:
            rows[index < 0] = given[begin:].mean(axis=0) if then else value[index < 0]
        return rows, f"vocabulary {unknown} new {gone} gone" if unknown or gone else ""
    if hasattr(feature, "boundaries"):
        index = np.searchsorted(former.boundaries, _middles(feature.boundaries), side="right") + 1
        moved = feature.boundaries != former.boundaries
        return given[np.array([0, *index])], "ranges moved" if moved else ""
    if value.shape != given.shape:
        raise Misfit(f"{name} changed from {_shape(given)} to {_shape(value)}")
    return given, ""


def _rescaled(
    values: dict[str, NDArray[Any]], new: Weights, features: dict[str, Any], formers: dict[str, Any]
) -> list[str]:
    """Change the weights that numbers enter by, so that they make up for means and deviations that have moved."""
    rescaled = otherwise = 0
    for name in features:
        now, then = _scale(features[name]), _scale(formers[name])
        if now == then:
            continue
        if now is None or then is None or name not in new.numbers:
            otherwise += 1
            continue
        kernel, bias, row = new.numbers[name]
        weights = values[kernel][row]
        # z before = z now * width now / width before + (centre now - centre before) / width before
        values[bias] = values[bias] + weights * (now[0] - then[0]) / then[1]
        values[kernel] = values[kernel].copy()
        values[kernel][row] = weights * now[1] / then[1]
        rescaled += 1
    notes = [f"{rescaled} numbers rescaled"] if rescaled else []
    return notes + ([f"{otherwise} numbers scaled otherwise than before"] if otherwise else [])


def _scale(feature: Any) -> tuple[float, float] | None:
    """Return what is taken from a number and what it is then divided by; None when it is constant."""
    if feature.kind != "numeric":
        return (0.0, 1.0)
    how = getattr(feature, "scale", "z_score")
    if how == "z_score":
        return (feature.mean, feature.deviation) if feature.deviation else None
    if how == "min_max":
        wide = (feature.maximum or 0.0) - (feature.minimum or 0.0)
        return (feature.minimum or 0.0, wide) if wide > 0 else None
    return (0.0, 1.0)


def _by_input(state: State) -> dict[str, Any]:
    """Return the feature that gives each of the model's inputs."""
    return {each.name: feature for feature in state.features for each in feature.inputs}


def _middles(boundaries: tuple[float, ...]) -> NDArray[Any]:
    """Return a number in each of the ranges between boundaries, and in those before and after."""
    cuts = np.asarray(boundaries, float)
    if not len(cuts):
        return np.zeros(1)
    return np.concatenate([[np.nextafter(cuts[0], -np.inf)], (cuts[:-1] + cuts[1:]) / 2, [cuts[-1]]])


def _layers(weights: Weights) -> int:
    return len({name.rpartition("/")[0] for name in weights.values})


def _shape(values: NDArray[Any]) -> str:
    return " x ".join(map(str, values.shape)) or "a number"


def _list(sign: str, names: list[str]) -> str:
    return "".join(f"{sign}{name} " for name in names)
