"""The serving gate's report: every check against its bar, what was timed and how often, and the shadow by replay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.artifacts import Check, Verdict
from flywheel.reports import (
    Card,
    Section,
    cards,
    charts,
    join,
    page,
    paragraph,
    percent,
    short,
    sparks,
    table,
    verdict_table,
)

if TYPE_CHECKING:
    from markupsafe import Markup

    from flywheel.serving.outside import Outcome
    from flywheel.serving.shadow import Shadow

_BINS = 41


def render(verdict: Verdict, outcome: Outcome | None, shadow: Shadow | None, why_not: str, model: Path) -> str:
    """Return the report as one self-contained HTML document.

    Args:
        verdict: What the gate decided.
        outcome: What the trial found; None when there was none.
        shadow: What became of logged requests; None when there were none.
        why_not: Why there were none.
        model: MLflow model folder.
    """
    sections = [Section("Checks", join(_bars(verdict.checks), verdict_table(verdict)), _lead(verdict.checks))]
    if outcome and outcome.found.get("latency"):
        sections.append(Section("Speed", _speed(outcome), _HOW))
    sections += _shadow(shadow) if shadow else [Section("Logged requests", paragraph(f"Not replayed: {why_not}."))]
    requirements = model / "requirements.txt"
    if requirements.exists():
        declared = [{"requirement": line} for line in requirements.read_text().split()]
        sections.append(Section("What the model declares", table(declared), collapsed=True))
    return page(
        "The candidate outside the run",
        sections,
        verdict=verdict,
        subtitle="Loaded from its package by a process that does nothing else and knows nothing of the project.",
        facts=_headline(verdict),
    )


_HOW = (
    "Each figure is the median of the repeats, with the least and the largest of them. A call is `predict` of the "
    "MLflow model, without the network. Other work on the machine makes it slower; set bars with room."
)


def _lead(checks: Sequence[Check]) -> str:
    bars = sum(check.bound is not None for check in checks)
    return f"{bars} of {len(checks)} checks have a bar of their own; what has none is only said." if checks else ""


def _headline(verdict: Verdict) -> dict[str, object]:
    names = {
        "p50_ms": "p50 of a call, ms",
        "p99_ms": "p99 of a call, ms",
        "throughput": "rows a second",
        "memory_mb": "resident MB",
        "size_mb": "MB on disk",
    }
    return {label: _rounded(verdict.facts[key]) for key, label in names.items() if key in verdict.facts}


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _bars(checks: Sequence[Check]) -> Markup:
    """Return each check with a bar as a picture: what was found with its spread, and the bar that it has to clear."""
    boxes = []
    for check in checks:
        if check.observed is None or check.bound is None:
            continue
        low, high = check.interval or (check.observed, check.observed)
        line = charts.Interval("", check.observed, low, high, check.result)
        alt = f"{short(check.observed)} against a bar of {short(check.bound)}"
        drawn = sparks.interval(line, alt, check.bound)
        boxes.append(Card(check.name, drawn, result=check.result, facts={"found": check.observed, "bar": check.bound}))
    return cards(boxes)


def _speed(outcome: Outcome) -> Markup:
    rows: list[dict[str, object]] = []
    for timed in outcome.found["latency"]:
        half, tail = timed["spread"]
        rows.append(
            {
                "rows of a call": timed["batch"],
                "p50, ms": timed["p50_ms"],
                "in the repeats": tuple(half),
                "p99, ms": timed["p99_ms"],
                "in the repeats ": tuple(tail),
                "calls": timed["calls"],
                "repeats": timed["repeats"],
            }
        )
    many = outcome.found["throughput"]
    said = f"{short(many['per_second'])} rows a second when {many['rows']:,} are asked at once "
    said += f"(median of {many['repeats']} repeats); loaded in {outcome.found['load_seconds']:.1f} s."
    return join(table(rows), paragraph(said))


def _shadow(shadow: Shadow) -> list[Section]:
    low, high = shadow.interval()
    lead = f"{shadow.rows:,} logged rows that the champion answered, answered by the candidate as well. "
    lead += f"{percent(shadow.share)} change ({shadow.meaning}); 90% interval {percent(low)} to {percent(high)}."
    sections = [Section("Logged requests", join(_distribution(shadow), _quantiles(shadow)), lead)]
    if shadow.groups:
        where = [
            {
                "column": group.column,
                "value": group.value,
                "rows": group.rows,
                "mean difference": group.difference,
                "changed": percent(group.changed),
            }
            for group in shadow.groups
        ]
        sections.append(
            Section("Where they differ most", table(where), "Sizes of differences, by the request's columns.")
        )
    if shadow.worst:
        sections.append(
            Section("Rows that differ most", table(shadow.worst), "As logged; redacted columns are not there.")
        )
    return sections


def _distribution(shadow: Shadow) -> Markup:
    import numpy as np

    counts, edges = np.histogram(shadow.differences, bins=_BINS)
    bins = [
        (float(low), float(high), float(count) / shadow.rows)
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    return charts.histogram({"candidate minus champion": bins}, "candidate minus champion", width=460, height=140)


def _quantiles(shadow: Shadow) -> Markup:
    import numpy as np

    points = (0, 0.01, 0.1, 0.5, 0.9, 0.99, 1)
    found = np.quantile(shadow.differences, points)
    row = {f"{point:.0%}": float(value) for point, value in zip(points, found, strict=True)}
    return join(paragraph("Quantiles of candidate minus champion:"), table([row]))
