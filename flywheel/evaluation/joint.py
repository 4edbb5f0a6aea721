"""Thresholds of several classes chosen together, because one bar is put on all of them: is a row called any of them?

Each class's own threshold at the bar wastes what the others have to spare, so all are searched for at once, on rows
that the model was not fitted on (Son et al., WSDM 2023, "Reliable decision from multiple subtasks through threshold
optimization"). Rates are steps of the thresholds, so there is no derivative to follow: from several starts one
threshold after the other is moved to the best of all its cuts, until none can be. A start takes of each class what
weighs most when a wrong call costs so many right ones, for a range of such costs: near the best, all pay the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flywheel.evaluation.groups import Floats, Ints

    Bools = NDArray[Any]

PRECISION, RECALL = "precision", "recall"
_COSTS = 24
_TRIED = 4
_PASSES = 20


@dataclass(frozen=True)
class Bar:
    """What a rate has to be: `precision` or `recall`, and at least how much."""

    rate: str
    least: float

    @property
    def other(self) -> str:
        """The rate that is to be as high as it can be."""
        return RECALL if self.rate == PRECISION else PRECISION

    @classmethod
    def of(cls, said: Mapping[str, float | None] | None) -> Bar | None:
        """Return what `{"precision": 0.9}` says; None where it says nothing."""
        found = [(rate, least) for rate, least in (said or {}).items() if least is not None]
        return cls(*found[0]) if found else None


@dataclass(frozen=True)
class Rates:
    """Of rows: right calls, calls, and rows that are to be called; arrays for as many thresholds."""

    caught: Floats
    flagged: Floats
    there: float

    def value(self, rate: str) -> Floats:
        """Return precision or recall; 0 where there is none."""
        import numpy as np

        of = self.flagged if rate == PRECISION else np.full_like(self.flagged, self.there)
        share: Floats = np.where(of > 0, self.caught / np.maximum(of, 1), 0.0)
        return share

    def shown(self, rate: str) -> Floats:
        """Return the lower one-sided 95% bound of precision or recall (Wilson 1927); 0 where there is none."""
        import numpy as np

        of = self.flagged if rate == PRECISION else np.full_like(self.flagged, self.there)
        return np.where(of > 0, wilson(self.caught, np.maximum(of, 1)), 0.0)


@dataclass(frozen=True)
class Calls:
    """Rows that several classes may call.

    Attributes:
        truth: (rows, classes): 1, 0, or -1 where it is not known.
        scores: (rows, classes): chances.
        whole: By row whether it is any of them: 1, 0, or -1 where that is not known.
    """

    truth: Ints
    scores: Floats
    whole: Ints

    @classmethod
    def of(cls, truth: Ints, scores: Floats) -> Calls:
        """Return rows; one that has a class is to be called, one that has none only where all are known."""
        import numpy as np

        whole = np.where((truth == 1).any(axis=1), 1, np.where((truth == 0).all(axis=1), 0, -1))
        return cls(truth, scores, whole)

    def order(self, index: int) -> tuple[Ints, Ints]:
        """Return rows by chance of a class, the likeliest first, and the last place of each run of equal chances."""
        import numpy as np

        order = np.argsort(-self.scores[:, index], kind="stable")
        s = self.scores[order, index]
        return order, np.flatnonzero(np.r_[s[1:] != s[:-1], True]) if len(s) else np.zeros(0, np.int64)

    def rates(self, index: int) -> Rates:
        """Return the rates of a class at each of its cuts."""
        import numpy as np

        order, last = self.order(index)
        truth = self.truth[order, index]
        caught, flagged = np.cumsum(truth == 1)[last], np.cumsum(truth >= 0)[last]
        return Rates(caught.astype(float), flagged.astype(float), float((truth == 1).sum()))

    def together(self, index: int, others: Bools) -> Rates:
        """Return the rates of calling any class, at each cut of one, the rows that `others` call being called."""
        import numpy as np

        order, last = self.order(index)
        whole, new = self.whole[order], ~others[order]
        caught = np.cumsum(new & (whole == 1))[last] + (others & (self.whole == 1)).sum()
        flagged = np.cumsum(new & (whole >= 0))[last] + (others & (self.whole >= 0)).sum()
        return Rates(caught.astype(float), flagged.astype(float), float((self.whole == 1).sum()))


def wilson(hits: Floats, of: Floats) -> Floats:
    """Return the lower one-sided 95% bound of each share."""
    import numpy as np
    from scipy.special import ndtri

    from flywheel.evaluation.paired import ALPHA

    z = float(ndtri(1 - ALPHA))
    share = hits / of
    middle = share + z**2 / (2 * of)
    lower: Floats = (middle - z * np.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))) / (1 + z**2 / of)
    return lower


def search(calls: Calls, bars: Sequence[Bar | None], whole: Bar, first: Sequence[float]) -> list[float]:
    """Return a threshold for each class: infinite where it is better never called.

    What the bars lack is made as small as it can be, and then the decision's other rate as large: under a bar of
    precision the rows that are caught, under one of recall the precision.

    Args:
        calls: Rows that the model was not fitted on.
        bars: Of each class by itself, or None.
        whole: Of the decision: a row is called any of them.
        first: Thresholds to start from.
    """
    found = [_climbed(calls, bars, whole, start) for start in _best(calls, bars, whole, first)]
    return max(found, key=lambda each: each[0])[1]


def _best(calls: Calls, bars: Sequence[Bar | None], whole: Bar, first: Sequence[float]) -> list[list[float]]:
    """Return the few starts that do best as they are."""
    starts = [list(first), *_starts(calls)]
    return sorted(starts, key=lambda each: _worth(calls, bars, whole, each), reverse=True)[:_TRIED]


def _starts(calls: Calls) -> Iterator[list[float]]:
    import numpy as np

    cuts = [(calls.rates(index), calls.order(index)) for index in range(calls.scores.shape[1])]
    for cost in np.geomspace(0.02, 50, _COSTS):
        start = []
        for index, (rates, (order, last)) in enumerate(cuts):
            gain = rates.caught - cost * (rates.flagged - rates.caught)
            at = int(np.argmax(gain)) if len(gain) else -1
            start.append(float(calls.scores[order[last[at]], index]) if at >= 0 and gain[at] > 0 else np.inf)
        yield start


def _worth(calls: Calls, bars: Sequence[Bar | None], whole: Bar, at: Sequence[float]) -> tuple[float, float]:
    """Return how much the bars lack, negative, and the decision's other rate."""
    import numpy as np

    called = calls.scores >= np.array(at)
    lacks = 0.0
    for index, bar in enumerate(bars):
        if bar:
            lacks += max(0.0, bar.least - float(of_calls(calls.truth[:, index], called[:, index]).shown(bar.rate)[0]))
    rates = of_calls(calls.whole, called.any(axis=1))
    lacks += max(0.0, whole.least - float(rates.shown(whole.rate)[0]))
    return -lacks, float(rates.value(whole.other)[0])


def of_calls(truth: Ints, called: Bools) -> Rates:
    """Return the rates of rows that are called or not."""
    import numpy as np

    caught, flagged = (called & (truth == 1)).sum(), (called & (truth >= 0)).sum()
    return Rates(np.array([float(caught)]), np.array([float(flagged)]), float((truth == 1).sum()))


def _climbed(
    calls: Calls, bars: Sequence[Bar | None], whole: Bar, start: Sequence[float]
) -> tuple[tuple[float, float], list[float]]:
    """Return the worth of the best thresholds that moving one after the other leads to, and those."""
    at, worth = list(start), _worth(calls, bars, whole, start)
    for _ in range(_PASSES):
        before = worth
        for index in range(len(at)):
            worth = _moved(calls, bars, whole, at, index, worth)
        if worth <= before:
            break
    return worth, at


def _moved(
    calls: Calls, bars: Sequence[Bar | None], whole: Bar, at: list[float], index: int, worth: tuple[float, float]
) -> tuple[float, float]:
    """Move one threshold to the best of its cuts, if that is better than where it stands, and return the worth."""
    import numpy as np

    order, last = calls.order(index)
    if not len(last):
        return worth
    called = calls.scores >= np.array(at)
    others = np.delete(called, index, axis=1).any(axis=1)
    lacks = np.zeros(len(last))
    for each, bar in enumerate(bars):
        if bar is not None:
            rates = calls.rates(index) if each == index else of_calls(calls.truth[:, each], called[:, each])
            lacks = lacks + np.maximum(0.0, bar.least - rates.shown(bar.rate))
    both = calls.together(index, others)
    lacks = lacks + np.maximum(0.0, whole.least - both.shown(whole.rate))
    gains = both.value(whole.other)
    least = np.flatnonzero(lacks <= lacks.min() + 1e-12)
    best = int(least[np.argmax(gains[least])])  # the first, so the highest threshold, of equals
    at_cut = float(calls.scores[order[last[best]], index])
    for value in (at_cut, np.inf):
        moved = [*at[:index], value, *at[index + 1 :]]
        if (now := _worth(calls, bars, whole, moved)) > worth:
            at[index], worth = value, now
    return worth
