"""A project's past: what its spans looked like, how far each was from the usual, and which of them were normal.

It travels from run to run as one file of JSON lines, gzipped: a line a span, whose profile is left out once it is too
old to be compared with, and a last line with every value that was ever usual. Each line is a member of its own of the
gzip file, so that one which says what it said before is written as it was read.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from flywheel.errors import ArtifactError
from flywheel.profiles.known import Known
from flywheel.profiles.profile import Profile
from flywheel.spans import Every, Span

_CYCLE = {"hour": 168, "day": 7, "week": 1, "month": 1}
_REFERENCES = 4
_LEAST_REFERENCES = 2
_PROFILES = {"hour": 720, "day": 70, "week": 30, "month": 24}
_SPANS = 400
_ENOUGH_OLDER = 28
_COUNTS = ("rows", "row drift")
_RECENT = {"hour": (24, 72), "day": (7, 28), "week": (3, 9), "month": (2, 6)}


@dataclass(frozen=True)
class Entry:
    """What is kept of a span.

    Attributes:
        span: Its name.
        digest: Of its rows; another one, and it is another span.
        normal: Whether it may teach how far a span usually is from others: it passed, and is in no calendar.
        reference: Whether others are compared with it: it is normal, or a person waived what was found.
        failed: Name, column and reason of each check that failed.
        measures: How far it was from its references, by measure; empty when it had none.
        excess: Of the columns that failed, how far beyond their bars they were.
        profile: What it looked like; None once it is too old.
    """

    span: str
    digest: str
    normal: bool
    reference: bool
    failed: tuple[tuple[str, str, str], ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)
    excess: Mapping[str, float] = field(default_factory=dict)
    profile: Profile | None = None


class Waiver(Protocol):
    """A person's word that a span may be trained on."""

    @property
    def reason(self) -> str:
        """Why."""

    @property
    def who(self) -> str:
        """Who says so."""

    def covers(self, name: str, column: str = "") -> bool:
        """Return whether a check called `name`, about `column`, is waived."""


Failed = Sequence[tuple[str, str, str]]
"""Name, column and reason of each check that failed."""


def covered(failed: Failed, waiver: Waiver | None) -> bool:
    """Return whether everything that failed is waived."""
    return waiver is not None and all(waiver.covers(name, column) for name, column, _ in failed)


def why_bad(failed: Failed) -> str:
    """Return what is wrong with a span in a sentence."""
    return failed[0][2] + (f" (and {len(failed) - 1} more)" if len(failed) > 1 else "")


class History:
    """Spans in their order, and what follows from them.

    Args:
        every: How long a span is.
        whole: Whether nothing is ever dropped from it for its age.
    """

    def __init__(self, every: Every = "day", *, whole: bool = False) -> None:
        self.every: Every = every
        self.whole = whole
        self.known = Known()
        self._entries: dict[str, Entry] = {}
        self._written: dict[str, tuple[Entry, bytes]] = {}

    def __contains__(self, span: str) -> bool:
        return span in self._entries

    def __getitem__(self, span: str) -> Entry:
        return self._entries[span]

    @property
    def spans(self) -> list[str]:
        """Names of its spans, oldest first."""
        return sorted(self._entries)

    def add(self, entry: Entry) -> None:
        """Take a span in, in place of what was known of it before."""
        before = self._entries.get(entry.span)
        self._entries[entry.span] = entry
        counted = before is not None and before.reference and before.digest == entry.digest  # when it was judged before
        if entry.reference and entry.profile is not None and not counted:
            self.known.add(entry.profile)
        if self.whole:
            return
        for span in self.spans[: -_PROFILES[self.every]]:
            if self._entries[span].profile is not None:
                self._entries[span] = replace(self._entries[span], profile=None)
        for span in self.spans[:-_SPANS]:
            del self._entries[span]

    def fail(self, span: str, failed: Failed, *, waived: bool) -> None:
        """Note what else failed of a span that is known: it teaches nothing, as if that had been found at once."""
        entry = self._entries[span]
        found = (*entry.failed, *failed)
        self._entries[span] = replace(entry, failed=found, normal=False, reference=entry.reference and waived)

    def past(self, span: str) -> list[Mapping[str, float]]:
        """Return the measures of the normal spans before `span`, oldest first.

        The last ones, a week of days, do not tell how many rows are usual if there are enough others: where these grow
        fewer day by day, by the time that it is seen it would be usual.
        """
        found = [entry for entry in self._before(span) if entry.normal and entry.measures]
        recent = Span.parse(span, self.every).shift(-_RECENT[self.every][0]).name
        older = sum(entry.span < recent for entry in found)
        if older < _ENOUGH_OLDER:
            return [entry.measures for entry in found]
        return [entry.measures for entry in found[:older]] + [_uncounted(entry.measures) for entry in found[older:]]

    def label_rates(self, span: str) -> list[float]:
        """Return the label's mean in the normal spans before `span` whose rows are known still, oldest first."""
        known = [entry.profile.label_rate for entry in self._before(span) if entry.normal and entry.profile is not None]
        return [rate for rate in known if rate == rate]  # NaN where nothing was labelled

    def comparable(self, span: str) -> list[Entry]:
        """Return the last four references at the same place of the week; fewer than two, and there are none."""
        here, found = Span.parse(span, self.every), []
        for count in range(1, 2 * _REFERENCES + 1):
            entry = self._entries.get(here.shift(-count * _CYCLE[self.every]).name)
            if entry is not None and entry.reference and entry.profile is not None:
                found.append(entry)
        return found[:_REFERENCES] if len(found) >= _LEAST_REFERENCES else []

    def nearest(self, span: str) -> list[Entry]:
        """Return the last references before `span`, a week of them at most."""
        return [entry for entry in self._before(span) if entry.reference and entry.profile is not None][-7:]

    def before(self, span: str) -> Entry | None:
        """Return the span right before, whether or not it was normal."""
        return self._entries.get(Span.parse(span, self.every).shift(-1).name)

    def earlier(self, span: str, count: int) -> list[Entry]:
        """Return the last `count` spans before `span` that still have a profile, normal or not, newest first."""
        found = [self._entries[each] for each in reversed(self.spans) if each < span]
        return [entry for entry in found[:count] if entry.profile is not None]

    def waived(self, span: str, column: str) -> Entry | None:
        """Return the newest span in which `column` was waived, of those that others are still compared with."""
        first = Span.parse(span, self.every).shift(-_CYCLE[self.every] * (_REFERENCES + 1)).name
        found = [e for e in self._before(span) if e.span >= first and e.failed and e.reference and column in e.excess]
        return found[-1] if found else None

    def of_weeks(self, span: str) -> list[Profile]:
        """Return the profiles of the references of the last four weeks before `span`, four months of months.

        None where they are less than half of those spans.
        """
        spans = _REFERENCES * _CYCLE[self.every]
        first = Span.parse(span, self.every).shift(-spans).name
        found = [each.profile for each in self._before(span) if each.span >= first and each.reference and each.profile]
        return found if 2 * len(found) >= spans else []

    def lately(self, span: str) -> tuple[list[Profile], list[Profile]]:
        """Return the profiles of the references just before `span`, and of those that slow drift is measured from."""
        new, old = _RECENT[self.every]
        found = [entry.profile for entry in self._before(span) if entry.reference and entry.profile is not None]
        profiles = found[-(new - 1 + old) :]
        return (profiles[old:], profiles[:old]) if len(profiles) == new - 1 + old else ([], [])

    def _before(self, span: str) -> Sequence[Entry]:
        return [self._entries[each] for each in self.spans if each < span]

    def save(self, file: Path) -> None:
        """Write it to `file`; equal histories give equal bytes."""
        members = [self._member(self._entries[span]) for span in self.spans]
        members.append(_packed({"every": self.every, "known": self.known.to_json()}))
        partial = file.with_name(f".{file.name}.partial")
        partial.write_bytes(b"".join(members))
        partial.replace(file)

    def _member(self, entry: Entry) -> bytes:
        before, written = self._written.get(entry.span, (None, b""))
        if before is not entry:
            written = _packed(_line(entry))
            self._written[entry.span] = entry, written
        return written

    @classmethod
    def load(cls, file: Path) -> History:
        """Return what `save` wrote.

        Raises:
            ArtifactError: The file is no history.
        """
        try:
            lines = [(json.loads(line), member) for line, member in _lines(file.read_bytes())]
            history = cls(lines[-1][0]["every"])
            for line, member in lines[:-1]:
                entry = history._entries[line["span"]] = _entry(line)
                if member:
                    history._written[entry.span] = entry, member
            history.known = Known.from_json(lines[-1][0]["known"])
        except (OSError, EOFError, zlib.error, ValueError, KeyError, IndexError, TypeError) as error:
            raise _no_history(file, error) from None
        return history


def _uncounted(measures: Mapping[str, float]) -> Mapping[str, float]:
    return {name: value for name, value in measures.items() if name.partition(" of ")[0] not in _COUNTS}


def bad_spans(file: Path, waivers: Mapping[str, Waiver]) -> dict[str, str]:
    """Return why, for each span of a history on disk that must not be trained or judged on, whatever `waivers` let in.

    Args:
        file: What `History.save` wrote; of spans that passed, which are nearly all, nothing is read.
        waivers: What people waived, by span.

    Raises:
        ArtifactError: The file is no history.
    """
    try:
        lines = gzip.decompress(file.read_bytes()).decode().splitlines()[:-1]
        failed = [json.loads(line) for line in lines if _PASSED not in line]
        found = {line["span"]: [tuple(check) for check in line["failed"]] for line in failed}
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise _no_history(file, error) from None
    return {span: why_bad(checks) for span, checks in found.items() if not covered(checks, waivers.get(span))}


_PASSED = '"failed": [], '
"""Stands in the line of a span of which no check failed."""


def _packed(line: Mapping[str, Any]) -> bytes:
    return gzip.compress(f"{json.dumps(line, sort_keys=True)}\n".encode(), 6, mtime=0)


def _lines(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield each line and the gzip member that holds it; b"" where lines share one, as all of them once did.

    Raises:
        EOFError: The file breaks off.
        zlib.error: It is not gzipped.
    """
    while content:
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)  # 16: with gzip's header and checksum
        lines = member.decompress(content).decode().splitlines()
        if not member.eof:
            raise EOFError("it breaks off")
        own, content = content[: len(content) - len(member.unused_data)], member.unused_data
        yield from zip(lines, [own] if len(lines) == 1 else [b""] * len(lines), strict=True)


def _no_history(file: Path, error: Exception) -> ArtifactError:
    return ArtifactError(f"{file} is no history of a flywheel: {error}", "delete it: the next run begins a new one.")


def _line(entry: Entry) -> dict[str, Any]:
    return {
        "span": entry.span,
        "digest": entry.digest,
        "normal": entry.normal,
        "reference": entry.reference,
        "failed": entry.failed,
        "measures": {name: float(f"{value:.6g}") for name, value in entry.measures.items()},
        "excess": dict(entry.excess),
        "profile": entry.profile.to_json() if entry.profile else None,
    }


def _entry(line: Mapping[str, Any]) -> Entry:
    profile = Profile.from_json(line["profile"]) if line["profile"] else None
    failed = tuple((name, column, reason) for name, column, reason in line["failed"])
    return Entry(**{**line, "failed": failed, "profile": profile})
