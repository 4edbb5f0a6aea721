"""Spans: an hour, day, week or month of data, named by its start."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from flywheel.errors import ConfigError

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
    """What a run for a span trains on, and what it judges on: never the same span.

    Attributes:
        train: Spans that the candidate is trained on, oldest first.
        judge: The newest spans up to the run's own, held out to judge candidate and champion.
    """

    train: tuple[Span, ...]
    judge: tuple[Span, ...]

    @classmethod
    def of(cls, span: Span, window: int, judge: int) -> Windows:
        """Return the windows of a run for `span`: judge on its newest `judge` spans, train on the `window` before."""
        return cls(tuple(span.shift(-judge).back(window)), tuple(span.back(judge)))

    @property
    def all(self) -> tuple[Span, ...]:
        """Every span that the run reads, oldest first."""
        return self.train + self.judge


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
