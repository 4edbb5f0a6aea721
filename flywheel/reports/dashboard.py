"""A board of many flywheels: a line each, dense enough for fifty on a screen, what needs a person on top."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.ledger.overview import Overview, long
from flywheel.reports import Section, page, percent
from flywheel.reports.past import Point
from flywheel.reports.sparks import spark

if TYPE_CHECKING:
    from markupsafe import Markup

_ORDER = {"fail": 0, "warn": 1, "pass": 2}
_TONES = {
    "promoted": "pass",
    "kept-champion": "kept",
    "not-needed": "kept",
    "awaiting-approval": "warn",
    "data-rejected": "warn",
    "failed": "fail",
}


def dashboard_page(found: Sequence[Overview], now: datetime, where: str) -> str:
    """Return the board as one HTML file; those that need a person first.

    Args:
        found: How each flywheel is doing.
        now: When they were looked at.
        where: The folder that they were found in.
    """
    ordered = sorted(found, key=lambda each: (_ORDER[each.health], each.name, each.folder))
    counts = Counter(each.health for each in found)
    spent = [each.cost for each in found if each.cost is not None]
    facts = {
        "flywheels": len(found),
        "need mending": counts["fail"],
        "to look at": counts["warn"],
        "fine": counts["pass"],
        "hours of runs in 30 days": round(sum(each.seconds for each in found) / 3600, 2),
        **({"cost of 30 days": round(sum(spent), 2)} if spent else {}),
    }
    subtitle = f"{where}, {now:%Y-%m-%d %H:%M} UTC. A line shows the last 30 runs; point at anything for its figures."
    return page("Flywheels", [Section("All", _board(ordered, now))], subtitle=subtitle, facts=facts)


def _board(found: Sequence[Overview], now: datetime) -> Markup:
    from markupsafe import Markup

    titles = (
        "flywheel",
        "last span",
        "last run",
        "outcomes",
        "champion",
        "its age",
        "live metric",
        "drift",
        "spend",
        "",
    )
    head = Markup("").join(
        Markup('<th class="{}">{}</th>').format("n" if title == "spend" else "", title) for title in titles
    )
    names = Counter(each.name for each in found)
    lines = Markup("").join(_line(each, now, names[each.name] > 1) for each in found)
    table = Markup('<div class="scroll"><table class="board"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>')
    style = (Path(__file__).parent / "dashboard.css").read_text()
    return Markup("<style>" + style + "</style>") + table.format(head, lines)


def _line(each: Overview, now: datetime, shares_name: bool) -> Markup:
    from markupsafe import Markup

    age = long(now - each.since) if each.since else ""
    champion = f"v{each.champion} of {each.champion_span}" if each.champion else "none"
    spend = f"{each.seconds / 3600:.2f} h" if each.cost is None else f"{each.cost:,.2f}"
    cells = [
        Markup('<td class="slim">{}</td>').format(each.span),
        Markup("<td>{}</td>").format(f"{long(now - each.ran)} ago" if each.ran else "never"),
        Markup('<td class="slim">{}</td>').format(_strip(each.outcomes)),
        Markup('<td class="slim">{}</td>').format(champion),
        Markup('<td class="slim">{}</td>').format(age),
        Markup("<td>{}</td>").format(_trend(each.quality, each.metric, f"{each.metric} of the model in service")),
        Markup('<td class="slim">{}</td>').format(_trend(each.drift, "", "share of columns that moved", share=True)),
        Markup('<td class="n slim">{}</td>').format(spend),
        Markup('<td class="why" title="{}">{}</td>').format(each.why, each.why),
    ]
    where = Markup(" <small>{}</small>").format(each.folder) if shares_name else ""
    name = Markup('<th scope="row" title="{}"><i></i>{}{}</th>').format(each.folder, each.name, where)
    return Markup('<tr class="{}">{}{}</tr>').format(each.health, name, Markup("").join(cells))


def _trend(values: Sequence[tuple[str, float]], metric: str, alt: str, *, share: bool = False) -> Markup:
    """Return a line through a figure and the last that is known."""
    from markupsafe import Markup

    known = [value for _, value in values if math.isfinite(value)]
    if not known:
        return Markup("")
    points = [Point(span, value) for span, value in values]
    last = percent(known[-1]) if share else f"{known[-1]:.4g}"
    drawn = spark(points, alt, least=0.05, zero=share)
    return Markup('<span title="{}">{} <b>{}</b></span>').format(f"{alt}: {last}", drawn, f"{metric} {last}".strip())


def _strip(outcomes: Sequence[tuple[str, str]]) -> Markup:
    """Return a bar a run, coloured by what became of it."""
    from markupsafe import Markup

    step = 110 / 30
    bars = [
        Markup('<rect class="{}" x="{}" y="0" width="{}" height="10"><title>{}: {}</title></rect>').format(
            _TONES.get(outcome, "kept"), f"{index * step:.1f}", f"{step - 0.8:.1f}", span, outcome
        )
        for index, (span, outcome) in enumerate(outcomes)
    ]
    return Markup('<svg class="strip" viewBox="0 0 110 10" role="img" aria-label="outcomes">{}</svg>').format(
        Markup("").join(bars)
    )
