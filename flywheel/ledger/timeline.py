"""Which version was in service when: read off the ledger's rows and what people did by hand, in the order of events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flywheel.ledger.acts import Act
from flywheel.ledger.rows import Row


@dataclass(frozen=True)
class Change:
    """A version became champion.

    Attributes:
        at: When (UTC).
        version: Which.
        by: `run`, or what a person did: `promote`, `approve`, `rollback`.
        row: The row's run, of a promotion by a run.
        who: The person; empty for a run.
        reason: Why.
    """

    at: datetime
    version: str
    by: str
    row: str = ""
    who: str = ""
    reason: str = ""


def changes(rows: Sequence[Row], acts: Sequence[Act]) -> list[Change]:
    """Return the changes of champion, oldest first.

    A row whose version waited for a person was not the one that promoted it: that was the act.
    """
    by_hand = [act for act in acts if act.version and act.finished]
    handed = {act.version for act in by_hand if act.kind in ("approve", "promote")}
    promoted = [row for row in rows if row.outcome == "promoted" and row.version and row.version not in handed]
    found = [Change(ended(row), row.version or "", "run", row=row.run, reason=row.why) for row in promoted]
    found += [Change(act.at, act.version, act.kind, who=act.who, reason=act.reason) for act in by_hand]
    return sorted(found, key=lambda change: change.at)


def champions_after(rows: Sequence[Row], acts: Sequence[Act]) -> dict[str, str]:
    """Return, by run, the version in service when each row was closed; none for rows that are open or came before."""
    history, after = changes(rows, acts), {}
    for row in rows:
        if row.seconds is not None:
            known = [change.version for change in history if change.at <= ended(row)]
            after[row.run] = known[-1] if known else ""
    return after


def reigns(history: Sequence[Change]) -> Iterator[tuple[Change, datetime | None]]:
    """Yield each change with the time until which its version was champion; None for the one that still is."""
    kept = [change for n, change in enumerate(history) if n == 0 or change.version != history[n - 1].version]
    for change, following in zip(kept, [*kept[1:], None], strict=True):
        yield change, following.at if following else None


def ended(row: Row) -> datetime:
    """Return when a row was closed, or when it was opened while it is open."""
    return row.started + timedelta(seconds=row.seconds or 0.0)
