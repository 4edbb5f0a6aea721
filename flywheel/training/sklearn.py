"""scikit-learn classifiers and regressors, on all features side by side, in the order of flywheel.yaml.

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
from sklearn.base import is_regressor

from flywheel.errors import TrainerError

FILE = "model.joblib"


def seed(seed: int) -> None:
    """Do nothing more: scikit-learn draws from NumPy, which is seeded already."""


def save(model: Any, folder: Path, example: dict[str, NDArray[Any]]) -> None:
    """Write `model` to `folder`."""
    joblib.dump(model, folder / FILE)


def load(folder: Path) -> Any:
    """Return the model in `folder`."""
    return joblib.load(folder / FILE)


def predict(model: Any, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the probability of label 1; with more classes one column for each index; of a regressor its values.

    Of several labels, which a `MultiOutputClassifier` knows, it is one column each.

    Raises:
        TrainerError: It is a classifier that gives no probabilities, or was fitted on other columns.
    """
    if not hasattr(model, "predict_proba") and not is_regressor(model):
        raise TrainerError(f"{type(model).__name__!r} gives no probabilities", "return one that has `predict_proba`.")
    features = matrix(inputs)
    if (fitted := getattr(model, "n_features_in_", features.shape[1])) != features.shape[1]:
        raise TrainerError(
            f"the model was fitted on {fitted} columns, all features side by side are {features.shape[1]}",
            "fit it on `flywheel.training.sklearn.matrix(columns)`, with the columns of `context.train.arrays()`.",
        )
    if not len(features):
        return np.empty(0)
    if not hasattr(model, "predict_proba"):
        return np.asarray(model.predict(features))
    given = model.predict_proba(features)
    if isinstance(given, list):  # of several labels, as scikit-learn's MultiOutputClassifier has it
        both = zip(given, model.classes_, strict=True)
        return np.stack([_of_one(np.asarray(chances), classes) for chances, classes in both], axis=1)
    chances = np.asarray(given)
    classes = np.asarray(model.classes_, dtype=int)
    if chances.ndim == 1:
        return chances
    if set(classes) <= {0, 1}:
        return chances[:, list(classes).index(1)]
    every = np.zeros((len(chances), classes.max() + 1))
    every[:, classes] = chances  # a class that the training rows do not have has no chance
    return every


def _of_one(chances: NDArray[Any], classes: Any) -> NDArray[Any]:
    """Return the probability of label 1, which a model that never saw one does not have."""
    known = [int(each) for each in classes]
    return chances[:, known.index(1)] if 1 in known else np.zeros(len(chances))


def requirements() -> tuple[str, ...]:
    """Return scikit-learn and joblib."""
    return ("scikit-learn", "joblib")


def matrix(inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Return transformed columns side by side, as float64; one of several numbers a row takes as many places."""
    columns = [values.reshape(len(values), math.prod(values.shape[1:])) for values in inputs.values()]
    return np.concatenate(columns, axis=1, dtype=np.float64)
