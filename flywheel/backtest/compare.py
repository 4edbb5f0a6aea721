"""Lines of a backtest beside one another: quality in service against trainings, differences paired and by week.

Days of one week move together, and a policy's model serves for many of them; so the difference of two policies is taken
span by span, and its error from how the means of blocks of a week differ (batch means, with a Student quantile).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flywheel.backtest.replay import Line, Replayed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BLOCK = {"hour": 168, "day": 7, "week": 4, "month": 3}
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Comparison:
    """A line beside the first.

    Attributes:
        line: Which.
        mean: Mean of the metric over the spans that all lines served.
        difference: To the first line, more is better; 0 for itself.
        low: Lower end of the difference's 95% interval; NaN where there are too few weeks.
        high: Upper end.
        worst: The difference in the week that is the worst for it; NaN where there are too few.
        best: The same of its best week.
        trainings: How many.
        promotions: How many of their models went into service.
        rejected: Spans that the data gate kept out.
        seconds: What the trainings took together.
        dominated: The line that is at least as good with no more trainings; empty when there is none.
    """

    line: Line
    mean: float
    difference: float
    low: float
    high: float
    worst: float
    best: float
    trainings: int
    promotions: int
    rejected: int
    seconds: float
    dominated: str = ""


def compared(found: Sequence[Replayed], every: str, better: int) -> list[Comparison]:
    """Return every line beside the first one, in their order.

    Args:
        found: What became of each line.
        every: How long a span is.
        better: 1 when more of the metric is better, -1 when less is.
    """
    import numpy as np

    known = [dict(zip(each.spans, each.values, strict=True)) for each in found]
    common = sorted(set.intersection(*(set(each) for each in known)))
    common = [span for span in common if all(math.isfinite(each[span]) for each in known)]
    table = np.array([[each[span] for span in common] for each in known]) if common else np.empty((len(found), 0))
    rows = []
    for replayed, values in zip(found, table, strict=True):
        apart = better * (values - table[0])
        difference, low, high = _paired(apart, _BLOCK[every])
        weeks = [float(week.mean()) for week in _blocks(apart, _BLOCK[every])]
        worst, best = (min(weeks), max(weeks)) if len(weeks) > 1 else (math.nan, math.nan)
        mean = float(values.mean()) if len(values) else math.nan
        counts = (len(replayed.trained), len(replayed.promoted), len(replayed.rejected))
        rows.append(Comparison(replayed.line, mean, difference, low, high, worst, best, *counts, replayed.seconds))
    return [_placed(row, rows, better) for row in rows]


def _paired(differences: Floats, block: int) -> tuple[float, float, float]:
    """Return the mean difference and its interval, from means of whole blocks; what is left over joins the last."""
    import numpy as np
    from scipy.special import stdtrit

    if not len(differences):
        return math.nan, math.nan, math.nan
    mean = float(differences.mean())
    parts = _blocks(differences, block)
    count = len(parts)
    if count < 2 or not differences.any():
        return mean, (0.0 if not differences.any() else math.nan), (0.0 if not differences.any() else math.nan)
    means = np.array([part.mean() for part in parts])
    sizes = np.array([len(part) for part in parts])
    shares = sizes / sizes.sum()
    error = math.sqrt(float((shares**2 * (means - mean) ** 2).sum()) * count / (count - 1))
    reach = float(stdtrit(count - 1, 1 - (1 - _CONFIDENCE) / 2)) * error
    return mean, mean - reach, mean + reach


def _blocks(differences: Floats, block: int) -> list[Floats]:
    """Return whole blocks of `block` spans; what is left over joins the last."""
    import numpy as np

    return np.split(differences, [block * number for number in range(1, len(differences) // block)])


def _placed(row: Comparison, rows: Sequence[Comparison], better: int) -> Comparison:
    """Return it with the best line that leaves no reason for it."""
    from dataclasses import replace

    def beats(other: Comparison) -> bool:
        gain = better * (other.mean - row.mean)
        fewer = row.trainings - other.trainings
        return gain >= 0 and fewer >= 0 and (gain > 0 or fewer > 0)

    over = [other for other in rows if other is not row and beats(other)]
    return replace(row, dominated=str(max(over, key=lambda other: better * other.mean).line) if over else "")
