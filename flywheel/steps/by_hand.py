"""By hand: what a person may do to the champion, with who, when and why in the ledger.

Each of these is recorded before it begins and closed when all of it is done, the deployment included. One that was
killed is taken up again by the same command, and never done twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from flywheel.errors import ConfigError
from flywheel.ledger import Act, Champion, Ledger
from flywheel.ledger.acts import Kind
from flywheel.ledger.registry import move_back, move_champion, pardon, promoting, version_of
from flywheel.say import say
from flywheel.steps.deploy import deploy

Deploy = Callable[[str, str], object]
"""Puts a version in service: it is called with the version and the MLflow run that did so."""


def deployer(name: str, target: str, ledger: Ledger) -> Deploy:
    """Return what puts a version of flywheel `name` in service at `target`."""
    return lambda version, run: deploy(name, version, target, ledger, run)


def promote(book: Ledger, name: str, version: str, reason: str, who: str, put: Deploy) -> Act:
    """Make a registered version champion and put it in service, whatever the gates said of it.

    Args:
        book: The ledger.
        name: Name of the flywheel.
        version: Which version.
        reason: Why.
        who: Who says so.
        put: Deploys.

    Raises:
        ConfigError: It is the champion already, or of an older span: that is a rollback.
        LedgerError: There is no such version, or another promotion is under way.
    """
    chosen = version_of(book.client, name, version)

    def move() -> None:
        pardon(book.client, name, version)
        move_champion(book.client, name, version)

    act = _begun(book, name, "promote", version) or _forward(book, name, chosen, "promote", reason, who)
    return _carried_out(book, name, act, move, put)


def rollback(book: Ledger, name: str, to: str, reason: str, who: str, put: Deploy) -> Act:
    """Make an earlier version champion again and put it in service; the one that is left is never promoted by a run.

    Args:
        book: The ledger.
        name: Name of the flywheel.
        to: Which version; empty for the one before the champion.
        reason: Why.
        who: Who says so.
        put: Deploys.

    Raises:
        ConfigError: There is no champion or none before it, or the version is not an earlier one.
        LedgerError: There is no such version, or another promotion is under way.
    """
    act = _begun(book, name, "rollback", to)
    if act is None:
        version = to or _before(book, name)
        champion, chosen = book.champion(name), version_of(book.client, name, version)
        if champion is None or chosen.span >= champion.span:
            now = f"version {champion.version} of {champion.span}" if champion else "nothing"
            raise ConfigError(
                f"version {version} of {name} is of span {chosen.span}, the champion is {now}: that is no way back",
                f"name an earlier version, or go forward: flywheel promote {version} --reason …",
            )
        act = book.act(name, "rollback", reason, who, version)
    return _carried_out(book, name, act, partial(move_back, book.client, name, act.version, act.reason), put)


def approve(book: Ledger, name: str, version: str, reason: str, who: str, put: Deploy) -> Act:
    """Promote what a run registered and left waiting, and put it in service; its row becomes `promoted`.

    Args:
        book: The ledger.
        name: Name of the flywheel.
        version: Which version; empty for the newest that waits.
        reason: Why.
        who: Who says so.
        put: Deploys.

    Raises:
        ConfigError: Nothing waits, or the champion is of the same span or a later one by now.
        LedgerError: Another promotion is under way.
    """
    act = _begun(book, name, "approve", version)
    if act is None:
        chosen = version_of(book.client, name, _waiting(book, name, version))
        act = _forward(book, name, chosen, "approve", reason, who)
    return _carried_out(book, name, act, partial(move_champion, book.client, name, act.version), put)


def freeze(book: Ledger, name: str, kind: Kind, reason: str, who: str) -> Act:
    """Keep every run from promoting (`freeze`), or let them again (`unfreeze`); runs go on and judge as ever.

    Raises:
        ConfigError: It is so already.
    """
    frozen = book.frozen(name)
    if bool(frozen) == (kind == "freeze"):
        raise ConfigError(f"{name} is not frozen" if frozen is None else f"{name} is {frozen}", "nothing to do.")
    act = book.act(name, kind, reason, who)
    book.close(act.run, ok=True)
    return act


def _begun(book: Ledger, name: str, kind: Kind, version: str) -> Act | None:
    """Return the newest act if it is of this kind, about this version if one is given, and was never finished."""
    acts = book.acts(name)
    last = acts[-1] if acts else None
    if last is None or last.finished or last.kind != kind or version not in ("", last.version):
        return None
    say(f"going on with what was begun on {last.at:%Y-%m-%d at %H:%M} UTC: {last}")
    return last


def _forward(book: Ledger, name: str, chosen: Champion, kind: Kind, reason: str, who: str) -> Act:
    champion = book.champion(name)
    if champion and champion.version == chosen.version:
        raise ConfigError(f"version {chosen.version} of {name} is the champion already", "nothing to do.")
    if champion and chosen.span < champion.span:
        raise ConfigError(
            f"version {chosen.version} of {name} is of span {chosen.span}, the champion, version {champion.version}, "
            f"of {champion.span}",
            f"go back to it: flywheel rollback --to {chosen.version} --reason …",
        )
    return book.act(name, kind, reason, who, chosen.version)


def _carried_out(book: Ledger, name: str, act: Act, move: Callable[[], None], put: Deploy) -> Act:
    with _turn(book, name, act.run) as still_ours:
        still_ours()
        move()
    say(f"version {act.version} of {name} is champion")
    put(act.version, act.run)
    endpoint = book.row(act.run).endpoint or ""
    for row in book.rows(name):
        if row.version == act.version and row.outcome in ("awaiting-approval", "kept-champion"):
            book.settle(row.run, "promoted", str(act), endpoint=endpoint)
    book.close(act.run, ok=True)
    return act


def _turn(book: Ledger, name: str, run: str) -> AbstractContextManager[Callable[[], None]]:
    return promoting(book.client, name, run, clock=book.clock, sleep=time.sleep)


def _before(book: Ledger, name: str) -> str:
    previous = book.previous(name)
    if previous is None:
        raise ConfigError(f"{name} has no version before its champion", "name one: --to VERSION.")
    return previous.version


def _waiting(book: Ledger, name: str, version: str) -> str:
    """Return the version to approve: the one that is named if it waits, else the newest that does."""
    rows = [row for row in book.rows(name) if row.outcome == "awaiting-approval" and row.version]
    chosen = [row for row in rows if version in ("", row.version)]
    if not chosen:
        waiting = ", ".join(f"{row.version} of {row.span}" for row in rows) or "none"
        what = f"version {version} of {name} waits" if version else f"no version of {name} waits"
        raise ConfigError(
            f"{what} for no approval" if version else f"{what} for approval",
            f"waiting: {waiting}; `flywheel status` shows why each run ended as it did.",
        )
    return max(chosen, key=lambda row: (row.span, row.started)).version or ""
