"""Promote: make the model a version of the registry, and the champion."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from flywheel.artifacts import Model
from flywheel.errors import LedgerError
from flywheel.ledger import Challenger, Champion, Ledger
from flywheel.ledger.challengers import read
from flywheel.ledger.registry import move_champion, overtake, promoting, registered, rolled_back, version_of
from flywheel.say import say

PRELOAD = ("flywheel.ledger.engine",)


class Promotion(NamedTuple):
    """What became of the model.

    Attributes:
        version: The registered version that it is.
        champion: Whether that version is the champion now; not while a person has to approve it, or has frozen the
            flywheel.
    """

    version: str
    champion: bool


def promote(
    model: Model | str,
    name: str,
    span: str,
    ledger: str | Ledger,
    run: str,
    *,
    approval: bool = False,
    patience: float = 30.0,
    sleep: Callable[[float], object] = time.sleep,
) -> Promotion:
    """Register the model, move the alias `champion` to it and `previous` to the former; return its version.

    Promoting the same run again gives the same version and changes nothing; killed between any two of its writes and
    run again, it ends where it would have ended. The champion only ever moves forward in span. Where a person has to
    approve, or has frozen the flywheel, the model is registered and the aliases stay where they are.

    Args:
        model: The candidate that passed every gate; or the number of a version that is registered already, of a
            challenger that does by now, and keeps the span that it was made for.
        name: Name of the flywheel, and of the registered model.
        span: Name of the run's span.
        ledger: MLflow tracking URI, or the ledger itself.
        run: The run's row in the ledger.
        approval: Whether a person has to approve each promotion, by `flywheel approve`.
        patience: Seconds to wait while another promotion is under way.
        sleep: Waits for so many seconds.

    Raises:
        LedgerError: The champion is of this span or a later one; this version was rolled back; another promotion does
            not end; another job has taken the span over; no ledger.
    """
    book = ledger if isinstance(ledger, Ledger) else Ledger(ledger)
    made = version_of(book.client, name, model) if isinstance(model, str) else None
    span, digest = (made.span, made.digest) if made else (span, model.digest)  # type: ignore[union-attr]
    _refuse_backward(book, book.champion(name), name, span, run, digest)
    source = uploaded(book, model, run) if isinstance(model, Model) else ""  # outside the lock: it takes time
    with promoting(book.client, name, run, patience=patience, clock=book.clock, sleep=sleep) as still_ours:
        book.refuse_taken_over(run)
        champion = book.champion(name)
        _refuse_backward(book, champion, name, span, run, digest)
        if champion and _stands(book, champion, span, run, digest):
            overtake(book.client, name)
            return _promoted(book, name, span, run, champion.version, champion.digest)
        version = made.version if made else registered(book.client, name, source, run, span, digest)
        if why := rolled_back(book.client, name, version):
            raise LedgerError(
                f"version {version} of {name} was rolled back: {why}",
                f"run a later span, or bring it back: flywheel promote {version} --reason …",
            )
        if frozen := book.frozen(name):
            why = f"{frozen}; version {version} passed every gate and waits for `flywheel promote {version}`"
            book.settle(run, "kept-champion", why, version=version, model=digest)
        elif approval:
            why = f"version {version} passed every gate and waits for `flywheel approve {version}`"
            book.settle(run, "awaiting-approval", why, version=version, model=digest)
        else:
            still_ours()
            left = book.challenger(name)
            move_champion(book.client, name, version)
            return _promoted(book, name, span, run, version, digest, _overtaken(left, version, span))
    say(f"{name}: {why}")
    return Promotion(version, champion=False)


def _promoted(book: Ledger, name: str, span: str, run: str, version: str, digest: str, more: str = "") -> Promotion:
    known = read(book.client, name, version)
    who = f"version {version}, the challenger of {span}," if known else f"version {version}"
    book.settle(run, "promoted", f"{who} is champion{more}", version=version, model=digest)
    say(f"version {version} of {name} is champion, for span {span}{more}")
    return Promotion(version, champion=True)


def _overtaken(left: Challenger | None, version: str, span: str) -> str:
    """Say which challenger a promotion ends; empty when it ends none."""
    if left is None or left.version.version == version or left.version.span > span:
        return ""
    return f"; challenger version {left.version.version} of {left.version.span} is overtaken"


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


def uploaded(book: Ledger, model: Model, run: str) -> str:
    """Copy the model to the run's artifacts, under its digest so that no other is ever overwritten; return its URI."""
    path = f"model-{model.digest.removeprefix('sha256:')[:16]}"
    book.client.log_artifacts(run, str(model.path), path)
    return f"{book.client.get_run(run).info.artifact_uri}/{path}"
