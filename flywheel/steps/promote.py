"""Promote: make the model a version of the registry, and the champion."""

from __future__ import annotations

import time
from collections.abc import Callable

from flywheel.artifacts import Model
from flywheel.errors import LedgerError
from flywheel.ledger import Champion, Ledger
from flywheel.ledger.registry import find_version, move_champion, promoting, register
from flywheel.say import say

PRELOAD = ("flywheel.ledger.engine",)


def promote(
    model: Model,
    name: str,
    span: str,
    ledger: str | Ledger,
    run: str,
    *,
    patience: float = 30.0,
    sleep: Callable[[float], object] = time.sleep,
) -> str:
    """Register the model, move the alias `champion` to it and `previous` to the former; return its version.

    Promoting the same run again gives the same version and changes nothing; killed between any two of its writes and
    run again, it ends where it would have ended. The champion only ever moves forward in span.

    Args:
        model: The candidate that passed every gate.
        name: Name of the flywheel, and of the registered model.
        span: Name of the run's span.
        ledger: MLflow tracking URI, or the ledger itself.
        run: The run's row in the ledger.
        patience: Seconds to wait while another promotion is under way.
        sleep: Waits for so many seconds.

    Raises:
        LedgerError: The champion is of this span or a later one; another promotion does not end; no ledger.
    """
    book = ledger if isinstance(ledger, Ledger) else Ledger(ledger)
    champion = book.champion(name)
    _refuse_backward(book, champion, name, span, run, model.digest)
    source = _uploaded(book, model, run)  # outside the lock: it is the only part that takes time
    with promoting(book.client, name, run, patience=patience, clock=book.clock, sleep=sleep) as still_ours:
        champion = book.champion(name)
        _refuse_backward(book, champion, name, span, run, model.digest)
        digest = model.digest
        if champion and _stands(book, champion, span, run, model.digest):
            version, digest = champion.version, champion.digest
        else:
            version = find_version(book.client, name, run, model.digest) or register(
                book.client, name, source, run, {"span": span, "digest": model.digest}
            )
            still_ours()
            move_champion(book.client, name, version)
    book.settle(run, "promoted", f"version {version} is champion", version=version, model=digest)
    say(f"version {version} of {name} is champion, for span {span}")
    return version


def _stands(book: Ledger, champion: Champion, span: str, run: str, digest: str) -> bool:
    """Whether the champion is already what this run is to promote.

    So it is when it is the same model, by this run's own hand or of the same span; and when it was promoted for the
    same span by a run that failed afterwards: that one's promotion stands, and this run finishes what it left.
    """
    if champion.digest == digest:
        return champion.run == run or champion.span == span
    return champion.span == span and champion.run not in ("", run) and book.row(champion.run).failed


def _refuse_backward(book: Ledger, champion: Champion | None, name: str, span: str, run: str, digest: str) -> None:
    if champion and span <= champion.span and not _stands(book, champion, span, run, digest):
        raise LedgerError(
            f"{name} is not promoted for span {span!r}: its champion, version {champion.version}, is of span "
            f"{champion.span!r} already",
            "the champion only moves forward; run a later span.",
        )


def _uploaded(book: Ledger, model: Model, run: str) -> str:
    """Copy the model to the run's artifacts, under its digest so that no other is ever overwritten; return its URI."""
    path = f"model-{model.digest.removeprefix('sha256:')[:16]}"
    book.client.log_artifacts(run, str(model.path), path)
    return f"{book.client.get_run(run).info.artifact_uri}/{path}"
