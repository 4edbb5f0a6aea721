"""The challenger: a candidate that was left undecided, registered, and judged again, the same model, on later spans."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flywheel.ledger.registry import CHALLENGER, LOOKS, aliased, champion_of, version_of

if TYPE_CHECKING:
    from flywheel.ledger.rows import Champion
    from flywheel.ledger.store import Client


@dataclass(frozen=True)
class Challenger:
    """A version that is judged again on later spans, and how often it was.

    Attributes:
        version: Which.
        champion: The version that it is judged against; empty while there was none.
        after: The last span that either was trained on: later ones may judge.
        looks: What each judgement left, oldest first: as `evaluation.looks.Look.after` gives it, with its `span` and
            what it `found`, `undecided`, `pass` or `fail`.
    """

    version: Champion
    champion: str
    after: str
    looks: tuple[Mapping[str, Any], ...]

    @property
    def waits(self) -> bool:
        """Whether it is to be judged again: undecided, by a judgement that was not the last one."""
        return self.looks[-1]["found"] == "undecided" and self.looks[-1]["more"] is not None

    @property
    def needs(self) -> int:
        """How many spans the next judgement wants, those of the last one among them."""
        return int(self.looks[-1]["spans"]) + int(self.looks[-1]["more"] or 0)

    def due(self, span: str, spans: Sequence[str]) -> bool:
        """Return whether a run for `span`, which has the rows of `spans`, judges it again.

        It does when there are as many later spans as were said to decide, or as a run can have. A span whose run broke
        off judges it once more.
        """
        last = str(self.looks[-1]["span"])
        if span == last:
            return len(self.looks) > 1
        return span > last and self.waits and sum(each > self.after for each in spans) >= min(self.needs, len(spans))

    def before(self, span: str) -> tuple[Mapping[str, Any], ...]:
        """Return the looks of earlier spans."""
        return tuple(look for look in self.looks if look["span"] < span)

    def __str__(self) -> str:
        last = self.looks[-1]
        said = (
            f"version {self.version.version} of span {self.version.span}, judged {last['number']} of {last['of']} times"
        )
        if self.waits:
            return f"{said}: undecided, and judged again with {self.needs} spans after {self.after}"
        return f"{said}: {last['found']}"


FAR = 4.0
"""A candidate that would take so many times the spans that a run reads is not judged again: on all of them its standard
error would be twice what decides, so that an equal model passed its last judgement about every third time."""


def too_far(look: Mapping[str, Any], spans: int) -> str:
    """Return why an undecided look asks for more than later ones can give; empty where they can.

    Args:
        look: What it left, as `evaluation.looks.Look.after` gives it.
        spans: How many spans a run has.
    """
    needs = int(look["spans"]) + int(look["more"] or 0)
    if needs <= FAR * spans:
        return ""
    cure = "raise `margin`, `source.judge` or `source.window`"
    return f"about {needs} spans would decide it, and a run reads {spans}; {cure}"


def challenger_of(client: Client, name: str) -> Challenger | None:
    """Return the challenger of `name`; None where there is none, or it was overtaken.

    It is overtaken when the champion is another one than it was judged against.
    """
    version = aliased(client, name, CHALLENGER)
    found = version and read(client, name, version.version)
    if not found:
        return None
    champion = champion_of(client, name)
    return found if found.champion == (champion.version if champion else "") else None


def read(client: Client, name: str, version: str) -> Challenger | None:
    """Return what is known of a version as a challenger; None if it never was one.

    Raises:
        LedgerError: There is no such version.
    """
    told = client.get_model_version(name, version).tags.get(LOOKS)
    if not told:
        return None
    known = json.loads(told)
    return Challenger(version_of(client, name, version), known["champion"], known["after"], tuple(known["looks"]))


def enter(client: Client, name: str, version: str, champion: str, after: str, look: Mapping[str, Any]) -> None:
    """Make a version the challenger; arguments as the attributes of `Challenger`, `look` the first one."""
    _write(client, name, version, champion, after, [look])
    client.set_registered_model_alias(name, CHALLENGER, version)


def looked(client: Client, name: str, found: Challenger, look: Mapping[str, Any]) -> Challenger:
    """Note a further look, and return what is known then; one at the same span is replaced.

    One that is decided against, or was looked at for the last time, is the challenger no longer.
    """
    looks = (*found.before(look["span"]), look)
    _write(client, name, found.version.version, found.champion, found.after, looks)
    now = Challenger(found.version, found.champion, found.after, looks)
    if not now.waits and look["found"] != "pass":
        leave(client, name, found.version.version)
    return now


def leave(client: Client, name: str, version: str) -> None:
    """Take the alias from a version, if it has it."""
    holder = aliased(client, name, CHALLENGER)
    if holder and holder.version == version:
        client.delete_registered_model_alias(name, CHALLENGER)


def _write(
    client: Client, name: str, version: str, champion: str, after: str, looks: Sequence[Mapping[str, Any]]
) -> None:
    told = {"champion": champion, "after": after, "looks": [dict(look) for look in looks]}
    client.set_model_version_tag(name, version, LOOKS, json.dumps(told))
