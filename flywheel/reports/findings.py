"""What is wrong with a span, column by column: in words, how far from usual, since when, and in pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Check
from flywheel.reports import _part, charts, percent, sparks
from flywheel.reports.past import FIGURES, Past, Point, kind_of, known
from flywheel.reports.shapes import Looks
from flywheel.reports.words import figure, is_rule, meaning, reader, usual

if TYPE_CHECKING:
    from markupsafe import Markup

_ORDER = ("fail", "undecided", "warn")
_MOST_SAID = 3
_CATEGORIES = 8
_MANY = 3


@dataclass(frozen=True)
class Trouble:
    """What did not pass of one column, or of the rows as a whole: then there is no column, and one check.

    Attributes:
        column: Which column; empty for the rows.
        checks: What did not pass, worst first.
        excess: How far it is beyond its bar.
    """

    column: str
    checks: tuple[Check, ...]
    excess: float = 0.0

    @property
    def result(self) -> str:
        """The worst result of its checks."""
        return self.checks[0].result

    @property
    def rank(self) -> tuple[int, bool, float]:
        """What blocks comes first; of that what breaks a rule, and then what is furthest out."""
        return _ORDER.index(self.result), all(check.usual is not None for check in self.checks), -self.excess


def troubles(checks: Sequence[Check], past: Past) -> list[Trouble]:
    """Return what did not pass in the newest span, worst first."""
    history, newest = past.history, past.newest
    excess = history[newest].excess if newest in history else {}
    found: dict[tuple[str, str], list[Check]] = {}
    for check in checks:
        if check.result != "pass" and check.span in ("", newest):
            found.setdefault((check.column, "" if check.column else check.name), []).append(check)
    grouped = [
        Trouble(column, tuple(sorted(each, key=lambda check: _ORDER.index(check.result))), excess.get(column, 0.0))
        for (column, _), each in found.items()
    ]
    return sorted(grouped, key=lambda trouble: trouble.rank)


def alike(found: Sequence[Trouble]) -> list[list[Trouble]]:
    """Return troubles in groups, each at the place of its first: three columns or more with the same checks are one."""
    groups: dict[tuple[str, ...], list[Trouble]] = {}
    for trouble in found:
        kinds = sorted(kind_of(check.name, check.column) for check in trouble.checks)
        groups.setdefault((trouble.result, *kinds), []).append(trouble)
    parted = [part for group in groups.values() for part in ([group] if len(group) >= _MANY else [[e] for e in group])]
    return sorted(parted, key=lambda group: found.index(group[0]))


def finding(group: Sequence[Trouble], past: Past, looks: Looks) -> Markup:
    """Return a box that says what is wrong, of the first column with both distributions and its past.

    Args:
        group: One column, or several with the same checks; worst first.
        past: Of the newest span.
        looks: What columns look like.
    """
    first, *others = group
    said = list(dict.fromkeys((meaning(check), check.reason) for check in first.checks))
    remedies = list(dict.fromkeys(check.remedy for check in first.checks if check.remedy))
    pictures = [picture for picture in (_distribution(first.column, looks), _history(first, past)) if picture]
    return _part(
        "finding",
        ", ".join(trouble.column or trouble.checks[0].name for trouble in group),
        first.result,
        _figures(first, past, looks),
        said[:_MOST_SAID],
        max(len(said) - _MOST_SAID, 0),
        remedies[:_MOST_SAID],
        {trouble.column: _figures(trouble, past, looks) for trouble in others},
        [(f"{first.column}: {caption}" if others else caption, picture) for caption, picture in pictures],
    )


def _figures(trouble: Trouble, past: Past, looks: Looks) -> dict[str, str]:
    """Return how far off it is and since when."""
    figures: dict[str, str] = {}
    for check in trouble.checks:
        if check.observed is not None and not figures:
            name = "broken by" if is_rule(check) else kind_of(check.name, check.column)
            figures[name] = figure(check, check.observed)
            figures["usually"] = usual(check)
            figures["accepted"] = figure(check, check.bound) if check.bound is not None and not check.usual else ""
    figures["values"] = looks.far_out(trouble.column)
    if any(check.span == past.newest for check in trouble.checks):
        blocked = past.since(trouble.column)
        figures["since"] = f"{blocked[0]} ({len(blocked) + 1} spans)" if blocked else "this span"
        figures["before that"] = past.last_time(trouble.column)
    return {name: value for name, value in figures.items() if value}


def _distribution(column: str, looks: Looks) -> tuple[str, Markup] | None:
    shape = looks.shape(column) if column else None
    if not shape:
        return None
    series: Mapping[str, Any] = shape.bins or shape.shares
    gone = "" if series.get(looks.names[0]) else f", {looks.names[0]} has none"
    alt = f"Distribution of {column} in {' and in '.join(series)}"
    if shape.bins:
        caption = f"Distribution {looks.unit(column)}".rstrip() + gone
        return caption, charts.histogram(shape.bins, alt, width=440, height=120)
    top = shape.top(_CATEGORIES, moved=True)
    shares = {name: {each: found.get(each, 0.0) for each in top} for name, found in shape.shares.items()}
    return f"Shares of values{gone}", charts.bars(shares, alt, width=440)


def _history(trouble: Trouble, past: Past) -> tuple[str, Markup] | None:
    """Return the figure of the first check that has a past, else how far the column was from usual."""
    for check in trouble.checks:
        points = past.of_check(check)
        if known(points):
            kind = kind_of(check.name, check.column)
            shaded = "; shaded: where it usually is" if check.usual else ""
            return _traced(kind + shaded, points, reader(check), check.usual, past.steady(check))
    if not trouble.column:
        return None
    points = past.of_measure(f"distance of {trouble.column}", trouble.column)
    if known(points):
        return _traced("distance from usual", points, percent)
    points = past.of_column(trouble.column, FIGURES["nulls"])
    return _traced("nulls", points, percent) if known(points) else None


def _traced(
    what: str,
    points: Sequence[Point],
    read: Callable[[float], str],
    usual: tuple[float, float] | None = None,
    steady: bool = False,
) -> tuple[str, Markup]:
    alt = f"{what} over the last {len(points)} spans, newest {read(points[-1].value)}"
    return what[0].upper() + what[1:], sparks.trace(points, alt, usual, steady=steady, read=read)
