"""Which span a scheduled run is for: Kubeflow does not say at which time a run was due, so `plan` finds out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import islice, takewhile

from flywheel.config import Schedule
from flywheel.ledger import Row
from flywheel.spans import Span
from flywheel.ticks import Ticks

_MOST = 10_000
"""Missed ticks that are looked at."""
_LATE = timedelta(hours=1)
"""How late a run may begin and still be on time, where ticks are two hours apart or more."""


def due(
    schedule: Schedule,
    rows: Iterable[Row],
    newest: Callable[[datetime], Span],
    now: datetime,
    since: datetime | None = None,
) -> tuple[Span, str]:
    """Return the span of a scheduled run, and why there is nothing to do for it in a sentence, empty when there may be.

    Each tick of the schedule has one span, the newest that was complete by then. Alarms may ring between ticks, and
    late: the last tick counts, and that once.

    Args:
        schedule: As in flywheel.yaml.
        rows: Those of the ledger, without this run's own.
        newest: Gives the newest span that is complete at a time.
        now: With its zone.
        since: When the schedule was applied, or the last tick that one before it has seen to: only later ones count.
    """
    ticks, rows = schedule.ticks(), list(rows)
    tick = ticks.last(now)
    if tick is None or (since and tick <= since):
        return newest(now), "nothing has been due since the schedule was applied"
    span = newest(tick)
    if schedule.catch_up == "all" and (missed := _missed(ticks, rows, newest, now, since)):
        return missed, ""
    if schedule.catch_up == "none" and now - tick > _tolerance(ticks, tick):
        late = timedelta(seconds=int((now - tick).total_seconds()))
        return span, f"the run that was due at {_minute(tick)} is {late} late, and catch_up is none"
    if any(row.span == span.name and row.started >= tick for row in rows):
        return span, f"the run that was due at {_minute(tick)} has been made"
    return span, ""


def _missed(
    ticks: Ticks, rows: list[Row], newest: Callable[[datetime], Span], now: datetime, since: datetime | None
) -> Span | None:
    """Return the oldest span, newer than any that was tried, whose tick has passed; None if there is none."""
    tried = max((row.span for row in rows), default="")
    if not tried:
        return None
    counted = takewhile(lambda tick: not since or tick > since, islice(ticks.until(now), _MOST))
    spans = (newest(tick) for tick in counted)
    return min(takewhile(lambda span: span.name > tried, spans), default=None)


def _tolerance(ticks: Ticks, tick: datetime) -> timedelta:
    following = next(ticks.after(tick), None)
    return min(_LATE, (following - tick) / 2) if following else _LATE


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
