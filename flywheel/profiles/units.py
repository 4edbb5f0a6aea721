"""Numbers that stand on the steps of another unit, though each of them may have been there before.

A change of unit takes the steps along: inches of rain come in hundredths, and as millimetres in steps of 0.254, rounded
to hundredths again. Every one of 0.25, 0.51 and 1.27 has fallen on some day; that a day has these and none between is
how a conversion looks. How likely such a day is, earlier spans say: by how often their numbers stood on those steps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flywheel.profiles.profile import Floats

CONVERSIONS = {
    25.4: "inches in millimetres",
    2.54: "inches in centimetres",
    3.28084: "metres in feet",
    1.609344: "miles in kilometres",
    1.852: "nautical miles in kilometres",
    3.6: "metres a second in kilometres an hour",
    2.23694: "metres a second in miles an hour",
    1.94384: "metres a second in knots",
    2.20462: "kilograms in pounds",
    28.3495: "ounces in grams",
    3.78541: "gallons in litres",
    33.8639: "inches of mercury in hectopascals",
    4.184: "calories in joules",
    7.0: "weeks in days",
    12.0: "dozens in pieces",
    24.0: "days in hours",
    60.0: "minutes in seconds",
    100.0: "a fraction in per cent",
    1000.0: "thousands in ones",
    3600.0: "hours in seconds",
    86400.0: "days in seconds",
}
"""What a number may have been multiplied by: its steps grow. Where they shrink, numbers leave the old ones."""

_FACTORS = np.array(list(CONVERSIONS))
_MOST_DECIMALS = 4


def step_of(numbers: Floats) -> float | None:
    """Return the power of ten, from 1 to 0.0001, of which all numbers are multiples; None when there is none."""
    for decimals in range(_MOST_DECIMALS + 1):
        scaled = numbers * 10.0**decimals
        if np.all(np.abs(scaled - np.round(scaled)) <= 1e-6 * np.maximum(np.abs(scaled), 1.0)):  # of 32 bits, too
            return float(10.0**-decimals)
    return None


def conversion(numbers: Floats, known: Floats, spans: NDArray[np.int64]) -> tuple[float, float] | None:
    """Return how little likely it is that so many different numbers stand on the steps of another unit, and its factor.

    The likelihood is given as -log10 of the chance, in which it is allowed for how many units are tried: 0 is ordinary,
    6 is once in a million spans.

    Args:
        numbers: The different ones of a span.
        known: All that earlier spans had.
        spans: How many of them had each.

    Returns:
        None when there are no numbers but 0, or those known have no common step.
    """
    from scipy.stats import binom

    numbers, (known, spans) = numbers[numbers != 0], (each[known != 0] for each in (known, spans))
    step = step_of(known) if len(known) else None
    if step is None or not len(numbers):
        return None
    usual = (_on_steps(known, step) @ spans + 0.5) / (spans.sum() + 1)
    chances = binom.sf(_on_steps(numbers, step).sum(1) - 1, len(numbers), usual)
    best = int(np.argmin(chances))
    unlikely = -np.log10(max(float(chances[best]), 1e-300)) - np.log10(len(_FACTORS))
    return max(float(unlikely), 0.0), float(_FACTORS[best])


def _on_steps(numbers: Floats, step: float) -> NDArray[np.bool_]:
    """Return of each unit which numbers are multiples of its step, rounded to the old one; shape (units, numbers)."""
    steps = (_FACTORS * step)[:, None]
    times = np.round(numbers / steps)
    return np.asarray((times != 0) & (np.abs(times * steps - numbers) <= 0.5 * step + 1e-9))
