"""A window of spans, judged from the oldest to the newest: each by what came before it, none of them twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Check, Examples
from flywheel.profiles.gate import Judged, SpanGate
from flywheel.profiles.history import Waiver, covered, why_bad

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Walked:
    """What was found on the way.

    Attributes:
        newest: What the last span was found to be, what was waived of it as warnings.
        bad: Why, for each earlier span that must not be trained or judged on.
        waived: The reason given, for each span of which something was waived.
        judged: How many spans were judged; what is known of the others stands in the history.
    """

    newest: Judged
    bad: dict[str, str] = field(default_factory=dict)
    waived: dict[str, str] = field(default_factory=dict)
    judged: int = 0


class SpanRows:
    """The rows of one span, read again each time they are asked for: they never stand in memory together.

    Args:
        examples: Where they are.
        span: Which span.
    """

    def __init__(self, examples: Examples, span: str) -> None:
        self._examples, self.span = examples, span

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return (batch for _, batch in self._examples.batches([self.span]))

    @property
    def digest(self) -> str:
        """Digest of its shards: another one, and these are other rows."""
        shards = [str(file.relative_to(self._examples.path)) for _, file in self._examples.shards([self.span])]
        marks = [self._examples.manifest.files[shard]["sha256"] for shard in shards]
        return hashlib.sha256("".join(marks).encode()).hexdigest()[:32]


def walk(
    gate: SpanGate,
    examples: Examples,
    waivers: Mapping[str, Waiver],
    statistics: Callable[[str], Any] | None = None,
    said: Callable[[int, int], None] = lambda done, total: None,
) -> Walked:
    """Judge every span of `examples` that the gate's history does not know with these rows, and the newest anyway.

    Args:
        gate: Judges and learns; its history is added to.
        examples: Rows by span; the newest has some.
        waivers: What people waived, by span.
        statistics: Gives TFDV's statistics of a span, if they were made already.
        said: Told how many spans are done, of how many.
    """
    spans = [span for span in examples.spans if examples.rows_of([span])]
    found = Walked(newest=None)  # type: ignore[arg-type]
    for done, span in enumerate(spans):
        rows, newest = SpanRows(examples, span), span == spans[-1]
        digest = rows.digest
        if not newest and span in gate.history and gate.history[span].digest == digest:
            entry = gate.history[span]
            failed = list(entry.failed)
            waived = covered(failed, waivers.get(span))
            if not failed or waived:
                gate.look_again(span, rows, waived=waived)
        else:
            judged = gate.judge(span, rows, statistics(span) if statistics else None)
            failed = [(check.name, check.column, check.reason) for check in judged.failed]
            waived = covered(failed, waivers.get(span))
            gate.take(judged, rows, digest, waived=waived)
            found.judged += 1
            if newest:
                found.newest = _with_waivers(judged, waivers.get(span))
        if failed and waived:
            found.waived[span] = f"{waivers[span].reason} ({waivers[span].who or 'nobody said who'})"
        elif failed and not newest:
            found.bad[span] = why_bad(failed)
        said(done + 1, len(spans))
    return found


def _with_waivers(judged: Judged, waiver: Waiver | None) -> Judged:
    """Return it with what is waived as warnings."""
    waivers = [waiver] if waiver else []
    return replace(judged, checks=tuple(with_waiver(check, waivers) for check in judged.checks))


def with_waiver(check: Check, waivers: Iterable[Waiver]) -> Check:
    """Return a check that failed as a warning if one of `waivers` covers it."""
    covering = [waiver for waiver in waivers if waiver.covers(check.name, check.column)]
    if check.result != "fail" or not covering:
        return check
    return replace(check, result="warn", reason=f"{check.reason}; waived: {covering[0].reason}", remedy="")
