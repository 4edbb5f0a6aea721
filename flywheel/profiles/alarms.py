"""Is a span normal? Every measure of it against its own past, and what needs no past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from flywheel.artifacts import Check
from flywheel.profiles.bars import Bars, check_of, column_of
from flywheel.profiles.compare import Measure, drifts, measures
from flywheel.profiles.history import Entry, History
from flywheel.profiles.keys import new_keys
from flywheel.profiles.profile import Column, Profile
from flywheel.profiles.settings import Settings
from flywheel.spans import Span

_CHANCE = -9.0  # log10 of the chance below which all labels are not the same by accident
_WIDE = {"rows": 0.7, "label rate": 0.6, "repeated rows": 0.45, "nulls": 1.0, "unseen": 0.6}
"""Bars of a project too young to have its own: half of the rows or twice as many, and the like. The rest has none."""

_WARNED_MORE = 5.0
"""Warnings come this many times as often as false alarms."""

_PARDON = 1.25
"""A waived column is not blocked again until it is this many times as far out, while that span is compared with."""

_WIDE_WARNED = 0.8
_SAME_AS = 14
_LEAST_VALUES = 5
_LEAST_ROWS = 50


@dataclass(frozen=True)
class Finding:
    """What was found of a span.

    Attributes:
        checks: One for each column, and those of the span as a whole.
        measures: How far it was from its references; they become part of the history.
        excess: How far beyond its bar each column is; above 1, and it is unusual.
    """

    checks: tuple[Check, ...]
    measures: Mapping[str, float] = field(default_factory=dict)
    excess: Mapping[str, float] = field(default_factory=dict)


def examine(
    span: str, profile: Profile, history: History, settings: Settings, related: Mapping[str, Measure] | None = None
) -> Finding:
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
        related: How well its columns follow from each other, if that was measured.
    """
    same = history.comparable(span)
    references = same or history.nearest(span)
    found = dict(measure(span, profile, history, settings, references)) if references else {}
    found |= related or {}
    past = history.past(span)
    bars = Bars(past, settings.false_alarms) if same else Bars((), settings.false_alarms)
    usual, excess = _Judge(span, bars, history, settings, [each.span for each in references]).checks(found, profile)
    checks = [*_given(span, profile, settings), *usual, *_copied(span, profile, history)]
    checks += [*_asked(span, profile, found, settings), *_one_class(span, profile, history, settings)]
    if not references:
        checks.append(Check("history", "pass", span=span, reason="no earlier span to compare with"))
    kept = {name: value.value for name, value in found.items()} if same else {}
    return Finding(tuple(_weighed(check, settings) for check in checks), kept, excess)


def measure(
    span: str, profile: Profile, history: History, settings: Settings, references: list[Entry]
) -> dict[str, Measure]:
    """Return how far a span is from `references`, and its last spans together from those before."""
    before = history.before(span)
    known = [entry.profile for entry in references if entry.profile is not None]
    found = measures(profile, known, before.profile if before else None, history.known, settings.rated)
    if (new := new_keys(profile, history.of_weeks(span))) is not None:
        found["new keys"] = new
    newest, earlier = history.lately(span)
    return found | (drifts([*newest, profile], earlier) if earlier else {})


@dataclass(frozen=True)
class _Column:
    """A column's measures, most unusual first, each with how far beyond its bar it is: above 1, and it is unusual."""

    given: list[tuple[float, str]]
    excess: float
    warned: bool


class _Judge:
    """Holds measures against bars, and says what it found as people say it."""

    def __init__(self, span: str, bars: Bars, history: History, settings: Settings, references: list[str]) -> None:
        self._span, self._bars, self._history, self._settings = span, bars, history, settings
        self._references, self._past = references, len(history.past(span))
        self._warning = bars.at(min(_WARNED_MORE * settings.false_alarms, 0.5))

    def checks(self, found: Mapping[str, Measure], profile: Profile) -> tuple[list[Check], dict[str, float]]:
        """Return one check for each column and one for the span, and how far beyond its bar each column is."""
        columns: dict[str, list[str]] = {"": [], **{name: [] for name in profile.columns}}
        for name in found:
            column = column_of(name)
            if self._asked(name):
                continue  # the bar that was given for it says what is usual
            if self._known(name) or not column or _plain(check_of(name), profile.columns[column]):
                columns[column].append(name)
        judged = {column: self._judged(names, found) for column, names in columns.items() if names}
        checks = [self._check(column, told, found) for column, told in judged.items()]
        return checks, {column: told.excess for column, told in judged.items()}

    def _asked(self, name: str) -> bool:
        if name == "new keys":
            return self._settings.new_keys_at_most is not None
        return f"{check_of(name)}_at_most" in self._settings.columns.get(column_of(name), {})

    def _known(self, name: str) -> bool:
        return self._bars.learnt and self._bars.knows(name)

    def _judged(self, names: list[str], found: Mapping[str, Measure]) -> _Column:
        scores = {name: self._bars.score(name, found[name].value) for name in names if self._known(name)}
        wide = {
            name: abs(found[name].value) / _WIDE.get(check_of(name), np.inf) for name in names if name not in scores
        }
        given = [*((score / self._bars.bar(name), name) for name, score in scores.items())]
        given = sorted([*given, *((excess, name) for name, excess in wide.items())], reverse=True)
        warned = any(score > self._bars.bar(name, self._warning) for name, score in scores.items())
        return _Column(given, given[0][0], warned or max(wide.values(), default=0.0) > _WIDE_WARNED)

    def _check(self, column: str, told: _Column, found: Mapping[str, Measure]) -> Check:
        name = told.given[0][1]
        value = found[name]
        low, high = self._usual(name)
        usual = (value.natural(low), value.natural(high))
        common = {"observed": value.observed, "usual": usual, "column": column, "span": self._span}
        if told.excess <= 1 and not told.warned:
            return Check(f"usual values of {column}" if column else "usual rows", "pass", **common)  # type: ignore[arg-type]
        waived = self._history.waived(self._span, column)
        pardoned = waived is not None and told.excess <= _PARDON * waived.excess[column]
        reason = self._reason(value, usual, told.given)
        return Check(
            name,
            "fail" if told.excess > 1 and not pardoned else "warn",
            bound=usual[0] if value.value < low else usual[1],
            reason=reason + (f"; no more than was waived for span {waived.span}" if waived and pardoned else ""),
            remedy="look at its source. If it is right, `flywheel waive` lets this span through.",
            **common,  # type: ignore[arg-type]
        )

    def _usual(self, name: str) -> tuple[float, float]:
        if self._known(name):
            return self._bars.range(name)
        wide = _WIDE.get(check_of(name), np.inf)
        return -wide, wide

    def _reason(self, value: Measure, usual: tuple[float, float], given: list[tuple[float, str]]) -> str:
        shares = value.scale in ("angle", "square")
        low, high, observed = (f"{part:.2%}" if shares else _plainly(part) for part in (*usual, value.observed))
        one_sided = value.scale == "square" or usual[0] == -np.inf
        ends = f"at most {high}" if one_sided else f"{low} to {high}"
        (_, name), *others = given
        by = f"by {self._past} earlier spans" if self._known(name) else "by the wide bars of a short history"
        also = [other for more, other in others[:2] if more > 0.5]
        together = f"; with {' and '.join(also)}, which are as unusual" if also else ""
        means = f"{value.note}; " if value.note else ""
        return f"{means}{name} is {observed}, usually {ends} {by} (beside {_listed(self._references)}){together}"


def _plainly(number: float) -> str:
    """Return a number as people write it: 10,000,000 and not 1e+07."""
    return f"{number:,.0f}" if 999.5 <= abs(number) < 1e15 else f"{number:.3g}"


def _plain(check: str, column: Column) -> bool:
    """Return whether a column can be judged without a past: temperatures are new each day, a weekday is too."""
    return check != "unseen" or (column.kind == "word" and column.distinct > 1)


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
    times = profile.columns[column].points.tolist() if column in profile.columns else []
    late = (here.end - here.start).total_seconds() - times[-1] if len(times) else float("inf")
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


def _one_class(span: str, profile: Profile, history: History, settings: Settings) -> list[Check]:
    """Return a check that fails when all labels are the same, where earlier spans had both, and too many to be chance.

    A rate's own bar cannot say so: it is as wide as storms have made it, and all rows are not far from most.
    """
    rates = history.label_rates(span)
    if not settings.rated or profile.label_rate not in (0.0, 1.0) or not rates:
        return []
    same = max(rates) if profile.label_rate else 1 - min(rates)
    if same >= 1 or profile.rows * np.log10(max(same, 1e-300)) > _CHANCE:
        return []
    label, value = settings.rated, int(profile.label_rate)
    reason = f"{label} is {value} in all {profile.rows:,} rows; in earlier spans at most in {same:.1%} of them"
    return [
        Check(
            f"classes of {label}",
            "fail",
            profile.label_rate,
            column=label,
            span=span,
            rows=profile.rows,
            reason=reason,
            remedy="look how the label is made: has what it is made of arrived?",
        )
    ]


def _asked(span: str, profile: Profile, found: Mapping[str, Measure], settings: Settings) -> list[Check]:
    """Return the checks of bars that flywheel.yaml gives for new keys and for single columns."""
    checks = _new_keys(span, found.get("new keys"), settings.new_keys_at_most)
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


def _new_keys(span: str, found: Measure | None, bound: float | None) -> list[Check]:
    if found is None or bound is None:
        return []
    ok, share = found.observed <= bound, f"{found.observed:.1%} of the keys of {span}"
    return [
        Check(
            f"new keys at most {bound:g}",
            "pass" if ok else "fail",
            found.observed,
            bound,
            span=span,
            reason="" if ok else f"{share} were in no span of the four weeks before, at most {bound:.0%} are accepted",
            remedy="look whether its rows are of another time or place, or raise gates.data.new_keys_at_most."
            * (not ok),
        )
    ]


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
    if check.result not in ("fail", "warn"):
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
