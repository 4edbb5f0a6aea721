"""Calibrated probabilities: what is said to happen in 3 of 10 cases does, found on rows held out from training."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flywheel.say import say

_FEWEST = 5  # rows of each class, one for each fold of scikit-learn


def sklearn(model: Any, features: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any] | None = None) -> Any:
    """Return `model` with its probabilities scaled by a temperature (Guo et al. 2017).

    Args:
        model: A fitted classifier.
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
