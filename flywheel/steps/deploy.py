"""Deploy: put the champion in service."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NoReturn

from flywheel.errors import ServingError
from flywheel.ledger import Champion, Ledger
from flywheel.ledger.registry import move_back, promoting, rolled_back, version_of
from flywheel.say import say
from flywheel.serving.targets import Order, Placed, open_target

PRELOAD = ("flywheel.ledger.engine", "flywheel.serving.targets.local", "flywheel.serving.targets.report")
REPORT = "deployment.html"
_TAKEN_BACK = "was taken back by its deployment: "


class TakenBack(ServingError):
    """A version was in service and did not do as well as it has to: look at the report of its deployment."""


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
        TakenBack: The target judged the version and took it back. What was in service before stays so, and is champion
            again; the row says `kept-champion`.
        ServingError: Another version is champion by now; the target cannot be used, or its disk is full. What was in
            service before stays so.
        LedgerError: There is no such version, or no ledger.
    """
    book = ledger if isinstance(ledger, Ledger) else Ledger(ledger)
    chosen = version_of(book.client, name, version)
    where = open_target(target, name)
    _refuse_taken_back(book, chosen, run)
    order = Order.of(chosen, book)
    placed = where.put(order)
    _record(book, run, order, placed, report)
    if not placed.verdict.ok:
        standing = where.current()
        _move_back(book, chosen, standing.version if standing else "", placed.verdict.why, run)
    book.note(run, endpoint=placed.endpoint)
    say(f"version {version} of {name} is in service {'now' if placed.changed else 'already'}, in {placed.endpoint}")
    return placed.endpoint


def _move_back(book: Ledger, refused: Champion, standing: str, why: str, run: str) -> NoReturn:
    """Make the version that is still in service champion again, and say so in the row of `run`.

    The alias moves first: who is killed before the row is written finds the version marked as taken back.
    """
    name, version = refused.name, refused.version
    if standing in ("", version):
        raise TakenBack(
            f"version {version} of {name} was taken back: {why}",
            f"{REPORT} beside run {run} of the ledger shows all of it; there is no former version to go back to. "
            "Running again tries once more.",
        )
    with promoting(book.client, name, run, clock=book.clock) as still_ours:
        champion = book.champion(name)
        if champion and champion.version == version:
            still_ours()
            move_back(book.client, name, standing, f"{_TAKEN_BACK}{why}")
    _refuse_taken_back(book, refused, run)
    raise ServingError(f"version {version} of {name} was taken back: {why}", "another version is champion by now.")


def _refuse_taken_back(book: Ledger, chosen: Champion, run: str) -> None:
    """Raise if a deployment took this version back, and nobody has made it champion again since."""
    why, champion = rolled_back(book.client, chosen.name, chosen.version), book.champion(chosen.name)
    if not why.startswith(_TAKEN_BACK) or champion is None or champion.version == chosen.version:
        return
    said = f"version {chosen.version} {why}; version {champion.version} is champion"
    with promoting(book.client, chosen.name, run, clock=book.clock):  # ends with a lock that a killed one left, too
        if book.row(run).outcome == "promoted":
            book.settle(run, "kept-champion", said, version=chosen.version)
    raise TakenBack(
        f"{chosen.name}: {said}",
        f"{REPORT} beside run {run} of the ledger shows all of it; `flywheel promote {chosen.version} --reason …` "
        "tries once more.",
    )


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
