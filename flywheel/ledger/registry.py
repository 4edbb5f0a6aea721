"""The registry: versions, the aliases `champion`, `previous` and `challenger`, and the lock of promotions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flywheel.errors import LedgerError
from flywheel.ledger.rows import Champion
from flywheel.ledger.store import Client, Exists, Missing

if TYPE_CHECKING:
    from collections.abc import Mapping

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
LOOKS = "flywheel.looks"
"""Tag of a version that is or was a challenger: how often it was judged, and what came of it."""
EXPIRY = 300.0
_RUN, _SPAN, _DIGEST, _OWNER = "flywheel.run", "flywheel.span", "flywheel.digest", "flywheel.owner"
_AFTER, _ROLLED_BACK = "flywheel.after", "flywheel.rolled_back"


class NoVersion(Missing):
    """A model or version that is asked for is not in the registry: name one that is."""

    exit_code = 2


def champion_of(client: Client, name: str) -> Champion | None:
    """Return the version that the alias `champion` of `name` points to, if there is one."""
    return aliased(client, name, CHAMPION)


def aliased(client: Client, name: str, alias: str) -> Champion | None:
    """Return the version that `alias` of `name` points to, if there is one."""
    try:
        return _version(client.get_model_version_by_alias(name, alias))
    except Missing:
        return None


def version_of(client: Client, name: str, version: str) -> Champion:
    """Return what the registry says of one version.

    Raises:
        NoVersion: There is no such version.
    """
    try:
        return _version(client.get_model_version(name, version))
    except Missing:
        versions = (each.version for each in client.search_model_versions(f"name = '{name}'"))
        there = ", ".join(str(each) for each in sorted(map(int, versions))) or "none yet"
        raise NoVersion(f"{name} has no version {version!r}", f"those there are: {there}.") from None


def find_version(client: Client, name: str, run: str, digest: str) -> str | None:
    """Return the version that `run` registered for content `digest`, if it did."""
    found = [_version(version) for version in client.search_model_versions(f"name = '{name}' and run_id = '{run}'")]
    return next((version.version for version in found if version.digest == digest), None)


def register(client: Client, name: str, source: str, run: str, tags: Mapping[str, str]) -> str:
    """Make the artifacts at `source` a version of `name`, with its tags in the same write, and return the version."""
    with suppress(Exists):
        client.create_registered_model(name, description=f"Champions of the flywheel {name}, and those before them.")
    made = client.create_model_version(
        name, source, run_id=run, tags={f"flywheel.{key}": value for key, value in tags.items()} | {_RUN: run}
    )
    return str(made.version)


def registered(client: Client, name: str, source: str, run: str, span: str, digest: str) -> str:
    """Return the version that `run` registered for content `digest`; if none, one of the artifacts at `source`."""
    known = find_version(client, name, run, digest)
    return known or register(client, name, source, run, {"span": span, "digest": digest})


def move_champion(client: Client, name: str, version: str) -> None:
    """Point the alias `champion` to `version` and `previous` to the former one; the champion moves last."""
    former = champion_of(client, name)
    if not former or former.version != version:
        if former:
            client.set_model_version_tag(name, version, _AFTER, former.version)
            client.set_registered_model_alias(name, PREVIOUS, former.version)
        client.set_registered_model_alias(name, CHAMPION, version)
    overtake(client, name)


def overtake(client: Client, name: str) -> None:
    """Take the alias `challenger` from a version that is the champion now, or that a newer champion came before."""
    champion, challenger = champion_of(client, name), aliased(client, name, CHALLENGER)
    if champion and challenger and challenger.span <= champion.span:
        client.delete_registered_model_alias(name, CHALLENGER)


def move_back(client: Client, name: str, version: str, reason: str) -> None:
    """Point the alias `champion` to a `version` that had it before, and `previous` to the one before that.

    The version that is left is marked, so that no run that is taken up again promotes it once more. Doing this again
    changes nothing.
    """
    left = champion_of(client, name)
    if left and left.version != version:
        client.set_model_version_tag(name, left.version, _ROLLED_BACK, reason)
    client.set_registered_model_alias(name, CHAMPION, version)
    before = client.get_model_version(name, version).tags.get(_AFTER)
    if before:
        client.set_registered_model_alias(name, PREVIOUS, before)
    else:
        client.delete_registered_model_alias(name, PREVIOUS)


def rolled_back(client: Client, name: str, version: str) -> str:
    """Return why a version was rolled back; empty when it was not."""
    return str(client.get_model_version(name, version).tags.get(_ROLLED_BACK, ""))


def pardon(client: Client, name: str, version: str) -> None:
    """Take back that a version was rolled back: a person wants it after all."""
    if rolled_back(client, name, version):
        client.delete_model_version_tag(name, version, _ROLLED_BACK)


def _version(found: Any) -> Champion:
    tags = found.tags
    return Champion(
        found.name, str(found.version), tags.get(_SPAN, ""), tags.get(_RUN, found.run_id or ""), tags.get(_DIGEST, "")
    )


@dataclass(frozen=True)
class _Ticket:
    number: int
    owner: str
    taken: float


@contextmanager
def promoting(
    client: Client,
    name: str,
    owner: str,
    *,
    patience: float = 30.0,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Callable[[], None]]:
    """Hold the right to promote a version of `name` for the block; give a function that checks it is held still.

    MLflow's aliases do not arbitrate, but creating a registered model of a given name succeeds exactly once. The lock
    is such a name with a number. A holder whose lock is older than `EXPIRY` seconds counts as dead, and the lock with
    the next number may be taken; so of many who find a dead one, one takes over. Whoever has made a lock then looks for
    others and withdraws if a lower one is alive: of two who started from different views, at least one sees the other.

    Args:
        client: The registry's.
        name: Of the registered model.
        owner: Run that promotes; a lock that this run left when it was killed is its own again.
        patience: Seconds to wait for another holder.
        clock: Gives the seconds since 1970.
        sleep: Waits for so many seconds.

    Raises:
        LedgerError: Another promotion holds the lock, now or (from the function) meanwhile.
    """
    lock = _Lock(client, f"{name}.promotion-lock.", owner, clock)
    deadline = clock() + patience
    while not lock.take():
        if clock() >= deadline:
            raise lock.refusal(name)
        sleep(0.2)
    try:
        yield lambda: lock.check(name)
    finally:
        lock.release()


class _Lock:
    def __init__(self, client: Client, prefix: str, owner: str, clock: Callable[[], float]) -> None:
        self._client, self._prefix, self._owner, self._clock = client, prefix, owner, clock
        self._number = 0

    def take(self) -> bool:
        """Return whether the lock is ours now."""
        tickets = self._tickets()
        ours = [ticket for ticket in tickets if ticket.owner == self._owner and self._alive(ticket)]
        if ours:
            self._number = ours[0].number
        elif any(self._alive(ticket) for ticket in tickets):
            return False
        else:
            self._number = max((ticket.number for ticket in tickets), default=0) + 1
            try:
                self._client.create_registered_model(
                    f"{self._prefix}{self._number}",
                    tags={_OWNER: self._owner},
                    description="A promotion is under way; this name is its lock and goes with it.",
                )
            except Exists:
                return False
        if self._is_first():
            return True
        self._delete(self._number)
        return False

    def check(self, name: str) -> None:
        """Raise unless the lock is ours still."""
        if not self._is_first():
            raise self.refusal(name)

    def release(self) -> None:
        """Delete the lock, and those before it, whose holders are dead."""
        for ticket in self._tickets():
            if ticket.number <= self._number and (ticket.owner == self._owner or not self._alive(ticket)):
                self._delete(ticket.number)

    def refusal(self, name: str) -> LedgerError:
        """Return the error that says who holds the lock."""
        others = [ticket for ticket in self._tickets() if ticket.owner != self._owner and self._alive(ticket)]
        who = f" by run {others[0].owner!r}" if others else ""
        left = max((EXPIRY - (self._clock() - ticket.taken) for ticket in others), default=0.0)
        return LedgerError(
            f"another promotion of {name!r} is under way{who}",
            f"run again when it is done; if its process died, its lock expires in {left:.0f} s.",
        )

    def _is_first(self) -> bool:
        alive = [ticket for ticket in self._tickets() if self._alive(ticket)]
        return bool(alive) and min(ticket.number for ticket in alive) == self._number

    def _alive(self, ticket: _Ticket) -> bool:
        return abs(self._clock() - ticket.taken) < EXPIRY  # one from the future is of before a clock was set back

    def _tickets(self) -> list[_Ticket]:
        found = self._client.search_registered_models(f"name LIKE '{self._prefix}%'")
        tickets = [
            _Ticket(int(model.name[len(self._prefix) :]), model.tags.get(_OWNER, ""), model.creation_timestamp / 1000)
            for model in found
            if model.name[len(self._prefix) :].isdigit()
        ]
        return sorted(tickets, key=lambda ticket: ticket.number)

    def _delete(self, number: int) -> None:
        with suppress(Missing):  # another one that took it for dead may have deleted it
            self._client.delete_registered_model(f"{self._prefix}{number}")
