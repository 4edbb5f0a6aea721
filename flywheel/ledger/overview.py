"""How one flywheel is doing, for a board of many: health, freshness, champion, figures over its last spans, spend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Literal

from flywheel.ledger.timeline import changes

if TYPE_CHECKING:
    from flywheel.ledger import Act, Ledger, Row

LAST = 30
"""Runs that are looked at."""
_LATE = 3.0
Health = Literal["fail", "warn", "pass"]


@dataclass(frozen=True)
class Overview:
    """How one flywheel is doing.

    Attributes:
        name: Its name.
        folder: Its folder, as it was found.
        health: `fail`: the last run failed, or the ledger cannot be read; `warn`: somebody ought to look; `pass`.
        why: Why, in a sentence.
        span: The newest span that was run.
        ran: When the last run began (UTC).
        champion: Version in service; empty when there is none.
        champion_span: The span that it was made for.
        since: When it became champion (UTC).
        metric: What `quality` is, as `auc`.
        quality: By span, oldest first, what the model in service scored on the newest rows; NaN where none was judged.
        drift: By span, the share of columns that moved by more than 0.1 since the span before, as the data gate
            measures it; NaN where it did not look.
        outcomes: By span, what became of each run.
        seconds: What the last 30 days of runs took.
        cost: What that cost; None without `hourly_cost`.
    """

    name: str
    folder: str
    health: Health
    why: str
    span: str = ""
    ran: datetime | None = None
    champion: str = ""
    champion_span: str = ""
    since: datetime | None = None
    metric: str = ""
    quality: list[tuple[str, float]] = field(default_factory=list)
    drift: list[tuple[str, float]] = field(default_factory=list)
    outcomes: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    cost: float | None = None


def overview(ledger: Ledger, name: str, folder: str, now: datetime, hourly: float | None = None) -> Overview:
    """Return how flywheel `name` is doing.

    Args:
        ledger: Its ledger.
        name: Its name.
        folder: Its folder, to tell it from others.
        now: The time, with its zone.
        hourly: What an hour of a run costs.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    rows, acts = ledger.rows(name), ledger.acts(name)
    if not rows:
        return Overview(name, folder, "warn", "it has not run yet")
    champion, last = ledger.champion(name), rows[-1]
    became = [change for change in changes(rows, acts) if champion and change.version == champion.version]
    shown = rows[-LAST:]
    health, why = _health(rows, acts, champion is not None, now)
    recent = [row.seconds or 0.0 for row in rows if row.started > now - timedelta(days=30)]
    return Overview(
        name=name,
        folder=folder,
        health=health,
        why=why,
        span=max(row.span for row in rows),
        ran=last.started,
        champion=champion.version if champion else "",
        champion_span=champion.span if champion else "",
        since=became[-1].at if became else None,
        metric=next((row.metric for row in reversed(rows) if row.metric), ""),
        quality=[(row.span, math.nan if row.served is None else row.served) for row in shown],
        drift=[(row.span, _drift(row)) for row in shown],
        outcomes=[(row.span, row.outcome or row.status) for row in shown],
        seconds=sum(recent),
        cost=None if hourly is None else sum(recent) / 3600 * hourly,
    )


def _health(rows: Sequence[Row], acts: Sequence[Act], has_champion: bool, now: datetime) -> tuple[Health, str]:
    last = rows[-1]
    if last.failed:
        return "fail", last.unfinished or last.why
    if last.outcome == "data-rejected":
        return "fail", f"data of {last.span} was rejected: {last.why}"
    frozen = [act for act in acts if act.kind in ("freeze", "unfreeze") and act.finished]
    if frozen and frozen[-1].kind == "freeze":
        return "warn", str(frozen[-1])
    if last.outcome == "awaiting-approval":
        return "warn", last.why
    if not has_champion:
        return "warn", "no model was ever promoted"
    usual = _usual(rows)
    if usual and (now - last.started).total_seconds() > _LATE * usual:
        return (
            "warn",
            f"no run for {long(now - last.started)}; usually one comes every {long(timedelta(seconds=usual))}",
        )
    return "pass", last.why


def _usual(rows: Sequence[Row]) -> float:
    """Return the usual time from one run to the next in seconds; 0 while too few are known, or they came in one go."""
    steps = [(later.started - earlier.started).total_seconds() for earlier, later in pairwise(rows[-LAST:])]
    return median(steps) if len(steps) >= 3 and median(steps) >= 3600 else 0.0


def _drift(row: Row) -> float:
    moved = row.decisions["data"].facts.get("drift") if "data" in row.decisions else None
    if not isinstance(moved, dict) or not moved:
        return math.nan
    return sum(float(value) > 0.1 for value in moved.values()) / len(moved)


def long(time: timedelta) -> str:
    """Return a length of time as people say it.

    >>> long(timedelta(hours=50)), long(timedelta(minutes=3))
    ('2.1 d', '3.0 min')
    """
    seconds = max(time.total_seconds(), 0.0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
