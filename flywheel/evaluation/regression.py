"""Metrics of a number, by TFMA's definitions where it has them.

Ours alone are `smape`, `r2`, `pinball`, `bias` and `mase`; TFMA's `SquaredPearsonCorrelation` is another thing than r2,
since it is blind to a prediction that is twice too large.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flywheel.evaluation.metric import Metric, OfSums, Tfma, total

if TYPE_CHECKING:
    from flywheel.evaluation.groups import Floats, Ints
    from flywheel.evaluation.predictions import Predictions

NAIVE = "naive"
_ROWS, _ABSOLUTE, _SQUARES, _ERRORS, _LABELS, _SCORES = range(6)
_CENTRED, _SQUARED, _PARTS, _WHOLE, _SYMMETRIC, _NAIVE = range(6, 12)


def sums(found: Predictions, model: str, codes: Ints, count: int) -> Floats:
    """Return what the metrics are made of, by group."""
    import numpy as np

    inside = codes >= 0
    y, p = found.labels[inside].astype(float), found.scores[model][inside]
    error = p - y
    centred = y - (found.labels.mean() if len(found) else 0.0)  # else the squares of large labels cancel
    size = np.abs(y) + np.abs(p)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(y == 0, 0.0, np.abs(error / y))
        symmetric = np.where(size == 0, 0.0, 2 * np.abs(error) / size)
    naive = np.abs(found.scores[NAIVE][inside] - y) if NAIVE in found.scores else np.full(len(y), np.nan)
    columns = (np.ones_like(y), np.abs(error), error**2, error, y, p, centred, centred**2, parts, y != 0)
    return total(codes[inside], count, *columns, symmetric, naive, weights=found.weighed(inside))


def _mean(top: int, tfma: str = "", times: float = 1.0, bottom: int = _ROWS) -> OfSums:
    return OfSums(
        sums,
        lambda s: times * s[..., top] / s[..., bottom],
        lambda s: s[..., bottom],
        Tfma(tfma) if tfma else None,
    )


def _root(s: Floats) -> Floats:
    import numpy as np

    root: Floats = np.sqrt(s[..., _SQUARES] / s[..., _ROWS])
    return root


def _r2(s: Floats) -> Floats:
    """Return the share of the label's variance that is explained; undefined where the label does not vary."""
    import numpy as np

    spread = s[..., _SQUARED] - s[..., _CENTRED] ** 2 / s[..., _ROWS]
    return np.where(spread > 1e-12 * np.maximum(s[..., _SQUARED], 1e-300), 1 - s[..., _SQUARES] / spread, np.nan)


def _calibration(s: Floats) -> Floats:
    import numpy as np

    return np.where(s[..., _LABELS] > 0, s[..., _SCORES] / s[..., _LABELS], np.nan)


METRICS: Mapping[str, Metric] = {
    "mae": _mean(_ABSOLUTE, "MeanAbsoluteError"),
    "rmse": OfSums(sums, _root, tfma=Tfma("RootMeanSquaredError")),
    "mse": _mean(_SQUARES, "MeanSquaredError"),
    "mape": _mean(_PARTS, "MeanAbsolutePercentageError", times=100, bottom=_WHOLE),
    "smape": _mean(_SYMMETRIC, times=100),
    "r2": OfSums(sums, _r2),
    "pinball": _mean(_ABSOLUTE, times=0.5),
    "mase": OfSums(sums, lambda s: s[..., _ABSOLUTE] / s[..., _NAIVE]),
    "bias": _mean(_ERRORS),
    "calibration": OfSums(sums, _calibration, tfma=Tfma("Calibration")),
    "label_mean": _mean(_LABELS, "MeanLabel"),
    "example_count": OfSums(sums, lambda s: s[..., _ROWS], tfma=Tfma("ExampleCount")),
}
