"""Batch and score: score the rows of a span with the champion, and write them to a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.errors import LedgerError, ServingError
from flywheel.ledger import Ledger
from flywheel.say import say
from flywheel.serving.rows import NotArrived
from flywheel.serving.targets import Order, open_target
from flywheel.spans import Span

if TYPE_CHECKING:
    from flywheel.serving.targets import Placed
    from flywheel.serving.targets.batch import Target

_CHAMPIONS = 5  # that may follow one another while a span is scored
PRELOAD = ("apache_beam", "flywheel.ledger.engine", "pyarrow.parquet")


def batch(
    name: str,
    span: str,
    target: str,
    ledger: str | Ledger,
    report: str | Path | None = None,
    *,
    again: bool = False,
) -> Placed:
    """Score a span by the champion and return what came of it; doing so twice changes nothing.

    Args:
        name: Name of the flywheel, and of the registered model.
        span: Name of the span.
        target: `deploy` of flywheel.yaml as JSON, as `Workspace.target` gives it; its target is `batch`.
        ledger: MLflow tracking URI, or the ledger itself.
        report: File that the report is written to.
        again: Whether a span is scored again that this version has scored: rows that came late are among it then.

    Raises:
        LedgerError: There is no champion.
        ServingError: The target is another one; too many rows cannot be scored, and the table is as it was.
        NotArrived: The span has no rows.
    """
    book = ledger if isinstance(ledger, Ledger) else Ledger(ledger)
    champion = book.champion(name)
    if champion is None:
        raise LedgerError(f"{name} has no champion to score with", "`flywheel run` makes one.")
    where = _table(target, name)
    order = Order.of(champion, book)
    placed = where.score(order, Span.parse(span, where.every), again=again)
    _report(report, order, placed)
    if not placed.verdict.ok:
        raise ServingError(f"{placed.verdict.why}; the table is as it was", placed.checks[0].remedy)
    return placed


def score(
    name: str,
    span: str,
    target: str,
    ledger: str | Ledger,
    report: str | Path | None = None,
    *,
    run: str = "",
    outcome: str = "",
) -> str:
    """Score a run's span by who is champion now, and return where the predictions are; empty when there are none.

    A span that the table has is left as it is, whichever version scored it: a version that is promoted scores its span
    anew when it is deployed. That there is no champion yet, or that the span's rows have not arrived, is no failure.

    Args:
        name: Name of the flywheel, and of the registered model.
        span: Name of the span, as `plan` returned it.
        target: `deploy` of flywheel.yaml as JSON, as `Workspace.target` gives it; its target is `batch`.
        ledger: MLflow tracking URI, or the ledger itself.
        report: File that the report is written to, when something is scored.
        run: The run's row in the ledger, that the verdict goes to; none without.
        outcome: As `plan` returned it: nothing is scored of a span that is `not-ready`.

    Raises:
        ServingError: The target is another one, or champions follow one another faster than a span is scored.
    """
    book, where = ledger if isinstance(ledger, Ledger) else Ledger(ledger), _table(target, name)
    part = Span.parse(span, where.every)
    if outcome == "not-ready":
        say(f"{span} is not scored: its data has not arrived")
        return ""
    for left in reversed(range(_CHAMPIONS)):
        if done := where.versions(part):
            say(f"{span} is scored already, by version {' and '.join(sorted(done))}")
            return where.endpoint
        champion = book.champion(name)
        if champion is None:
            say(f"{span} is not scored: {name} has no champion yet")
            return ""
        order = Order.of(champion, book)
        try:
            placed = where.score(order, part)
        except NotArrived as lacking:
            say(f"{span} is not scored: {lacking.message}")
            return ""
        except ServingError:
            if left and book.champion(name) != champion:
                continue  # another version became champion meanwhile: by that one, then
            raise
        break
    _report(report, order, placed)
    if run and placed.checks:
        book.record(run, replace(placed.verdict, gate="score"))
    if not placed.verdict.ok:
        say(f"{span} is not scored: {placed.verdict.why}; {placed.checks[0].remedy}")
        return ""
    return placed.endpoint


def _table(target: str, name: str) -> Target:
    """Return the table that is scored into.

    Raises:
        ServingError: The target is another one.
    """
    from flywheel.serving.targets.batch import Target

    where = open_target(target, name)
    if not isinstance(where, Target):
        raise ServingError("this target scores no tables", "give `deploy: {target: batch, into: …}`.")
    return where


def _report(file: str | Path | None, order: Order, placed: Placed) -> None:
    """Write the report; what was judged is not written over by a word that it was scored before."""
    from flywheel.serving.targets.report import render

    if file is not None and (placed.checks or not Path(file).exists()):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(render(order.deployment, placed))
