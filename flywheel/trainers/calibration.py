"""Calibrated probabilities: what is said to happen in 3 of 10 cases does, found on rows held out from training.

A temperature (Guo et al. 2017) divides all logits by one number, so it changes no ranking. In a network it goes into
the last dense layer, whose weights it divides: the saved model has no other parts for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flywheel.say import say

_FEWEST = 5  # rows of each class, one for each fold of scikit-learn
Floats = NDArray[Any]


def sklearn(model: Any, features: Floats, labels: Floats, weights: Floats | None = None) -> Any:
    """Return a fitted classifier with its probabilities scaled by a temperature.

    Args:
        model: The classifier.
        features: Rows that it was not fitted on.
        labels: Theirs.
        weights: How much each counts.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    few = [name for name in model.classes_ if np.count_nonzero(labels == name) < _FEWEST]
    if few:
        say(f"not calibrated: label {few[0]} has fewer than {_FEWEST} validation rows")
        return model
    return CalibratedClassifierCV(FrozenEstimator(model), method="temperature").fit(features, labels, weights)


def keras(last: Any, logits: Floats, labels: Floats, weights: Floats | None = None) -> float | Floats:
    """Divide what a Dense layer gives by the temperature that fits, and return it; of several labels each has one.

    Args:
        last: The layer that gives the logits; nothing but a sigmoid or softmax comes after it.
        logits: Of rows that the model was not fitted on: (n, 1), or (n, classes).
        labels: Theirs, 0 or 1 or the index of a class; of several labels (n, labels), NaN where one is not known.
        weights: How much each counts.
    """
    found = _of_each(logits, labels, weights) if labels.ndim == 2 else temperature(logits, labels, weights)
    last.set_weights([values / found for values in last.get_weights()])
    return found


def _of_each(logits: Floats, labels: Floats, weights: Floats | None) -> Floats:
    known = ~np.isnan(labels)
    return np.array(
        [
            temperature(logits[rows, index], labels[rows, index], None if weights is None else weights[rows])
            for index, rows in enumerate(known.T)
        ]
    )


def shown(found: float | Floats) -> str:
    """Return one temperature, or those of several labels, for people."""
    return ", ".join(f"{each:.3f}" for each in np.atleast_1d(found))


def torch(last: Any, logits: Floats, labels: Floats, weights: Floats | None = None) -> float:
    """Divide what a `torch.nn.Linear` gives by the temperature that fits, and return it; see `keras`."""
    import torch

    found = temperature(logits, labels, weights)
    with torch.no_grad():
        for values in last.parameters():
            values.div_(found)
    return found


def temperature(logits: Floats, labels: Floats, weights: Floats | None = None) -> float:
    """Return what the logits are to be divided by, so that the labels are most likely.

    The likelihood is concave in its inverse, so there is one best. It is looked for between 1/20 and 20.

    Args:
        logits: (n, 1) or (n, classes).
        labels: 0 or 1, or the index of a class.
        weights: How much each row counts.
    """
    from scipy.optimize import minimize_scalar

    values = logits.astype(np.float64).reshape(len(labels), -1)
    both = np.concatenate([np.zeros_like(values), values], axis=1) if values.shape[1] == 1 else values
    rows, index = np.arange(len(labels)), labels.astype(np.int64).reshape(-1)

    def loss(logarithm: float) -> float:
        scaled = both * np.exp(-logarithm)
        top = scaled.max(axis=1)
        losses = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1)) - scaled[rows, index]
        return float(np.average(losses, weights=weights))

    limit = np.log(20)
    return float(np.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded").x))


def prior(classes: Floats) -> Floats:
    """Return what the logits are to be lowered by, so that they are those of rows that are all counted once.

    A model that is fitted with class weights learns the log odds of the weighted rows, which differ from those of the
    rows by the logarithm of the weights (King & Zeng 2001).

    Args:
        classes: Weight of each class; two of them for one logit.
    """
    logarithms: Floats = np.log(classes)
    return logarithms[1:] - logarithms[:1] if len(classes) == 2 else logarithms
