"""Challenge: an undecided candidate becomes the challenger, and the same model is judged again on later spans."""

from __future__ import annotations

import time
from collections.abc import Callable

from flywheel.artifacts import Model
from flywheel.ledger import Challenger, Ledger, challengers
from flywheel.ledger.registry import promoting, registered
from flywheel.say import say
from flywheel.steps.promote import uploaded

PRELOAD = ("flywheel.ledger.engine",)


def challenge(
    model: Model,
    name: str,
    span: str,
    ledger: str | Ledger,
    run: str,
    spans: int,
    *,
    patience: float = 30.0,
    sleep: Callable[[float], object] = time.sleep,
) -> str:
    """Register an undecided candidate as the challenger and return its version; empty when another one is judged first.

    There is one challenger at a time: each new candidate would else begin anew, and none was ever decided. One that
    would take far more spans than a run reads does not become it, as it would keep the place for nothing. The same run
    doing it again changes nothing. The row's outcome stays what the gate made it, and says what follows.

    Args:
        model: The candidate that the model gate left undecided.
        name: Name of the flywheel, and of the registered model.
        span: Name of the run's span.
        ledger: MLflow tracking URI, or the ledger itself.
        run: The run's row in the ledger, with the verdict.
        spans: How many spans a run has: no more can judge at once.
        patience: Seconds to wait while a promotion is under way.
        sleep: Waits for so many seconds.

    Raises:
        LedgerError: The row has no verdict of the model gate; a promotion does not end; no ledger.
    """
    book = ledger if isinstance(ledger, Ledger) else Ledger(ledger)
    look = book.verdict(run, "model").facts["look"]
    if far := challengers.too_far(look, spans):
        return _kept(book, run, "", f"it is not kept as challenger: {far}")
    look |= {"more": min(look["more"], spans - look["spans"]), "span": span, "found": "undecided"}
    source = uploaded(book, model, run)  # outside the lock: it takes time
    with promoting(book.client, name, run, patience=patience, clock=book.clock, sleep=sleep):
        champion, row = book.champion(name), book.row(run)
        known = book.challenger(name)
        against = champion.version if champion else ""
        if against != row.tags.get("flywheel.champion", ""):
            return _kept(book, run, "", "the champion is another one by now")
        if known and known.version.digest != model.digest and _first(known, span):
            said = f"version {known.version.version} of {known.version.span} is challenger already, and decided first"
            return _kept(book, run, "", said)
        version = registered(book.client, name, source, run, span, model.digest)
        after = max(row.trained_until, book.trained_until(champion))
        challengers.enter(book.client, name, version, against, after, look)
        needs = f"judged again with {look['spans'] + look['more']} spans after {after}"
        return _kept(book, run, version, f"version {version} stays challenger, {needs}", model.digest)


def _first(known: Challenger, span: str) -> bool:
    return known.waits and known.version.span <= span


def _kept(book: Ledger, run: str, version: str, said: str, digest: str = "") -> str:
    why = book.row(run).decisions["model"].why
    notes = {"version": version, "model": digest} if version else {}
    book.settle(run, "kept-champion", f"{why}; {said}", **notes)
    say(said)
    return version
