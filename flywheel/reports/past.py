"""What a history tells of one figure, span by span, in the unit in which people read it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flywheel.artifacts import Check
from flywheel.profiles import Column, Entry, History, Profile
from flywheel.profiles.compare import Measure
from flywheel.profiles.distances import pool
from flywheel.spans import Every, Span

SHOWN: Mapping[Every, int] = {"hour": 72, "day": 28, "week": 26, "month": 24}
"""How many spans a chart shows."""

UNIT: Mapping[Every, tuple[float, str]] = {
    "hour": (60.0, "minutes"), "day": (3600.0, "hours"), "week": (86400.0, "days"), "month": (86400.0, "days"),
}  # fmt: skip
"""Seconds of the unit in which times are shown, and its name: they are counted from the start of a span."""

_SCALES = {
    "distance": "square", "drift": "square", "unseen": "angle", "stale": "angle", "rows seen before": "angle",
    "odd": "angle", "surprise": "log",
}  # fmt: skip
"""Scales of the measures that history keeps; of all others only differences are known."""

_OF_SPAN: Mapping[str, Callable[[Profile], float]] = {
    "rows": lambda profile: profile.rows,
    "label rate": lambda profile: profile.label_rate,
    "repeated rows": lambda profile: profile.repeated,
}


@dataclass(frozen=True)
class Point:
    """A figure of one span.

    Attributes:
        span: Its name.
        value: The figure; NaN where there is none.
        state: `fail` where that span was blocked for it, `warn` where a person waived that, `calendar` where it was
            declared unusual; empty for a span like others.
        alike: Whether the newest span is compared with this one.
    """

    span: str
    value: float
    state: str = ""
    alike: bool = False


class Past:
    """The last spans up to the newest, as a report shows them.

    Args:
        history: Holds the newest span too.
        newest: Its name.
    """

    def __init__(self, history: History, newest: str) -> None:
        self.history, self.newest = history, newest
        here = Span.parse(newest, history.every)
        self.spans = [here.shift(-back).name for back in reversed(range(SHOWN[history.every]))]
        compared = history.comparable(newest) or history.nearest(newest)
        self.references = [entry.span for entry in compared if entry.span != newest]

    @property
    def profile(self) -> Profile | None:
        """What the newest span looks like; None when history does not hold it, or it has no rows."""
        entry = self._entry(self.newest)
        return entry.profile if entry and entry.profile and entry.profile.rows else None

    def newest_of(self, column: str) -> Column | None:
        """Return a column of the newest span."""
        return self.profile.columns.get(column) if self.profile else None

    def usual_of(self, column: str) -> Column | None:
        """Return what a column looks like in the spans that the newest is compared with, all of them together."""
        found = [(entry.columns[column], float(entry.rows)) for entry in self._compared() if column in entry.columns]
        kinds = {each.kind for each, _ in found}
        return pool([each for each, _ in found], [rows for _, rows in found]) if len(kinds) == 1 else None

    def of_span(self, figure: str) -> list[Point]:
        """Return `rows`, `label rate` or `repeated rows` of each span."""
        return self._points("", lambda entry: _OF_SPAN[figure](entry.profile) if entry.profile else math.nan)

    def of_column(self, column: str, figure: Callable[[Column], float]) -> list[Point]:
        """Return a figure of a column, span by span."""

        def value(entry: Entry) -> float:
            found = entry.profile.columns.get(column) if entry.profile else None
            return figure(found) if found is not None else math.nan

        return self._points(column, value)

    def of_measure(self, name: str, column: str, observed: float | None = None) -> list[Point]:
        """Return a measure that history keeps, empty when the newest span has none.

        Args:
            name: As a check is called, `distance of temp`.
            column: Which column it is about.
            observed: What the newest span has in its natural unit, for measures that are kept as differences only.
        """
        newest = self._entry(self.newest)
        if newest is None or name not in newest.measures:
            return []
        scale = _SCALES.get(kind_of(name, column), "plain")
        back = Measure(0.0, 0.0, 0.0 if observed is None else observed, scale).natural(-newest.measures[name])
        measure = Measure(0.0, 0.0, 0.0 if observed is None or scale == "square" else back, scale)

        def value(entry: Entry) -> float:
            return measure.natural(entry.measures[name]) if name in entry.measures else math.nan

        return self._points(column, value)

    def of_check(self, check: Check) -> list[Point]:
        """Return what a check looked at, span by span; empty when nothing is known of that."""
        kind = kind_of(check.name, check.column)
        if not check.column and kind in _OF_SPAN:
            return self.of_span(kind)
        if check.column and kind in FIGURES:
            return self.of_column(check.column, FIGURES[kind])
        name = f"{kind} of {check.column}" if check.column else kind
        return self.of_measure(name, check.column, check.observed)

    def steady(self, check: Check) -> bool:
        """Return whether what is usual of a check is so for all spans, not only for those like the newest."""
        kind = kind_of(check.name, check.column)
        return kind not in (FIGURES if check.column else _OF_SPAN)

    def since(self, column: str) -> list[str]:
        """Return the spans right before the newest that were blocked for the same column, oldest first."""
        found: list[str] = []
        here = Span.parse(self.newest, self.history.every).shift(-1)
        while self._blocked(here.name, column):
            found.insert(0, here.name)
            here = here.shift(-1)
        return found

    def last_time(self, column: str) -> str:
        """Return the newest span blocked for the same column with others in between; empty when there is none."""
        recent = {self.newest, *self.since(column)}
        found = [span for span in self.history.spans if span < self.newest and span not in recent]
        return next((span for span in reversed(found) if self._blocked(span, column)), "")

    def declared(self, span: str) -> bool:
        """Return whether a span was declared unusual beforehand."""
        entry = self._entry(span)
        return (
            entry is not None and not entry.normal and not entry.failed and bool(entry.profile and entry.profile.rows)
        )

    def _entry(self, span: str) -> Entry | None:
        return self.history[span] if span in self.history else None

    def _compared(self) -> list[Profile]:
        return [entry.profile for entry in (self.history[span] for span in self.references) if entry.profile]

    def _blocked(self, span: str, column: str) -> bool:
        entry = self._entry(span)
        return entry is not None and any(column == about for _, about, _ in entry.failed)

    def _points(self, column: str, value: Callable[[Entry], float]) -> list[Point]:
        found = []
        for span in self.spans:
            entry = self._entry(span)
            figure = float(value(entry)) if entry is not None else math.nan
            found.append(Point(span, figure, self._state(span, column), span in self.references))
        return found

    def _state(self, span: str, column: str) -> str:
        entry = self._entry(span)
        if entry is not None and (self._blocked(span, column) if column else entry.failed):
            return "warn" if entry.reference else "fail"
        return "calendar" if self.declared(span) else ""


def known(points: Sequence[Point]) -> bool:
    """Return whether there is anything to draw: a figure of two spans at least, the newest among them."""
    return sum(math.isfinite(point.value) for point in points) > 1 and math.isfinite(points[-1].value)


def kind_of(name: str, column: str) -> str:
    """Return what a check looks at: its name without the column that it is about, nor what follows."""
    return name.partition(f" of {column}" if column else " at most ")[0]


def mean(column: Column) -> float:
    """Return the mean of a column's numbers, of times in seconds; NaN when it has none."""
    return float(np.average(column.points, weights=column.masses)) if len(column.points) else math.nan


def deviation(column: Column) -> float:
    """Return the standard deviation of a column's numbers; NaN when it has none."""
    if not len(column.points):
        return math.nan
    return float(np.sqrt(np.average((column.points - mean(column)) ** 2, weights=column.masses)))


FIGURES: Mapping[str, Callable[[Column], float]] = {
    "nulls": lambda column: column.nulls,
    "zeros": lambda column: column.zeros,
    "whole": lambda column: column.whole,
    "distinct": lambda column: column.distinct,
    "length": lambda column: column.length,
    "level": mean,
    "step": mean,
    "spread": deviation,
    "label rate": mean,
}
"""Figures of a column that its profile has, by what a check of them is called."""
