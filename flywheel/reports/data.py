"""The report of the data gate: what each column looks like, newest span and the one before, from TFDV statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flywheel import statistics
from flywheel.artifacts import Check, Verdict
from flywheel.reports import Card, Section, cards, charts, join, page, verdict_table

if TYPE_CHECKING:
    from markupsafe import Markup

_MOST_CATEGORIES = 8


def data_page(verdict: Verdict, found: Mapping[str, Any], spans: Mapping[str, str], facts: Mapping[str, object]) -> str:
    """Return the report: verdict, what is wrong with both distributions, all checks, every column.

    Args:
        verdict: Of the gate; its checks are named `… of <column>`.
        found: TFDV statistics of `newest`, and of `before` where there is such a span.
        spans: What those two are called.
        facts: Figures shown under the verdict.
    """
    newest = {each.path.step[0]: each for each in statistics.features(found["newest"])}
    before = {each.path.step[0]: each for each in statistics.features(found["before"])} if "before" in found else {}
    names = (spans["newest"], spans.get("before", "before"))
    trouble = _trouble(verdict)
    pictures = [
        _card(newest.get(column), before.get(column), names, checks, width=380, height=130)
        for column, checks in trouble.items()
        if column in newest or column in before
    ]
    columns = [_card(each, before.get(name), names, trouble.get(name, []), said=False) for name, each in newest.items()]
    colours = charts.legend(names if before else names[:1])
    sections = [Section("What is wrong", join(colours, cards(pictures, wide=True)))] if pictures else []
    sections += [
        Section("Checks", verdict_table(verdict)),
        Section("Every column", join(colours, cards(columns)), "The newest span beside the one before it."),
    ]
    return page(
        f"Data up to {names[0]}", sections, verdict=verdict, subtitle="May this data train a model?", facts=facts
    )


def _trouble(verdict: Verdict) -> dict[str, list[Check]]:
    """Return what did not pass, by column; what blocks first."""
    trouble: dict[str, list[Check]] = {}
    for check in verdict.failed + verdict.undecided + verdict.warned:
        trouble.setdefault(check.name.partition(" of ")[2], []).append(check)
    return trouble


def _card(
    newest: Any, before: Any, names: tuple[str, str], checks: Sequence[Check], said: bool = True, **spec: Any
) -> Card:
    """Return the card of one column; either of its statistics may be None, not both."""
    present = {name: each for name, each in zip(names, (newest, before), strict=True) if each is not None}
    first = newest or before
    note = "; ".join(dict.fromkeys(check.reason for check in checks)) if said else ""
    result = checks[0].result if checks else ""
    return Card(first.path.step[0], _chart(present, **spec), _facts(first), result, note)


def _chart(series: Mapping[str, Any], **spec: Any) -> Markup | str:
    first = next(iter(series.values()))
    column = first.path.step[0]
    alt = f"Distribution of {column} in {' and '.join(series)}"
    if first.WhichOneof("stats") == "num_stats":
        drawn = {name: _widened(statistics.bins(found)) for name, found in series.items()}
        return charts.histogram(drawn, alt, **spec) if any(drawn.values()) else "no values"
    shares = {name: statistics.shares(found) for name, found in series.items()}
    together: dict[str, float] = {}
    for found in shares.values():
        for category, share in found.items():
            together[category] = max(together.get(category, 0.0), share)
    top = sorted(together, key=lambda category: -together[category])[:_MOST_CATEGORIES]
    if not top:
        return "no values"
    return charts.bars(
        {name: {each: found.get(each, 0.0) for each in top} for name, found in shares.items()}, alt, **spec
    )


def _widened(bins: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Return `bins`, those without width given a little: a column with one value is to be seen too."""
    if bins and bins[0][0] == bins[-1][1]:
        value = bins[0][0]
        margin = abs(value) * 0.05 or 0.05
        return [(value - margin, value + margin, 1.0)]
    return bins


def _facts(feature: Any) -> dict[str, object]:
    common = statistics.common(feature)
    rows = common.num_non_missing + common.num_missing
    facts: dict[str, object] = {"missing": f"{common.num_missing / rows:.1%}"} if rows and common.num_missing else {}
    if feature.WhichOneof("stats") == "num_stats":
        found = feature.num_stats
        return facts | {"mean": found.mean, "min": found.min, "max": found.max}
    return facts | {"distinct": feature.string_stats.unique}
