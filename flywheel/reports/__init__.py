"""Self-contained HTML reports: one file, no script, no network, readable on a phone and in the Kubeflow UI.

A report is a `page` of `Section`s. What goes into a section is made by the helpers here (`verdict_table`, `table`,
`cards`, `paragraph`) and in `flywheel.reports.charts`; they escape everything that they are given. A plain string is
escaped too, so data can never become markup.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Verdict

if TYPE_CHECKING:
    from markupsafe import Markup

_ORDER = ("fail", "undecided", "warn", "pass")
WORDS = {"fail": "failed", "undecided": "undecided", "warn": "warning", "pass": "passed"}
_SHOWN_PASSES = 12


@dataclass(frozen=True)
class Section:
    """One titled part of a page.

    Attributes:
        title: Its heading.
        body: What the helpers gave; a plain string is shown as text.
        lead: A sentence under the heading that says what is to be seen.
        collapsed: Show the heading alone until it is clicked.
    """

    title: str
    body: str | Markup
    lead: str = ""
    collapsed: bool = False


@dataclass(frozen=True)
class Card:
    """One of many small boxes beside one another: a feature, a model, a slice.

    Attributes:
        title: Its name.
        body: A chart, mostly.
        facts: Figures under the title, as `{"missing": "1.2%"}`.
        result: Colours the box as a check's result would: `fail`, `warn`, `undecided`, `pass`; empty for none.
        note: A sentence under the chart.
    """

    title: str
    body: str | Markup = ""
    facts: Mapping[str, object] = field(default_factory=dict)
    result: str = ""
    note: str = ""


def page(
    title: str,
    sections: Sequence[Section],
    *,
    verdict: Verdict | None = None,
    subtitle: str = "",
    facts: Mapping[str, object] | None = None,
    heading: str = "",
) -> str:
    """Return a whole HTML document.

    Args:
        title: What was looked at, as `Data of flight-delays, span 2013-06-01`.
        sections: Its parts, most important first.
        verdict: Stands on top with its outcome in one sentence; give its checks by `verdict_table` in a section.
        subtitle: A sentence under the title.
        facts: Figures shown in a row under the verdict; numbers are rounded for reading.
        heading: What the verdict is called; by default whether it passed.
    """
    from flywheel.reports.templates import PAGE

    columns = {
        check.column: check.result
        for result in ("warn", "undecided", "fail")
        for check in (verdict.checks if verdict else ())
        if check.column and check.result == result
    }
    style = (Path(__file__).parent / "style.css").read_text()
    return PAGE.render(
        title=title,
        sections=sections,
        verdict=verdict,
        columns=dict(sorted(columns.items(), key=lambda item: _ORDER.index(item[1]))),
        subtitle=subtitle,
        facts=facts or {},
        heading=heading,
        style=style,
    )


def verdict_table(verdict: Verdict) -> Markup:
    """Return every check of `verdict`: what failed first, what passed last."""
    ordered = sorted(verdict.checks, key=lambda check: _ORDER.index(check.result))
    decisive = [check for check in ordered if check.result != "pass"]
    passed = [check for check in ordered if check.result == "pass"]
    return _part("verdict", decisive, passed, len(passed) <= _SHOWN_PASSES)


def table(rows: Sequence[Mapping[str, object]], columns: Sequence[str] | None = None) -> Markup:
    """Return `rows` as a table; on a phone each row becomes a box.

    Args:
        rows: One mapping a row; numbers are rounded for reading, markup of the helpers is kept.
        columns: Keys to show, in order; those of the first row by default.
    """
    shown = list(columns or (rows[0] if rows else ()))
    numbers = {column for column in shown if any(isinstance(row[column], int | float) for row in rows)}
    return _part("table", rows, shown, numbers)


def cards(boxes: Sequence[Card], *, wide: bool = False) -> Markup:
    """Return `boxes` side by side, as many in a row as the screen takes; fewer when they are `wide`."""
    return _part("cards", boxes, wide)


def paragraph(text: str) -> Markup:
    """Return `text` as a paragraph."""
    return _part("paragraph", text)


def join(*parts: str | Markup) -> Markup:
    """Return `parts` one after the other; plain strings are escaped."""
    from markupsafe import Markup

    return Markup("\n").join(parts)


def number(value: object) -> str:
    """Return `value` as people read it: four significant digits, thousands apart, a dash for nothing.

    >>> number(336776), number(0.123456), number(None), number((0.1, 0.25))
    ('336,776', '0.1235', '–', '0.1 to 0.25')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, tuple | list):
        return " to ".join(number(part) for part in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.1f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def percent(share: float) -> str:
    """Return a share as people read it.

    >>> percent(0.1234), percent(0.0), percent(0.0002), percent(1.0)
    ('12.3%', '0%', '<0.1%', '100%')
    """
    if not math.isfinite(share):
        return "–"
    if share in (0, 1):
        return f"{share:.0%}"
    return "<0.1%" if share < 0.0005 else ">99.9%" if share >= 0.9995 else f"{share:.1%}"


def short(value: float) -> str:
    """Return a number with three digits that matter, or all of a large whole one.

    >>> short(0.0003171), short(1044.7), short(336776)
    ('0.000317', '1,040', '336,776')
    """
    return number(value if float(value).is_integer() else float(f"{value:.3g}"))


def _part(macro: str, *arguments: Any) -> Markup:
    """Return what a macro of parts.html makes of `arguments`."""
    from markupsafe import Markup

    from flywheel.reports.templates import PARTS

    return Markup(getattr(PARTS.module, macro)(*arguments).strip())


__all__ = [
    "Card",
    "Section",
    "cards",
    "join",
    "number",
    "page",
    "paragraph",
    "percent",
    "short",
    "table",
    "verdict_table",
]
