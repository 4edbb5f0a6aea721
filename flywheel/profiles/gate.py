"""Judges spans one after another: against the schema, the invariants and the project's own past."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Check
from flywheel.invariants import Invariant, Known, Violation
from flywheel.profiles.examine import Finding, examine
from flywheel.profiles.history import Entry, History
from flywheel.profiles.measure import profile_of
from flywheel.profiles.profile import Profile
from flywheel.profiles.settings import Settings
from flywheel.spans import Span

if TYPE_CHECKING:
    import pyarrow as pa


_LABEL_REMEDY = "have the query give 0 or 1 for every row, as by IF(condition, 1, 0), and leave out rows whose label has not arrived."


@dataclass(frozen=True)
class Judged:
    """What a span was found to be.

    Attributes:
        span: Its name.
        checks: Everything that was looked at.
        profile: What it looks like.
        measures: How far it was from what it was compared with.
    """

    span: str
    checks: tuple[Check, ...]
    profile: Profile
    finding: Finding

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.result == "fail")


class SpanGate:
    """Holds what is normal, and judges one span after another by it; what is `taken` teaches it.

    Args:
        settings: What is looked at.
        history: What came before; it is added to.
        schema: What each column is to be; None to leave that out.
        invariants: What is to be true of the rows.
        score: Gives the quality of the champion's predictions for the rows of a span, higher is better.
    """

    def __init__(
        self,
        settings: Settings,
        history: History,
        schema: Any = None,
        invariants: Sequence[Invariant] = (),
        score: Callable[[Sequence[pa.RecordBatch]], float] | None = None,
    ) -> None:
        self.history = history
        self._settings, self._schema, self._score = settings, schema, score
        self._known = Known.of(invariants)

    def judge(self, span: str, batches: Sequence[pa.RecordBatch]) -> Judged:
        """Return what is to be said of a span, whose rows are `batches`; nothing is learnt from it yet."""
        start = Span.parse(span, self._settings.every).start
        profile = profile_of(batches, start, self._settings.label, self._settings.leave_out)
        checks = [*_label_checks(span, profile, self._settings.label)]
        if profile.rows:
            checks += [_invariant_check(span, found) for found in self._known.violations(batches)]
            checks += self._schema_checks(span, batches)
        finding = examine(span, profile, self.history, self._settings) if profile.rows else Finding(())
        return Judged(span, (*checks, *finding.checks), profile, finding)

    def take(self, judged: Judged, batches: Sequence[pa.RecordBatch], digest: str, *, teaches: bool = True) -> None:
        """Make a span part of the past; one that is not normal stays there as such and `teaches` nothing."""
        normal = teaches and judged.profile.rows > 0 and judged.span not in self._settings.calendar
        failed = tuple((check.name, check.column, check.reason) for check in judged.failed)
        self.history.add(Entry(judged.span, digest, normal, failed, judged.finding.measures, judged.profile))
        if teaches:
            self.learn(batches)

    def learn(self, batches: Sequence[pa.RecordBatch]) -> None:
        """Learn what the invariants say of the rows of one span that is known to be good."""
        if self._known.invariants:
            self._known = self._known.learn(batches)

    def _schema_checks(self, span: str, batches: Sequence[pa.RecordBatch]) -> list[Check]:
        from flywheel import statistics
        from flywheel.profiles.anomalies import schema_checks

        if self._schema is None:
            return []
        found = statistics.summarize(batches, span)
        return schema_checks(found, statistics.for_one_span(self._schema), span)


def _label_checks(span: str, profile: Profile, label: str) -> list[Check]:
    """Return whether the label is one that a model can be trained on."""
    column = profile.columns.get(label)
    if column is None:
        return []
    wrong = ""
    if column.nulls:
        wrong = f"the label {label} is null in {column.nulls:.2%} of the rows of {span}"
    elif column.kind != "number" or not set(column.points.tolist()) <= {0.0, 1.0}:
        values = list(column.values) or column.points.tolist()
        wrong = f"the label {label} has values such as {', '.join(map(repr, values[:5]))}"
    return [
        Check(
            "label",
            "fail" if wrong else "pass",
            column=label,
            span=span,
            rows=profile.rows,
            reason=wrong,
            remedy=_LABEL_REMEDY * bool(wrong),
        )
    ]


def _invariant_check(span: str, found: Violation) -> Check:
    return Check(
        str(found.invariant),
        "fail" if found.broken else "warn" if found.violating else "pass",
        found.share,
        found.invariant.tolerance,
        rows=found.rows,
        column=found.columns[0] if found.columns else "",
        span=span,
        reason=f"{found} of {span}" if found.violating else "",
        remedy="look at its source; if it need not hold, take it out of invariants.yaml." * bool(found.violating),
    )
