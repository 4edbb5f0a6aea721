"""The report of the data gate: what is wrong, since when and how far from usual; then every column of the span."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Check, Verdict
from flywheel.profiles import Column, History
from flywheel.reports import (
    Card,
    Section,
    _part,
    cards,
    charts,
    join,
    page,
    percent,
    short,
    sparks,
    table,
    verdict_table,
)
from flywheel.reports.findings import Trouble, alike, finding, troubles
from flywheel.reports.past import UNIT, Past, deviation, known, mean
from flywheel.reports.shapes import Looks
from flywheel.reports.sparks import Spark

if TYPE_CHECKING:
    from markupsafe import Markup

_MOST_FINDINGS = 12
_CATEGORIES = 4


def data_page(
    verdict: Verdict, statistics: Mapping[str, Any], history: History, newest: str, facts: Mapping[str, object]
) -> str:
    """Return the report: verdict, what is wrong with both distributions and its past, every column, all checks.

    Args:
        verdict: Of the gate. Of its facts are shown `left_out` and `waived`, reasons by span, and `proposals`, texts.
        statistics: TFDV's of `newest` and `before`, or either of them; what history has no profile of is drawn by them.
        history: Holds the newest span too.
        newest: Which span is judged.
        facts: Figures shown under the verdict.
    """
    past = Past(history, newest)
    looks = Looks(past, statistics)
    wrong = troubles(verdict.checks, past)
    sections = [_wrong(wrong, past, looks), *_decided(verdict, past), _spans(past), _columns(wrong, past, looks)]
    beside = sorted(past.references)
    return page(
        f"Data of {newest}",
        [*(section for section in sections if section is not None), _checks(verdict, newest)],
        verdict=verdict,
        subtitle=f"Compared with {', '.join(beside)}." if beside else "There is no earlier span to compare it with.",
        facts=facts,
    )


def _wrong(found: list[Trouble], past: Past, looks: Looks) -> Section | None:
    groups = alike(found)
    if not groups:
        return None
    shown, more = groups[:_MOST_FINDINGS], groups[_MOST_FINDINGS:]
    lead = f"The worst {len(shown)} of {len(groups)}; all others are among the checks below." if more else ""
    title = "Worth a look" if all(trouble.result == "warn" for trouble in found) else "What is wrong"
    return Section(title, join(charts.legend(looks.names), *(finding(each, past, looks) for each in shown)), lead)


def _decided(verdict: Verdict, past: Past) -> list[Section]:
    """Return what people and the gate decided about spans, and what they are asked."""
    rows = [
        {"span": span, "what": what, "why": reason}
        for what, key in (("left out of the window", "left_out"), ("waived", "waived"))
        for span, reason in sorted(verdict.facts.get(key, {}).items())
    ]
    declared = [span for span in past.spans if past.declared(span)]
    rows += [{"span": span, "what": "declared unusual", "why": "gates.data.calendar"} for span in declared]
    proposals = [{"proposal": text} for text in verdict.facts.get("proposals", ())]
    asked = (
        "What seems to be so, and is not asked for yet. "
        f"`flywheel schema diff {past.newest}` shows the evidence; "
        f"`flywheel schema accept {past.newest} --invariant …` makes one of them a rule."
    )
    found = []
    if proposals:
        found.append(Section("Proposals", table(proposals), asked))
    if rows:
        found.append(Section("Spans that are not like others", table(rows), collapsed=len(rows) > _MOST_FINDINGS))
    return found


def _spans(past: Past) -> Section | None:
    points = past.of_span("rows")
    if not known(points):
        return None
    rows = Card("rows", sparks.bars(points, f"Rows of the last {len(points)} spans"))
    boxes = []
    for figure in ("label rate", "repeated rows"):
        shares = past.of_span(figure)
        if known(shares):
            alt = f"{figure} of the last {len(shares)} spans"
            newest = {"newest": percent(shares[-1].value)}
            boxes.append(Card(figure, sparks.trace(shares, alt, read=percent), newest))
    drawn = join(_part("marks"), cards([rows], wide=True), cards(boxes, wide=True))
    return Section(f"The last {len(points)} spans", drawn)


def _columns(wrong: list[Trouble], past: Past, looks: Looks) -> Section | None:
    results = {trouble.column: trouble.result for trouble in reversed(wrong)}
    boxes = [
        Card(column, _small(column, past, looks), looks.figures(column), results.get(column, ""), looks.unit(column))
        for column in looks.columns
    ]
    lead = f"The values of {past.newest}, and how missing values, mean or top value and distance from usual went along."
    return Section("Every column", join(charts.legend(looks.names), cards(boxes)), lead) if boxes else None


def _small(column: str, past: Past, looks: Looks) -> Markup:
    """Return a column's distribution and its past in small."""
    return join(_pictured(column, looks), sparks.lines(_sparks(column, past)))


def _pictured(column: str, looks: Looks) -> Markup | str:
    shape = looks.shape(column)
    if not shape:
        return "no values"
    alt = f"Distribution of {column}"
    if any(shape.bins.values()):
        return sparks.histogram(shape.bins, alt)
    return sparks.shares(shape.shares, shape.top(_CATEGORIES), alt)


def _sparks(column: str, past: Past) -> list[Spark]:
    newest = past.newest_of(column)
    if newest is None:
        return []
    found = [_spark("missing", column, past, lambda each: each.nulls, percent, 0.05, zero=True)]
    if newest.kind == "word" and newest.values:
        shares = (past.usual_of(column) or newest).values
        top = max(shares, key=lambda word: shares[word], default="")
        found.append(_spark(top, column, past, lambda each: each.values.get(top, 0.0), percent, 0.05, zero=True))
    elif len(newest.points):
        unit = UNIT[past.history.every][0] if newest.kind == "time" else 1.0
        least = 0.2 * deviation(newest) / unit
        found.append(_spark("mean", column, past, lambda each: mean(each) / unit, short, least))
    points = past.of_measure(f"distance of {column}", column)
    if known(points):
        alt = f"Distance of {column} from usual, newest {percent(points[-1].value)}"
        found.append(Spark("distance", sparks.spark(points, alt, 0.05, zero=True), percent(points[-1].value)))
    return found


def _spark(
    label: str,
    column: str,
    past: Past,
    figure: Callable[[Column], float],
    read: Callable[[float], str],
    least: float,
    zero: bool = False,
) -> Spark:
    points = past.of_column(column, figure)
    value = read(points[-1].value)
    return Spark(label, sparks.spark(points, f"{label} of {column}, newest {value}", least, zero), value)


def _checks(verdict: Verdict, newest: str) -> Section:
    checks = tuple(_placed(check, newest) for check in verdict.checks)
    return Section("Every check", verdict_table(replace(verdict, checks=checks)))


def _placed(check: Check, newest: str) -> Check:
    """Return the check with its span said where that is not the newest."""
    where = f"span {check.span}" if check.span not in ("", newest) else ""
    return replace(check, slice=where if check.slice in ("", f"span {check.span}") else check.slice)
