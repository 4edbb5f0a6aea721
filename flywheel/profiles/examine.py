"""Is a span normal? Every measure of it against its own past, and what needs no past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flywheel.artifacts import Check
from flywheel.profiles.bars import Bars, check_of, column_of
from flywheel.profiles.compare import Measure, drifts, measures
from flywheel.profiles.history import Entry, History
from flywheel.profiles.profile import Profile
from flywheel.profiles.settings import Settings
from flywheel.spans import Span

_WIDE = {
    "rows": 0.7, "label rate": 0.3, "repeated rows": 0.45, "rows of the span before": 0.7,
    "nulls": 0.4, "zeros": 0.5, "whole": 0.5, "distinct": 1.5, "distance": 0.6, "shift": 0.3, "length": 0.5,
    "unseen": 0.5, "links": 0.5, "link with the label": 0.4, "drift": 0.5,
}  # fmt: skip
"""Bars of a project too young to have its own."""

_WARNED_MORE = 5.0
"""Warnings come this many times as often as false alarms."""

_SAME_AS = 14
_LEAST_VALUES = 5
_LEAST_ROWS = 50


@dataclass(frozen=True)
class Finding:
    """What was found of a span.

    Attributes:
        checks: One for each column, and those of the span as a whole.
        measures: How far it was from its references; they become part of the history.
    """

    checks: tuple[Check, ...]
    measures: Mapping[str, float] = field(default_factory=dict)


def examine(span: str, profile: Profile, history: History, settings: Settings) -> Finding:
    """Return what is unusual in a span, given those before it.

    With a history of at least eight comparable measures a bar is where a normal span comes once in
    1 / `false_alarms`, over all columns and checks together; before, bars are wide and fixed, and the checks say so.
    An alarm fails where it would come so seldom and warns where it would come five times as often; in spans of the
    calendar, and for columns whose severity says so, it only warns.

    Args:
        span: Its name.
        profile: What it looks like; it has at least one row.
        history: What came before.
        settings: What is looked at.
    """
    same = history.comparable(span)
    references = same or history.nearest(span)
    found = measure(span, profile, history, settings, references) if references else {}
    past = history.past(span)
    bars = Bars(past, settings.false_alarms) if same else Bars((), settings.false_alarms)
    loose = Bars(past, min(_WARNED_MORE * settings.false_alarms, 0.5)) if bars.learnt else bars
    judged = _Judge(span, bars, loose, settings, [entry.span for entry in references], len(past))
    checks = [*_given(span, profile, settings), *judged.checks(found, profile), *_copied(span, profile, history)]
    checks += _asked(span, profile, found, settings)
    if not references:
        checks.append(Check("history", "pass", span=span, reason="no earlier span to compare with"))
    kept = {name: value.value for name, value in found.items()} if same else {}
    return Finding(tuple(_weighed(check, settings) for check in checks), kept)


def measure(
    span: str, profile: Profile, history: History, settings: Settings, references: list[Entry]
) -> dict[str, Measure]:
    """Return how far a span is from `references`, and its last spans together from those before."""
    before = history.before(span)
    known = [entry.profile for entry in references if entry.profile is not None]
    found = measures(profile, known, before.profile if before else None, history.known, settings.label)
    newest, earlier = history.lately(span)
    return found | (drifts([*newest, profile], earlier) if earlier else {})


class _Judge:
    """Holds measures against bars, and says what it found as people say it."""

    def __init__(
        self, span: str, bars: Bars, loose: Bars, settings: Settings, references: list[str], past: int
    ) -> None:
        self._span, self._bars, self._loose, self._settings = span, bars, loose, settings
        self._references, self._past = references, past

    def checks(self, found: Mapping[str, Measure], profile: Profile) -> list[Check]:
        """Return one check for each column and one for the span: its most unusual measure."""
        columns: dict[str, list[tuple[float, str]]] = {"": [], **{name: [] for name in profile.columns}}
        for name, value in found.items():
            columns[column_of(name)].append((self._excess(name, value), name))
        return [self._check(column, sorted(given, reverse=True), found) for column, given in columns.items() if given]

    def _excess(self, name: str, value: Measure) -> float:
        """Return how far beyond its bar a measure is: above 1, and it is unusual."""
        if self._bars.learnt and self._bars.knows(name):
            return self._bars.score(name, value.value) / self._bars.bar
        return abs(value.value) / _WIDE[check_of(name)]

    def _check(self, column: str, given: list[tuple[float, str]], found: Mapping[str, Measure]) -> Check:
        excess, name = given[0]
        value = found[name]
        low, high = self._usual(name)
        usual = (value.natural(low), value.natural(high))
        result = "fail" if excess > 1 else "warn" if self._warned(name, value, excess) else "pass"
        common = {"observed": value.observed, "usual": usual, "column": column, "span": self._span}
        if result == "pass":
            return Check(f"usual values of {column}" if column else "usual rows", "pass", **common)  # type: ignore[arg-type]
        also = [other for more, other in given[1:4] if more > 1]
        return Check(
            name,
            result,
            bound=usual[0] if value.value < low else usual[1],
            reason=self._reason(name, value, usual) + (f"; so are {', '.join(also)}" if also else ""),
            remedy="look at its source. If it is right, `flywheel waive` lets this span through.",
            **common,  # type: ignore[arg-type]
        )

    def _warned(self, name: str, value: Measure, excess: float) -> bool:
        if self._bars.learnt and self._bars.knows(name):
            return self._loose.score(name, value.value) > self._loose.bar
        return excess > 0.8

    def _usual(self, name: str) -> tuple[float, float]:
        if self._bars.learnt and self._bars.knows(name):
            return self._bars.range(name)
        return -_WIDE[check_of(name)], _WIDE[check_of(name)]

    def _reason(self, name: str, value: Measure, usual: tuple[float, float]) -> str:
        shares = value.scale in ("angle", "square")
        low, high, observed = (f"{part:.2%}" if shares else f"{part:,.3g}" for part in (*usual, value.observed))
        ends = f"at most {high}" if value.scale == "square" else f"{low} to {high}"
        by = f"of {self._past} spans" if self._bars.learnt else "that a young history gets"
        return f"{name}: {observed}, by the bars {by} {ends} is usual (beside {_listed(self._references)})"


def _given(span: str, profile: Profile, settings: Settings) -> list[Check]:
    """Return the checks that need no past: how many rows, and how fresh they are."""
    enough = profile.rows >= settings.rows_at_least
    checks = [
        Check(
            "rows at least",
            "pass" if enough else "fail",
            profile.rows,
            settings.rows_at_least,
            span=span,
            rows=profile.rows,
            reason=""
            if enough
            else f"span {span} has {profile.rows:,} rows, at least {settings.rows_at_least:,} are asked for",
            remedy="" if enough else "load what is missing, or lower gates.data.rows_at_least.",
        )
    ]
    if settings.fresh:
        checks.append(_freshness(span, profile, settings))
    return checks


def _freshness(span: str, profile: Profile, settings: Settings) -> Check:
    here, column, within = Span.parse(span, settings.every), settings.fresh["column"], settings.fresh["within"]
    times = profile.columns[column].points if column in profile.columns else ()
    late = (here.end - here.start).total_seconds() - float(times[-1]) if len(times) else float("inf")
    ok = late <= within
    found = f"{late / 3600:.1f} hours before its end" if len(times) else "nowhere: there are none"
    return Check(
        f"freshness of {column}",
        "pass" if ok else "fail",
        late,
        within,
        column=column,
        span=span,
        reason="" if ok else f"the newest {column} of {span} is {found}; at most {within / 3600:g} hours are accepted",
        remedy="" if ok else "wait until the rest has arrived, or raise gates.data.fresh.within.",
    )


def _asked(span: str, profile: Profile, found: Mapping[str, Measure], settings: Settings) -> list[Check]:
    """Return the checks of bars that flywheel.yaml gives for single columns."""
    checks = []
    for column, asked in settings.columns.items():
        if column not in profile.columns:
            continue
        distance = found.get(f"distance of {column}")
        observed = {"nulls": profile.columns[column].nulls, "distance": distance.observed if distance else None}
        for name, value in observed.items():
            bound = asked.get(f"{name}_at_most")
            if bound is None or value is None:
                continue
            ok = value <= bound
            checks.append(
                Check(
                    f"{name} of {column} at most {bound:g}",
                    "pass" if ok else "fail",
                    value,
                    bound,
                    column=column,
                    span=span,
                    reason="" if ok else f"{name} of {column}: {value:.3g}, at most {bound:g} is accepted",
                    remedy="" if ok else f"look at its source, or raise gates.data.columns.{column}.{name}_at_most.",
                )
            )
    return checks


def _copied(span: str, profile: Profile, history: History) -> list[Check]:
    """Return a check for each column that has exactly the values of an earlier span, if that was not so before."""
    earlier = history.earlier(span, _SAME_AS)
    checks = []
    for name, column in profile.columns.items():
        if column.distinct < _LEAST_VALUES or profile.rows < _LEAST_ROWS:
            continue
        same = [
            e.span
            for e in earlier
            if e.profile and name in e.profile.columns and e.profile.columns[name].mark == column.mark
        ]
        marks = [e.profile.columns[name].mark for e in earlier if e.profile and name in e.profile.columns]
        if same and len(set(marks)) == len(marks):
            checks.append(
                Check(
                    f"copied values of {name}",
                    "fail",
                    column=name,
                    span=span,
                    reason=f"{name} has exactly the {profile.rows:,} values of span {same[0]}",
                    remedy="look whether an old day was loaded again, or a feed stands still.",
                )
            )
    return checks


def _weighed(check: Check, settings: Settings) -> Check:
    """Return the check as severe as the settings say."""
    from dataclasses import replace

    if check.result not in ("fail", "warn") or check.name in ("rows at least",):
        return check
    severity = settings.severity(check.column) if check.column else "block"
    if severity == "off":
        return replace(check, result="pass", reason="", remedy="")
    if check.result == "fail" and severity == "warn":
        return replace(check, result="warn", reason=f"{check.reason} (severity warn)")
    if check.result == "fail" and check.usual is not None and check.span in settings.calendar:
        return replace(check, result="warn", reason=f"{check.reason} (declared in the calendar)")
    return check


def _listed(spans: list[str]) -> str:
    return ", ".join(sorted(spans)[:4])
