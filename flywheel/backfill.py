"""A backfill: one span after another with the champion handed on; safe to stop, and to go on with the same command."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flywheel.ahead import Ahead, sort_out
from flywheel.alone import alone
from flywheel.errors import ConfigError, LedgerError
from flywheel.ledger import Ledger, Row
from flywheel.ledger.bad import known_bad
from flywheel.spans import Span

if TYPE_CHECKING:
    from flywheel.local import Flywheel

PATIENCE = 600.0
"""Seconds to wait for a ledger that does not answer."""
_MOST = 10_000


@dataclass
class Progress:
    """How far a backfill is.

    Attributes:
        total: Spans from the first to the last.
        skipped: Those that were done before.
        rows: What became of those that were run, in order.
        seconds: How long each took.
    """

    total: int
    skipped: int = 0
    rows: list[Row] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Spans that are still to be run."""
        return self.total - self.skipped - len(self.rows)

    @property
    def remaining(self) -> float | None:
        """Seconds that the rest takes, by the last ten spans; None before one is known."""
        recent = self.seconds[-10:]
        return self.left * sum(recent) / len(recent) if recent else None


def spans_between(first: Span, last: Span) -> list[str]:
    """Return the names of the spans from `first` to `last`.

    Raises:
        ConfigError: The last comes before the first, or they are very many.
    """
    if last < first:
        raise ConfigError(f"--to {last} comes before --from {first}", "give the earlier span to --from.")
    found = [first]
    while found[-1] < last:
        if len(found) >= _MOST:
            raise ConfigError(f"more than {_MOST:,} spans from {first} to {last}", "backfill them part by part.")
        found.append(found[-1].shift(1))
    return [span.name for span in found]


def backfill(
    flywheel: Flywheel,
    ledger: Ledger,
    spans: Sequence[str],
    ahead: Ahead,
    told: Callable[[Progress, Row | None, str], None],
    *,
    patience: float = PATIENCE,
    sleep: Callable[[float], object] = time.sleep,
) -> Progress:
    """Run `spans` in order and return what became of them; the first that fails, or is not ready, ends it.

    Spans that are done, or older than the champion's, are left out without a run. A span that failed because the ledger
    did not answer is run again once it does.

    Args:
        flywheel: Whose.
        ledger: Its ledger.
        spans: Names, oldest first.
        ahead: Prepares later spans meanwhile.
        told: Called with the progress, the row of a span that ended, or none, and a sentence.
        patience: Seconds to wait for a ledger that does not answer.
        sleep: Waits for so many seconds.

    Raises:
        LedgerError: It still does not answer after `patience`.
        ConfigError: Another backfill of this folder is under way.
    """
    progress, name = Progress(len(spans)), flywheel.workspace.project.name
    with _alone(flywheel), _sorted_out(ledger, name, progress), ahead:
        todo = _todo(flywheel, ledger, spans)
        progress.skipped = len(spans) - len(todo)
        if progress.skipped:
            told(
                progress,
                None,
                f"{progress.skipped} of {len(spans)} spans are done already, or older than the champion's",
            )
        for span in todo:
            ahead.begun(span, functools.partial(_bad, ledger, name, span))
            started = time.monotonic()
            row = flywheel.run(span)
            while row.failed and _waited(ledger, patience, sleep, lambda why: told(progress, None, why)):
                row = flywheel.run(span)
            if row.done and row.run:
                sort_out(ledger, name, [span], flywheel.trained)
            progress.rows.append(row)
            progress.seconds.append(time.monotonic() - started)
            told(progress, row, "")
            if row.failed or row.outcome == "not-ready":
                break
    return progress


@contextmanager
def _sorted_out(ledger: Ledger, name: str, progress: Progress) -> Iterator[None]:
    """Leave no training of a span that is done behind: the helper may have been at one that the gate then rejected."""
    try:
        yield
    finally:
        with suppress(LedgerError):  # a training that stays marked does no harm
            if done := {row.span for row in progress.rows if row.done}:
                sort_out(ledger, name, done)


def _todo(flywheel: Flywheel, ledger: Ledger, spans: Sequence[str]) -> list[str]:
    """Return the spans that are left; a rejected one is looked at again by `plan`, if anything has changed."""
    name = flywheel.workspace.project.name
    champion = ledger.champion(name)
    rows = ledger.rows(name)
    done = {row.span for row in rows if row.done and row.outcome != "data-rejected"}
    since = champion.span if champion else ""
    return [span for span in spans if span not in done and span >= since]


def _bad(ledger: Ledger, name: str, span: str) -> Collection[str] | None:
    """Return the spans that are known as bad by now, None while the ledger does not answer."""
    try:
        return known_bad(ledger, name, span)
    except LedgerError:
        return None


def _waited(ledger: Ledger, patience: float, sleep: Callable[[float], object], told: Callable[[str], None]) -> bool:
    """Return whether the ledger was down and answers now; false when it was not the ledger.

    Raises:
        LedgerError: It does not answer after `patience`.
    """
    waited, pause = 0.0, 2.0
    while True:
        try:
            ledger.client.search_experiments(max_results=1)
            return waited > 0
        except LedgerError as error:
            if waited >= patience:
                raise LedgerError(
                    error.message, "mend that, then give the same command: it goes on from here."
                ) from error
            told(f"waiting for the ledger: {error.message}")
        sleep(pause)
        waited, pause = waited + pause, min(pause * 2, 30.0)


def _alone(flywheel: Flywheel) -> AbstractContextManager[None]:
    """Hold the folder's backfill for this process.

    Raises:
        ConfigError: Another process has it.
    """

    def refuse(who: str) -> None:
        folder = flywheel.workspace.folder
        raise ConfigError(f"a backfill of {folder} is under way ({who})", "wait for it, or stop it.")

    return alone(flywheel.workspace.state / "backfill.lock", refuse)
