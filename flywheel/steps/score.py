"""Score: keep a table of predictions up to date, whether a version was promoted or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from flywheel.errors import ServingError
from flywheel.ledger import Ledger
from flywheel.say import say
from flywheel.serving.rows import NotArrived
from flywheel.serving.targets import Order
from flywheel.spans import Span
from flywheel.steps.batch import table_of, write_report

_CHAMPIONS = 5  # that may follow one another while a span is scored
PRELOAD = ("flywheel.steps.batch",)


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
    book, where = ledger if isinstance(ledger, Ledger) else Ledger(ledger), table_of(target, name)
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
    write_report(report, order, placed)
    if run and placed.checks:
        book.record(run, replace(placed.verdict, gate="score"))
    if not placed.verdict.ok:
        say(f"{span} is not scored: {placed.verdict.why}; {placed.checks[0].remedy}")
        return ""
    return placed.endpoint
