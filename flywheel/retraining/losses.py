"""What it costs to wait: how much worse a model gets with age, learned from what earlier trainings gained.

Each training compares a fresh model with the champion on the same rows, so it observes what the champion had lost at
its age. The curve through these is fitted by isotonic regression (Barlow et al. 1972): it starts at 0 and never
falls. It is shrunk to a straight line through 0, which reaches over ages that were not observed; that line's slope is
shrunk in turn, while observations are few, to that of the other flywheels of the same ledger, or to a cautious
default. Expected losses are added up over the spans since the last training, and a training is due when they pass its
cost (Mahadevan & Mathioudakis 2023, "Cost-aware retraining", arXiv 2310.04216). Where the loss grows by the same
amount each span this is also the period that costs least in the long run, sqrt(2 cost / slope).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from flywheel.retraining.evidence import Gain

    Floats = NDArray[np.float64]

SLOPE = 0.0005
"""Loss of the metric a span while nothing is known: 0.014 after four weeks of days."""
_SHRINKAGE = 3.0
"""So many observations, at the usual error, is the line worth."""
_LEAST_ERROR = 0.001
_HORIZON = 28


@dataclass(frozen=True)
class LossCurve:
    """How much of the metric a model is expected to have lost, by age.

    Attributes:
        losses: At ages of 1, 2, … spans, up to the oldest that was observed; they do not fall.
        observed: How many trainings it rests on.
        slope: Of the line that it is shrunk to, and that it goes on by.
    """

    losses: Floats
    observed: int
    slope: float

    @classmethod
    def fit(cls, gains: Sequence[Gain], others: Sequence[Gain] = ()) -> LossCurve:
        """Return the curve through what trainings gained.

        Args:
            gains: Of this flywheel.
            others: Of other flywheels with the same metric.
        """
        import numpy as np
        from scipy.optimize import isotonic_regression

        slope = _slope(gains, _slope(others, SLOPE))
        usual = float(np.median([gain.error for gain in gains])) if gains else 1.0
        ages = np.arange(1, max([_HORIZON, *(gain.age for gain in gains)]) + 1)
        weights = np.full(len(ages), _SHRINKAGE / len(ages) / max(usual, _LEAST_ERROR) ** 2)
        total = weights * slope * ages
        for gain in gains:
            at = max(gain.age, 1) - 1
            weight = 1 / max(gain.error, _LEAST_ERROR) ** 2
            weights[at] += weight
            total[at] += weight * gain.value
        fitted = isotonic_regression(total / weights, weights=weights).x
        return cls(np.maximum(fitted, 0.0), len(gains), slope)

    def at(self, age: int) -> float:
        """Return the loss at an age in spans."""
        if age <= 0:
            return 0.0
        last = len(self.losses)
        return float(self.losses[min(age, last) - 1]) + self.slope * max(age - last, 0)

    def between(self, first: int, last: int) -> float:
        """Return the losses of all ages from `first` to `last` together."""
        return sum(self.at(age) for age in range(first, last + 1))


def _slope(gains: Sequence[Gain], prior: float) -> float:
    """Return the slope of the line through 0 that fits the gains, shrunk to `prior`, and a standard error more.

    Trainings of young champions say next to nothing of what an old one loses. Without that error, a few futile ones
    would put off the next for ever, and nothing would be learned again: optimism in the face of uncertainty.
    """
    if not gains:
        return prior
    errors = sorted(max(gain.error, _LEAST_ERROR) for gain in gains)
    precision = _SHRINKAGE * (_HORIZON / 2) ** 2 / errors[len(errors) // 2] ** 2
    over, total = precision, precision * prior
    for gain in gains:
        weight = gain.age / max(gain.error, _LEAST_ERROR) ** 2
        over, total = over + weight * gain.age, total + weight * gain.value
    return max(total / over, 0.0) + 1 / math.sqrt(over)
