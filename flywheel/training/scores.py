"""How well predictions fit labels of 0 and 1, for a training run's log; `analyze` is what judges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def scores(labels: NDArray[Any], predictions: NDArray[Any]) -> dict[str, float]:
    """Return `auc` (higher is better; left out when all labels are equal), `accuracy`, `log_loss` and `brier`."""
    chances = np.clip(predictions.astype(np.float64), 1e-7, 1 - 1e-7)
    found = {
        "accuracy": float(np.mean((predictions >= 0.5) == (labels == 1))),
        "log_loss": float(-np.mean(np.where(labels == 1, np.log(chances), np.log1p(-chances)))),
        "brier": float(np.mean((predictions - labels) ** 2)),
    }
    return found if len(np.unique(labels)) < 2 else {"auc": auc(labels, predictions)} | found


def auc(labels: NDArray[Any], predictions: NDArray[Any]) -> float:
    """Return how likely a row of label 1 is ranked above one of label 0, ties counting half (Mann and Whitney 1947)."""
    _, place, counts = np.unique(predictions, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place.ravel()]
    positive = labels == 1
    hits, misses = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))
