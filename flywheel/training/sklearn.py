"""scikit-learn classifiers, on all features side by side, in the order of flywheel.yaml.

They are saved by joblib, a pickle: loading one runs whatever its writer put in. Load only what the registry vouches
for.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from flywheel.errors import TrainerError

FILE = "model.joblib"


def seed(seed: int) -> None:
    """Do nothing more: scikit-learn draws from NumPy, which is seeded already."""


def save(model: Any, folder: Path) -> None:
    """Write `model` to `folder`.

    Raises:
        TrainerError: It gives no probabilities.
    """
    if not hasattr(model, "predict_proba"):
        raise TrainerError(f"{type(model).__name__!r} gives no probabilities", "return one that has `predict_proba`.")
    joblib.dump(model, folder / FILE)


def load(folder: Path) -> Any:
    """Return the model in `folder`."""
    return joblib.load(folder / FILE)


def predict(model: Any, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the probability of label 1."""
    features = matrix(inputs)
    if not len(features):
        return np.empty(0)
    chances = np.asarray(model.predict_proba(features))
    return chances[:, list(model.classes_).index(1)] if chances.ndim == 2 else chances


def requirements() -> tuple[str, ...]:
    """Return scikit-learn and joblib."""
    return ("scikit-learn", "joblib")


def matrix(inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Return transformed columns side by side, as float64; one of several numbers a row takes as many places."""
    columns = [values.reshape(len(values), math.prod(values.shape[1:])) for values in inputs.values()]
    return np.concatenate(columns, axis=1, dtype=np.float64)
