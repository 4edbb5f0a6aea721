"""Deploy: put the champion in service."""

from __future__ import annotations

import tempfile
from pathlib import Path

from flywheel.errors import ServingError
from flywheel.ledger import Ledger
from flywheel.ledger.registry import version_of
from flywheel.say import say
from flywheel.serving.targets import Order, Placed, open_target

PRELOAD = ("flywheel.ledger.engine",)
REPORT = "deployment.html"


def deploy(
    name: str, version: str, target: str, ledger: str | Ledger, run: str, report: str | Path | None = None
) -> str:
    """Put a version of the registry in service at `target` and return where; doing so twice changes nothing.

    Args:
        name: Name of the flywheel, and of the registered model.
        version: Version to serve.
        target: Path or file:// URI of the folder that `flywheel serve` watches, or `deploy` of flywheel.yaml as JSON,
            as `Workspace.target` gives it.
        ledger: MLflow tracking URI, or the ledger itself.
        run: The run's row in the ledger, that the endpoint goes to; and the report, when the target judged something.
        report: File that the report is written to as well.

    Raises:
        ServingError: Another version is champion by now; the target judged the version and took it back; the target
            cannot be used, or its disk is full. What was in service before stays so.
        LedgerError: There is no such version, or no ledger.
    """
    book = ledger if isinstance(ledger, Ledger) else Ledger(ledger)
    chosen = version_of(book.client, name, version)
    where = open_target(target, name)
    source = book.client.get_model_version_download_uri(name, version)
    order = Order(chosen, source, lambda into: book.client.download(source, into), lambda: book.champion(name))
    placed = where.put(order)
    _record(book, run, order, placed, report)
    if not placed.verdict.ok:
        raise ServingError(
            f"version {version} of {name} was taken back: {placed.verdict.why}",
            f"{REPORT} beside run {run} of the ledger shows all of it; `flywheel rollback` makes the former version "
            "champion again, running again tries once more.",
        )
    book.note(run, endpoint=placed.endpoint)
    say(f"version {version} of {name} is in service {'now' if placed.changed else 'already'}, in {placed.endpoint}")
    return placed.endpoint


def _record(book: Ledger, run: str, order: Order, placed: Placed, report: str | Path | None) -> None:
    """Write the report, and leave it with the verdict in the ledger if there was something to judge."""
    if not placed.checks and report is None:
        return
    from flywheel.serving.targets.report import render

    html = render(order.deployment, placed)
    if report is not None:
        Path(report).parent.mkdir(parents=True, exist_ok=True)
        Path(report).write_text(html)
    if placed.checks:
        book.record(run, placed.verdict)
        with tempfile.TemporaryDirectory() as folder:
            kept = Path(folder, REPORT)
            kept.write_text(html)
            book.keep(run, kept)
