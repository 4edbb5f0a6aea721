"""Conclude: close the run's row in the ledger, however the run went."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any, cast

from flywheel.config import Notify
from flywheel.ledger import DONE, MONITOR, MONITORED, Ledger, Outcome, Row
from flywheel.ledger.rows import KEPT_BACK_BY, LEDGER
from flywheel.monitoring.metrics import publish
from flywheel.monitoring.notify import notify, state_of
from flywheel.say import say

_LONGEST = 500
PRELOAD = ("flywheel.ledger.engine",)


def conclude(
    name: str, ledger: str, job: str, state: str, error: str, notices: Mapping[str, Any] | None = None
) -> Row | None:
    """Give the row of `job` its outcome, if it has none yet, close it and return it; None when it opened no row.

    An outcome that stands is never lost: when a run fails after its promotion, it was promoted all the same, and what
    failed is noted beside it.

    Args:
        name: Name of the flywheel.
        ledger: MLflow tracking URI.
        job: Identity of this pipeline run.
        state: How the rest of the pipeline ended: `SUCCEEDED`, `FAILED` or `CANCELLED`.
        error: The error message of what failed; empty when nothing did.
        notices: `notify` of flywheel.yaml, and `kind` of the pipeline, `ledger` or `monitor`: who is told when the
            state has changed. Failing to tell is said, and fails nothing.

    Raises:
        LedgerError: The ledger cannot be reached.
    """
    book = Ledger(ledger)
    row = book.find(name, job) or book.find(name, job, MONITOR)
    ok = state == "SUCCEEDED"
    why = _in_one_line(error) if state != "CANCELLED" else "interrupted"
    if row is None:
        say(f"nothing to close: this run opened no row for {name}")
        if state == "FAILED":
            _tell(book, notices, {"name": name, "state": "failed", "span": "", "why": why, "job": job})
        return None
    stands = row.outcome in (*DONE, *MONITORED)
    if not stands:
        book.settle(row.run, *_outcome(row, ok, why))
        row = book.row(row.run)
    if dropped := _dropped(row):
        book.settle(row.run, *dropped)
    book.close(row.run, ok=ok, unfinished=why if stands and not ok else "")
    closed = book.row(row.run)
    said = closed.unfinished or closed.why
    say(f"span {closed.span}: {closed.outcome} ({said})")
    settings, kind = _notices(notices)
    if settings.metrics:
        publish(settings.metrics, name, kind, closed, book.champion(name))
    if state != "CANCELLED":
        now = state_of(closed.outcome or "failed", closed.unfinished or "")
        _tell(book, notices, {"name": name, "state": now, "span": closed.span, "why": said, "job": job})
    return closed


def _tell(book: Ledger, notices: Mapping[str, Any] | None, news: Mapping[str, str]) -> None:
    settings, kind = _notices(notices)
    if settings.channels and (names := notify(book, settings, kind, news)):
        say(f"told {', '.join(names)}: {news['state']}")


def _notices(notices: Mapping[str, Any] | None) -> tuple[Notify, str]:
    told = dict(notices or {})
    kind = str(told.pop("kind", LEDGER))
    return Notify.model_validate(told), kind


def _outcome(row: Row, ok: bool, error: str) -> tuple[Outcome, str]:
    if not ok:
        return "failed", error
    for gate, outcome in KEPT_BACK_BY.items():
        if gate in row.decisions and not row.decisions[gate].ok:
            return outcome, row.decisions[gate].why
    return "not-needed", "the run ended without a decision"


def _dropped(row: Row) -> tuple[Outcome, str] | None:
    """Return the outcome with what became of a challenger that this run gave up; None where it gave up none."""
    if "challenger" not in row.decisions or row.outcome is None:
        return None
    said, facts = row.decisions["challenger"], row.challenger
    if said.ok or (facts.get("look") or {}).get("more") is not None:
        return None
    told = f"version {facts.get('version', '?')} of {facts.get('span', '?')} is challenger no longer: {said.why}"
    return None if told in row.why else (cast(Outcome, row.outcome), f"{row.why}; {told}")


def _in_one_line(error: str) -> str:
    """Return an error with what to do about it; of a long one, as much as a table takes."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return textwrap.shorten("; ".join(lines), _LONGEST, placeholder=" …") or "failed without a message"
