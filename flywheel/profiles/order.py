"""How numbers run along time: smooth within a span as weather is, on from the span before, and not as they ran then.

Some readings in another unit, noise, or readings of another hour leave a column within what a season brings; from one
row to the next they jump. This needs a column of times, and is left out without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from flywheel.profiles.compare import Measure
from flywheel.profiles.measure import Rows
from flywheel.profiles.profile import Floats

_SLICES = 24
_ENDS = 0.05
_LEAST_ROWS = 50
_LEAST_SLICES = 6
_LEAST = 0.002
_SMOOTH = 0.6
_MOST = 1.0
_MOST_ALIKE = 0.4
_CLOCK = 0.05


@dataclass(frozen=True)
class _Run:
    """A column's values in the order of time, in units of its usual range."""

    times: Floats
    values: Floats


class Order:
    """Which numbers run smoothly along time, and how wide they range.

    A number is smooth when from one row to the next in time it changes much less than between any two rows: the ratio
    of von Neumann (1941), of absolute differences, so that a single outlier does not decide it.

    Args:
        samples: Rows of earlier spans, oldest first; of each the same columns.
        names: The columns to look at, all numbers.
    """

    def __init__(self, samples: Sequence[Rows], names: Sequence[str]) -> None:
        self._ranges: dict[str, float] = {}
        self._clocks: set[str] = set()
        for name in names:
            runs = [run for each in samples if (run := _run(each, name, 1.0)) is not None]
            values = np.concatenate([run.values for run in runs]) if runs else np.empty(0)
            if not len(values) or name == samples[-1].time:
                continue
            if np.unique(values, return_counts=True)[1].max() > _MOST_ALIKE * len(values):
                continue  # rain, that is mostly none, begins at once
            step = float(np.mean([np.abs(np.diff(run.values)).mean() for run in runs]))
            low, high = np.quantile(values, (0.02, 0.98))
            width = float(high - low) or float(np.ptp(values))
            apart = [moved for left, right in pairwise(runs) if (moved := _apart(left, right)) is not None]
            clock = not apart or np.median(apart) < _CLOCK * width  # an hour of the day runs as on any day
            if step <= _SMOOTH * _between_any_two(values):
                self._ranges[name] = width
                self._clocks |= {name} if clock else set()

    def measures(self, rows: Rows, before: Rows | None) -> dict[str, Measure]:
        """Return how numbers run along the time of a span.

        `scatter of <column>` is the mean step from row to row; `course of <column>` how far it is hour by hour from the
        span before (next to nothing is as strange as much: no two days have the same weather), `join of <column>` the
        step from the end of that span to the start of this.
        """
        found = {}
        for name, unit in self._ranges.items():
            run = _run(rows, name, unit)
            if run is None:
                continue
            step = float(np.minimum(np.abs(np.diff(run.values)), _MOST).mean())
            found[f"scatter of {name}"] = _log(step, unit)
            if before is None or name in self._clocks or name not in before.columns:
                continue
            earlier = _run(before, name, unit)
            if earlier is None:
                continue
            ends = [max(round(_ENDS * len(each.values)), 1) for each in (run, earlier)]
            first, last = float(np.median(run.values[: ends[0]])), float(np.median(earlier.values[-ends[1] :]))
            found[f"join of {name}"] = Measure(first - last, first * unit, last * unit, "level", unit)
            moved = _apart(run, earlier)
            if moved is not None:
                found[f"course of {name}"] = _log(moved, unit)
        return found


def _run(rows: Rows, name: str, unit: float) -> _Run | None:
    """Return a column along time; None where no time is known or too few values are there."""
    values: Any = rows.columns[name]
    if rows.times is None or values.dtype == object:
        return None
    given = ~np.isnan(values) & ~np.isnan(rows.times)
    if given.sum() < _LEAST_ROWS:
        return None
    order = np.argsort(rows.times[given], kind="stable")
    return _Run(rows.times[given][order], values[given][order] / unit)


def _log(share: float, unit: float) -> Measure:
    return Measure(float(np.log(share + _LEAST)), share * unit, unit, "log")


def _apart(run: _Run, other: _Run) -> float | None:
    """Return the root of the mean square of what two runs are apart, slice by slice of the time."""
    first, last = (pick(side(each.times) for each in (run, other)) for pick, side in ((min, np.min), (max, np.max)))
    width = (last - first) / _SLICES or 1.0
    apart = _means((run.times - first) / width, run.values) - _means((other.times - first) / width, other.values)
    both = ~np.isnan(apart)
    return float(np.sqrt(np.mean(apart[both] ** 2))) if both.sum() >= _LEAST_SLICES else None


def _means(places: Floats, values: Floats) -> Floats:
    """Return the mean in each slice of time, NaN where there is none."""
    slices = np.minimum(places.astype(int), _SLICES - 1)
    counts = np.bincount(slices, minlength=_SLICES)
    return np.asarray(np.bincount(slices, values, minlength=_SLICES) / np.where(counts, counts, np.nan))


def _between_any_two(values: Floats) -> float:
    """Return the mean absolute difference of two values (Gini 1912)."""
    count = len(values)
    weights = 2 * np.arange(1, count + 1) - count - 1
    return float(2 * (weights * np.sort(values)).sum() / (count * (count - 1)))
