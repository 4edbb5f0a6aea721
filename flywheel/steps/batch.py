"""Batch: score the rows of a span with the champion, and write them to a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.errors import LedgerError, ServingError
from flywheel.ledger import Ledger
from flywheel.serving.targets import Order, open_target
from flywheel.spans import Span

if TYPE_CHECKING:
    from flywheel.serving.targets import Placed
    from flywheel.serving.targets.batch import Target

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
    where = table_of(target, name)
    order = Order.of(champion, book)
    placed = where.score(order, Span.parse(span, where.every), again=again)
    write_report(report, order, placed)
    if not placed.verdict.ok:
        raise ServingError(f"{placed.verdict.why}; the table is as it was", placed.checks[0].remedy)
    return placed


def table_of(target: str, name: str) -> Target:
    """Return the table that is scored into.

    Raises:
        ServingError: The target is another one.
    """
    from flywheel.serving.targets.batch import Target

    where = open_target(target, name)
    if not isinstance(where, Target):
        raise ServingError("this target scores no tables", "give `deploy: {target: batch, into: …}`.")
    return where


def write_report(file: str | Path | None, order: Order, placed: Placed) -> None:
    """Write the report; what was judged is not written over by a word that it was scored before."""
    from flywheel.serving.targets.report import render

    if file is not None and (placed.checks or not Path(file).exists()):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(render(order.deployment, placed))
