"""What is known of a champion when it is asked whether to train: from ledger rows and fresh predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flywheel.evaluation.paired import Estimate
from flywheel.spans import Every, Span

if TYPE_CHECKING:
    from flywheel.ledger import Champion, Row


@dataclass(frozen=True)
class Gain:
    """What one training gained over the champion of the time.

    Attributes:
        age: How old the champion was, in spans.
        value: By how much the fresh model was better on the same rows; below 0 when it was worse.
        error: Its standard error.
    """

    age: int
    value: float
    error: float


@dataclass(frozen=True)
class Reference:
    """How good the champion was when it was promoted, on rows that were new then."""

    value: float
    error: float
    spans: int


@dataclass(frozen=True)
class Evidence:
    """What a policy decides by.

    Attributes:
        span: The span that it is asked for.
        every: How long a span is.
        champion: Version of the model in service; empty while there is none.
        age: Spans since the champion's.
        since: Spans since the last training, whether or not its model was promoted.
        trained: Spans for which models were trained, oldest first.
        metric: Which one the figures are of.
        better: 1 when more of it is better, -1 when less is.
        then: How good the champion was when it was promoted; None when that was not noted.
        now: How good it is on the newest spans; None when it was not measured.
        moved: Columns that have moved from what it was trained on, and how, in a sentence each.
        asked: Why monitoring asks for a training, in a sentence; empty when it does not, or one has answered it.
        rows: Rows of the newest span.
        new_rows: Rows of the good spans since the champion's, of those that a run reads.
        window_rows: Rows that a training would take.
        gains: What earlier trainings gained, oldest first.
        others: What trainings of other flywheels gained, by the same metric.
        seconds: What a run with a training usually takes; None before the first.
        hourly_cost: Price of an hour, in the user's currency; None when it was not given.
    """

    span: str
    every: Every
    champion: str
    age: int
    since: int
    trained: tuple[str, ...] = ()
    metric: str = ""
    better: int = 1
    then: Reference | None = None
    now: Estimate | None = None
    moved: Mapping[str, str] = field(default_factory=dict)
    asked: str = ""
    rows: int = 0
    new_rows: int = 0
    window_rows: int = 0
    gains: tuple[Gain, ...] = ()
    others: tuple[Gain, ...] = ()
    seconds: float | None = None
    hourly_cost: float | None = None

    @property
    def lost(self) -> Estimate | None:
        """How much worse the champion is than when it was promoted; None where that cannot be told.

        The two are of different rows: an easier week then looks like decay now. The error holds how spans differ.
        """
        if self.then is None or self.now is None or not self.now.sound:
            return None
        error = (self.then.error**2 + self.now.error**2) ** 0.5
        if not error > 0:
            return None
        # Welch and Satterthwaite: degrees of freedom of a difference of two means
        parts = (self.then.error**4 / max(self.then.spans - 1, 1), self.now.error**4 / max(self.now.freedom, 1))
        freedom = error**4 / sum(parts)
        return Estimate(self.better * (self.then.value - self.now.value), error, self.now.clusters, freedom)


def passed(first: str, last: str, every: Every) -> int:
    """Return how many spans lie from `first` to `last`, by name; 0 when the first is not known."""
    if not first or first >= last:
        return 0
    count, at, end = 0, Span.parse(first, every), Span.parse(last, every)
    while at < end:
        at, count = at.shift(1), count + 1
    return count


def time_between(first: str, last: str, every: Every) -> timedelta:
    """Return the time from the start of one span to that of another."""
    return Span.parse(last, every).start - Span.parse(first, every).start


def gains_of(rows: Iterable[Row], every: Every) -> tuple[Gain, ...]:
    """Return what the trainings behind `rows` gained, oldest first; those that had no champion are left out."""
    spans = {row.version: row.span for row in rows if row.version}
    found = []
    for row in sorted(rows, key=lambda row: row.span):
        facts = row.decisions["model"].facts if "model" in row.decisions else {}
        of = spans.get(row.tags.get("flywheel.champion", ""))
        value, error = facts.get("delta"), facts.get("delta_error")
        if of and value is not None and error is not None:
            found.append(Gain(passed(of, row.span, every), float(value), float(error)))
    return tuple(found)


def reference_of(champion: Champion | None, rows: Sequence[Row]) -> Reference | None:
    """Return how good the champion was when it was promoted, as the gate found it."""
    row = next((row for row in rows if champion is not None and row.run == champion.run), None)
    facts: Mapping[str, Any] = row.decisions["model"].facts if row and "model" in row.decisions else {}
    value, error, spans = facts.get("candidate"), facts.get("error"), facts.get("spans")
    return Reference(float(value), float(error), int(spans)) if value is not None and error and spans else None
