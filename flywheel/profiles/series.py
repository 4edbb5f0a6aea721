"""Numbers that are series of their own: one reading at each time, or one for each word at each time.

A sensor that stands still, a reading that is yesterday's, one among others that does not belong: every value is
plausible alone, and in a mixture of rows of many sensors a jump is nothing. So by what column a number is a series is
found in earlier rows, and each series is looked at for itself. Without a column of times there are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flywheel.profiles.compare import Measure, share_change
from flywheel.profiles.measure import Rows
from flywheel.profiles.profile import Floats

_ALIKE = 0.98
_MOST_WORDS = 64
_LEAST_CELLS = 24
_CLOCK = 0.9
_MOST = 1.0
_LEAST = 0.002
_SECOND = 0.5


class _Readings:
    """A number by series and time.

    Args:
        series: Which series each reading is of, in order.
        times: When it was, ascending within each series.
        values: What it was.
    """

    def __init__(self, series: NDArray[Any], times: Floats, values: Floats) -> None:
        self.series, self.times, self.values = series, times, values

    @property
    def places(self) -> dict[tuple[Any, float], float]:
        """Each value by its series and time."""
        keys = zip(self.series.tolist(), self.times.tolist(), strict=True)
        return dict(zip(keys, self.values.tolist(), strict=True))

    def unchanged(self) -> float:
        """Return the share of readings that are the one before again."""
        same = self.series[1:] == self.series[:-1]
        return float(np.mean(self.values[1:][same] == self.values[:-1][same])) if same.any() else 0.0

    def stuck(self) -> float:
        """Return the longest stretch of readings that are the one before again, as a share of its series."""
        starts = np.append(True, self.series[1:] != self.series[:-1])
        fresh = starts | np.append(True, self.values[1:] != self.values[:-1])
        lengths = np.diff(np.append(np.flatnonzero(fresh), len(fresh)))
        whole = np.bincount(np.cumsum(starts))[np.cumsum(starts)][fresh]
        return float(((lengths - 1) / np.maximum(whole - 1, 1)).max(initial=0.0))

    def out_of_line(self, width: float) -> float:
        """Return how far a reading is from the middle of the two beside it, in the mean and in units of `width`."""
        inner = (self.series[2:] == self.series[:-2]) & (self.series[1:-1] == self.series[:-2])
        off = np.abs(self.values[1:-1] - (self.values[2:] + self.values[:-2]) / 2)[inner] / width
        return float(np.minimum(off, _MOST).mean()) if len(off) else 0.0

    def again(self, earlier: _Readings) -> float | None:
        """Return the share of readings that are those of the same series and time in `earlier`; None without any."""
        then = earlier.places
        same = [value == then[place] for place, value in self.places.items() if place in then]
        return float(np.mean(same)) if len(same) >= _LEAST_CELLS // 2 else None

    def agreeing(self) -> float | None:
        """Return the share of times at which two series have the same value; None with one series."""
        by_series: dict[Any, dict[float, float]] = {}
        for (series, time), value in self.places.items():
            by_series.setdefault(series, {})[time] = value
        same = [
            one[time] == other[time]
            for one, other in combinations(by_series.values(), 2)
            for time in one.keys() & other.keys()
        ]
        return float(np.mean(same)) if same else None


class Series:
    """Which numbers are series, by which words, and how wide they range.

    Args:
        samples: Rows of earlier spans, oldest first; of each the same columns.
        names: The numbers to look at.
    """

    def __init__(self, samples: Sequence[Rows], names: Sequence[str]) -> None:
        self._series: dict[str, tuple[str, float]] = {}
        newest = samples[-1]
        words = ["", *(name for name, values in newest.columns.items() if _few(values))]
        for name in names:
            if name == newest.time:
                continue
            by = next((word for word in words if _determined(newest, name, word)), None)
            if by is None:
                continue
            runs = [run for each in samples if (run := _readings(each, name, by)) is not None]
            again = [share for a, b in zip(runs[1:], runs, strict=False) if (share := a.again(b)) is not None]
            if len(runs) < 2 or not again or np.median(again) > _CLOCK:
                continue  # an hour of the day is the same each day
            values = np.concatenate([run.values for run in runs])
            low, high = np.quantile(values, (0.02, 0.98))
            self._series[name] = by, float(high - low) or float(np.ptp(values)) or 1.0

    def measures(self, rows: Rows, before: Rows | None) -> dict[str, Measure]:
        """Return how the series of a span run.

        `still of <column>` is the share of readings that are the one before again, `stuck of <column>` the longest
        stretch of such ones, `line of <column>` how far a reading is from the two beside it, `again of <column>` the
        share that the span before had at the same time, `agree of <column>` how often two series have the same value.
        """
        found = {}
        for name, (by, width) in self._series.items():
            here = _readings(rows, name, by)
            if here is None:
                continue
            line = here.out_of_line(width)
            found[f"still of {name}"] = share_change(here.unchanged(), 0.0)
            found[f"stuck of {name}"] = share_change(here.stuck(), 0.0)
            found[f"line of {name}"] = Measure(float(np.log(line + _LEAST)), line * width, width, "log")
            shares = {"agree": here.agreeing()}
            earlier = _readings(before, name, by) if before is not None and name in before.columns else None
            shares["again"] = here.again(earlier) if earlier is not None else None
            found |= {f"{check} of {name}": share_change(s, 0.0) for check, s in shares.items() if s is not None}
        return found


def _few(values: NDArray[Any]) -> bool:
    from pandas import unique

    return values.dtype == object and 1 < len(unique(values)) <= _MOST_WORDS


def _cells(rows: Rows, name: str, by: str) -> tuple[NDArray[Any], Floats, Floats]:
    """Return series, time and value of each row that has all three, by series and time."""
    values, times = np.asarray(rows.columns[name], float), rows.times
    if times is None:
        return np.empty(0, int), np.empty(0), np.empty(0)
    from pandas import factorize

    words = rows.columns[by] if by else None
    series = words if words is not None else np.zeros(len(values), int)
    given = ~np.isnan(values) & ~np.isnan(times)
    if words is not None:
        given &= factorize(words)[0] >= 0
    series, times, values = series[given], times[given], values[given]
    order = np.lexsort((times, factorize(series, sort=True)[0]))
    return series[order], times[order], values[order]


def _starts(series: NDArray[Any], times: Floats) -> NDArray[np.bool_]:
    """Return which rows are the first of their series and time."""
    return np.append(True, (series[1:] != series[:-1]) | (times[1:] != times[:-1]))


def _determined(rows: Rows, name: str, by: str) -> bool:
    series, times, values = _cells(rows, name, by)
    if len(values) < _LEAST_CELLS:
        return False
    first = _starts(series, times)
    if first.sum() < _LEAST_CELLS or (by and first.mean() > _SECOND):
        return first.sum() >= _LEAST_CELLS and not by
    return bool(np.mean(values == values[first][np.cumsum(first) - 1]) >= _ALIKE)


def _readings(rows: Rows | None, name: str, by: str) -> _Readings | None:
    if rows is None or name not in rows.columns or (by and by not in rows.columns):
        return None
    series, times, values = _cells(rows, name, by)
    if len(values) < _LEAST_CELLS:
        return None
    first = _starts(series, times)
    return _Readings(series[first], times[first], values[first]) if first.sum() >= _LEAST_CELLS else None
