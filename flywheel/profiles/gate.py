"""Judges spans one after another: against the schema, the invariants and the project's own past."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Check
from flywheel.invariants import Determines, Invariant, Known, Violation
from flywheel.kept import Kept, Made
from flywheel.labels import MULTILABEL, columns_of
from flywheel.profiles.alarms import Finding, examine
from flywheel.profiles.bars import column_of
from flywheel.profiles.compare import Measure
from flywheel.profiles.history import Entry, History
from flywheel.profiles.measure import Rows, profile_of, rows_of
from flywheel.profiles.profile import Column, Profile
from flywheel.profiles.relations import Relations
from flywheel.profiles.settings import Settings
from flywheel.spans import Span
from flywheel.statistics.local import together

if TYPE_CHECKING:
    import pyarrow as pa


_WINDOW = 28
_LEAST_SPANS = 14
_FITS: dict[str, Callable[[Column], bool]] = {
    "binary": lambda column: column.kind == "number" and set(column.points.tolist()) <= {0.0, 1.0},
    "multiclass": lambda column: column.kind == "word" or (column.kind == "number" and column.whole == 1.0),
    MULTILABEL: lambda column: column.kind == "number" and set(column.points.tolist()) <= {0.0, 1.0},
    "regression": lambda column: column.kind == "number",
}
_LEAVE_OUT = "leave out rows without a label yet."
_LABEL_REMEDIES = {
    "binary": f"have the query give 0 or 1 for every row, as by IF(condition, 1, 0); {_LEAVE_OUT}",
    "multiclass": f"have the query give text or an integer for every row, as by CAST(label AS STRING); {_LEAVE_OUT}",
    MULTILABEL: "have the query give 0 or 1, and null where a label of the row is not known.",
    "regression": f"have the query give a number for every row, as by CAST(label AS FLOAT64); {_LEAVE_OUT}",
}


@dataclass(frozen=True)
class Judged:
    """What a span was found to be.

    Attributes:
        span: Its name.
        checks: Everything that was looked at.
        profile: What it looks like.
        rows: Some of its rows.
        finding: What was found beside its past.
    """

    span: str
    checks: tuple[Check, ...]
    profile: Profile
    rows: Rows
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
        score: Gives the quality of the champion's predictions for a span by its name, higher is better; None where it
            cannot be told.
        kept: Keeps what was learnt of past spans for later runs.
    """

    def __init__(
        self,
        settings: Settings,
        history: History,
        schema: Any = None,
        invariants: Sequence[Invariant] = (),
        score: Callable[[str], float | None] | None = None,
        kept: Kept | None = None,
    ) -> None:
        self.history, self._kept = history, kept or Kept()
        self._settings, self._schema, self._score = settings, schema, score
        self._known = Known.of(invariants)
        self._unlearnt: dict[str, Iterable[pa.RecordBatch]] = {}
        self._rows: dict[str, Callable[[], Rows]] = {}
        self._learnt: tuple[int, Relations] | None = None

    def judge(self, span: str, batches: Iterable[pa.RecordBatch], statistics: Any = None) -> Judged:
        """Return what is to be said of a span; nothing is learnt from it yet.

        Args:
            span: Its name.
            batches: Its rows; they are asked for more than once.
            statistics: TFDV's statistics of them, if they were made already.
        """
        start = Span.parse(span, self._settings.every).start
        told = self._settings
        profile, rows = profile_of(batches, start, told.rated, told.leave_out, told.key)
        checks = [
            check
            for label in columns_of(self._settings.label)
            for check in _label_checks(span, profile, label, self._settings.task)
        ]
        if profile.rows:
            checks += [_invariant_check(span, found) for found in self._learnt_of_all().violations(batches)]
            checks += self._schema_checks(span, batches, statistics)
        related = self._related(span, rows) if profile.rows else {}
        if self._score and profile.rows and (quality := self._score(span)) is not None:
            related |= {self._scored: Measure(quality, quality, 0.0, "plain")}
        finding = examine(span, profile, self.history, self._settings, related) if profile.rows else Finding(())
        return Judged(span, (*checks, *finding.checks), profile, rows, finding)

    @property
    def _scored(self) -> str:
        """The measure of what a champion scores: of the label, or with several of the whole span."""
        labels = columns_of(self._settings.label)
        return f"champion's score of {labels[0]}" if len(labels) == 1 else "champion's score"

    def take(
        self, judged: Judged, batches: Iterable[pa.RecordBatch], digest: str = "", *, waived: bool = False
    ) -> None:
        """Make a span part of the past. One that failed teaches nothing.

        Unless it was `waived`: then others are compared with it, though how far it was out is not what is usual.
        """
        failed = tuple((check.name, check.column, check.reason) for check in judged.failed)
        plain = judged.profile.rows > 0 and judged.span not in self._settings.calendar
        normal, reference = plain and not failed, plain and (waived or not failed)
        excess = {column: far for column, far in judged.finding.excess.items() if far > 1}
        # What is far out and only warned of, or pardoned, is not what is usual either
        measures = {name: value for name, value in judged.finding.measures.items() if column_of(name) not in excess}
        profile = judged.profile
        self.history.add(Entry(judged.span, digest, normal, reference, failed, measures, excess, profile))
        if waived or not failed:
            rows = judged.rows
            self.learn(judged.span, lambda: rows, batches)

    def learn(self, span: str, rows: Callable[[], Rows], batches: Iterable[pa.RecordBatch]) -> None:
        """Learn how the columns of a span hang together that is known to be good; it is read when it is needed."""
        self._rows[span] = cache(rows)
        lasting = any(map(_is_lasting, self._known.invariants))
        self._unlearnt = (self._unlearnt if lasting else {}) | {span: batches}  # keys are those of one span before

    def _learnt_of_all(self) -> Known:
        """Return what is known of all spans that were learnt; whole weeks of them are kept for later runs."""
        unlearnt, self._unlearnt = self._unlearnt, {}
        if self._known.invariants and unlearnt:
            *earlier, last = unlearnt
            oldest, newest = self._week(next(iter(unlearnt))), self._week(last)
            rules = Known.of(filter(_is_lasting, self._known.invariants), self._known.most)
            for week, spans in groupby(earlier, self._week):
                chosen = list(spans)
                # As if they were one: of each alone only the keys matter, and only those of the last span.
                learn = partial(rules.learn, together(chain.from_iterable(unlearnt[each] for each in chosen)))
                if oldest < week < newest:  # the oldest loses a span in each run, the newest gains one
                    told = [list(map(str, rules.invariants)), rules.most]
                    self._known = self._known.merge(self._keeping(chosen, learn, "invariants", *told))
                else:
                    self._known = self._known.merge(learn())
            self._known = self._known.learn(unlearnt[last])
        return self._known

    def look_again(self, span: str, batches: Iterable[pa.RecordBatch], *, waived: bool = False) -> None:
        """Learn again what is not kept of a span that the history knows: how its columns hang together."""
        entry = self.history[span]
        if waived and not entry.reference:  # a person looked at it after it was judged
            self.history.add(replace(entry, reference=span not in self._settings.calendar))
        start = Span.parse(span, self._settings.every).start
        self.learn(span, lambda: rows_of(batches, start, self._settings.leave_out), batches)

    def _related(self, span: str, rows: Rows) -> dict[str, Measure]:
        """Return how the columns of a span hang together, and how they run on from the span before."""
        if len(self._rows) < _LEAST_SPANS:
            return {}
        before = Span.parse(span, self._settings.every).shift(-1).name
        return self._relations(span).measures(rows, self._rows[before]() if before in self._rows else None)

    def _relations(self, span: str) -> Relations:
        """Return what the spans before this week say of each other; of all, where those are few."""
        week = self._week(span)
        if self._learnt is None or self._learnt[0] != week:
            known = sorted(self._rows)
            before = [each for each in known if self._week(each) < week]
            chosen = (before if len(before) >= _LEAST_SPANS else known)[-_WINDOW:]
            self._rows = {each: self._rows[each] for each in known if each >= chosen[0]}
            rated, left = self._settings.rated, sorted(self._settings.leave_out)
            learnt = self._keeping(
                chosen, lambda: Relations([self._rows[each]() for each in chosen], rated), "relations", rated, left
            )
            self._learnt = week, learnt
        return self._learnt[1]

    def _keeping(self, spans: Sequence[str], make: Callable[[], Made], what: str, *made_of: Any) -> Made:
        """Return what `make` makes of `spans`, kept for later runs where it is known which rows they had."""
        marks = [[span, self.history[span].digest if span in self.history else ""] for span in spans]
        kept = self._kept if all(digest for _, digest in marks) else Kept()
        return kept.value(make, what, marks, *made_of)

    def _week(self, span: str) -> int:
        return Span.parse(span, self._settings.every).start.toordinal() // 7

    def _schema_checks(self, span: str, batches: Iterable[pa.RecordBatch], counted: Any) -> list[Check]:
        from flywheel import statistics
        from flywheel.profiles.anomalies import schema_checks

        if self._schema is None:
            return []
        found = counted or statistics.summarize(batches, span)
        return schema_checks(found, statistics.for_one_span(self._schema), span)


def _is_lasting(rule: Invariant) -> bool:
    """Return whether a rule learns from all spans; others look at a row, or at the span before."""
    return isinstance(rule, Determines)


def _label_checks(span: str, profile: Profile, label: str, task: str) -> list[Check]:
    """Return whether the label is one that a model can be trained on."""
    column = profile.columns.get(label)
    if column is None:
        return []
    wrong = ""
    if column.nulls == 1 and task == MULTILABEL:
        return []  # of these rows it is not known yet
    if column.nulls and task != MULTILABEL:
        wrong = f"the label {label} is null in {column.nulls:.2%} of the rows of {span}"
    elif not _FITS[task](column):
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
            remedy=_LABEL_REMEDIES[task] * bool(wrong),
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
