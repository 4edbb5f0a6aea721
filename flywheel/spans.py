"""Spans: an hour, day, week or month of data, named by its start."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from flywheel.errors import ConfigError

LEAVE_OUT = 0.5
"""Share of bad spans among those that a run looks at, beyond which it is blocked, where nothing else is said."""
Every = Literal["hour", "day", "week", "month"]
_FORMATS = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "week": "%Y-%m-%d", "month": "%Y-%m"}
_STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
_EXAMPLES = {"hour": "2013-06-01T09", "day": "2013-06-01", "week": "2013-06-03", "month": "2013-06"}


@dataclass(frozen=True, order=True)
class Span:
    """One span; spans of one length sort by time and print as their name.

    Attributes:
        start: First instant, without a time zone (UTC by convention).
        every: How long a span is.
    """

    start: datetime
    every: Every = "day"

    @classmethod
    def parse(cls, name: str, every: Every = "day") -> Span:
        """Return the span called `name`.

        Raises:
            ConfigError: `name` is not the start of such a span; a week starts on a Monday.
        """
        if every not in get_args(Every):
            raise ConfigError(f"spans of {every!r} are unknown", f"use one of {', '.join(get_args(Every))}.")
        try:
            span = cls(datetime.strptime(name, _FORMATS[every]), every)
        except ValueError:
            raise ConfigError(f"span {name!r} does not name a {every}", f"write it as {_EXAMPLES[every]!r}.") from None
        if every == "week" and span.start.weekday() != 0:
            monday = span.start - timedelta(days=span.start.weekday())
            raise ConfigError(f"span {name!r} is not the start of a week", f"take its Monday, {monday:%Y-%m-%d}.")
        return span

    @property
    def name(self) -> str:
        """The name that it is asked for by: its start, as short as its length allows."""
        return self.start.strftime(_FORMATS[self.every])

    @property
    def end(self) -> datetime:
        """First instant after the span."""
        return self.shift(1).start

    def shift(self, count: int) -> Span:
        """Return the span `count` spans later (earlier when negative).

        Raises:
            ConfigError: It would be before year 1 or after year 9999.
        """
        try:
            if self.every == "month":
                months = self.start.year * 12 + self.start.month - 1 + count
                return Span(datetime(months // 12, months % 12 + 1, 1), self.every)
            return Span(self.start + count * _STEPS[self.every], self.every)
        except (OverflowError, ValueError):
            raise ConfigError(
                f"no calendar has what is {count:+,} {self.every}s from span {self.name!r}",
                "choose a span within the data, or a smaller `source.window`.",
            ) from None

    def back(self, count: int) -> list[Span]:
        """Return the `count` spans that end with this one, oldest first."""
        return [self.shift(i) for i in range(1 - count, 1)]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Windows:
    """What a run for a span trains on, and what it judges on: never the same span, and what is trained on is older.

    Attributes:
        train: Spans that the candidate is trained on, oldest first.
        judge: The newest spans up to the run's own, held out to judge candidate and champion.
        all: Every span from the oldest of them to the run's own, bad ones among them: what the run reads.
    """

    train: tuple[Span, ...]
    judge: tuple[Span, ...]
    all: tuple[Span, ...]

    @classmethod
    def of(cls, span: Span, window: int, judge: int, bad: Collection[str] = (), most: int | None = None) -> Windows:
        """Return the windows of a run for `span`: judge on the newest `judge` good spans, train on the `window` before.

        Args:
            span: The run's own; it counts as good.
            window: How many to train on.
            judge: How many to judge on.
            bad: Names of spans to pass over: older ones stand in for them.
            most: How many spans to look at, at most; with too few good ones among them, `train` is short first.
        """
        looked, good = [span], [span]
        while len(good) < window + judge and (most is None or len(looked) < most):
            looked.append(looked[-1].shift(-1))
            if looked[-1].name not in bad:
                good.append(looked[-1])
        return cls(tuple(reversed(good[judge:])), tuple(reversed(good[:judge])), tuple(reversed(looked)))

    @property
    def passed_over(self) -> list[str]:
        """Names of the bad spans in between, oldest first."""
        good = {*self.train, *self.judge}
        return [span.name for span in self.all if span not in good]


def reach(window: int, judge: int, leave_out: float) -> int:
    """Return how many spans a run looks at, at most, to find the good ones that it needs.

    Args:
        window: How many to train on.
        judge: How many to judge on.
        leave_out: Largest share of bad ones among all that are looked at.
    """
    return int((window + judge) / (1 - leave_out) + 1e-9)


def listed(spans: Sequence[str]) -> str:
    """Return the names of `spans`, oldest first, as `first to last`; empty for none."""
    return f"{spans[0]} to {spans[-1]}" if len(spans) > 1 else "".join(spans)


def counted(spans: Sequence[str]) -> str:
    """Return how many `spans` there are, and from which to which."""
    return f"{len(spans)} span{'s' * (len(spans) != 1)}, {listed(spans)}" if spans else "none"


def containing(every: Every, at: datetime) -> Span:
    """Return the span that a time (UTC, without zone) is in."""
    at = at.replace(minute=0, second=0, microsecond=0)
    if every != "hour":
        at = at.replace(hour=0)
    if every == "week":
        at -= timedelta(days=at.weekday())
    if every == "month":
        at = at.replace(day=1)
    return Span(at, every)


def last_complete(every: Every, now: datetime) -> Span:
    """Return the last span that was over at `now`, a time with its zone."""
    return containing(every, now.astimezone(UTC).replace(tzinfo=None)).shift(-1)
