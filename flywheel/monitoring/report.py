"""The report of a look at what serving sees: one page, no script, no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flywheel.artifacts import Verdict
from flywheel.monitoring.quality import Quality
from flywheel.monitoring.service import Service
from flywheel.profiles import Column, Profile
from flywheel.profiles.distances import pool
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
from flywheel.reports.shapes import of_columns
from flywheel.spans import Span

if TYPE_CHECKING:
    from markupsafe import Markup

_CATEGORIES = 6
_MEANS = {
    "fine": "Nothing to do.",
    "retrain": "It is time to retrain: the model in service is no longer the one for these requests.",
    "alert": "Somebody has to look: training on what comes in now would not mend it.",
}


@dataclass(frozen=True)
class Seen:
    """What one look found, for the report.

    Attributes:
        span: Which span was looked at.
        version: Version in service.
        rows: Requests' rows by span.
        service: How the service did.
        quality: What became of the predictions; None without labels.
        judged: The same metric when the version was judged; None when it is not known.
        profile: Of the span's requests.
        before: Of the span before, if it had any.
        trained: Of the training window's spans.
    """

    span: Span
    version: str
    rows: Mapping[str, int]
    service: Service
    quality: Quality | None
    judged: float | None
    profile: Profile
    before: Profile | None
    trained: Sequence[Profile]


def render(verdict: Verdict, seen: Seen, name: str) -> str:
    """Return the report as one self-contained HTML document.

    Args:
        verdict: What was decided.
        seen: What was found.
        name: Of the flywheel.
    """
    state = str(verdict.facts["state"])
    sections = [Section("Checks", verdict_table(verdict))]
    sections += [_quality(seen.quality, seen.judged)] if seen.quality else [_no_labels()]
    sections += [_service(seen.service)] if seen.service.answered or seen.service.failed else []
    sections += [_traffic(seen.rows), _columns(seen, verdict)]
    facts: dict[str, object] = {"verdict": state, "rows": seen.rows[seen.span.name], "version": seen.version}
    facts |= {key: verdict.facts[key] for key in ("requests", "p50_ms", "p99_ms", "error_rate") if key in verdict.facts}
    if seen.quality and not math.isnan(seen.quality.value):
        facts[f"live {seen.quality.metric}"] = seen.quality.value
    subtitle = f"Version {seen.version} in service. {_MEANS[state]}"
    title = f"{name} in service, {seen.span}: {state}"
    return page(title, sections, verdict=verdict, subtitle=subtitle, facts=facts, heading=state.capitalize())


def _no_labels() -> Section:
    return Section("Live quality", paragraph("Not measured: `monitor.labels` names no SQL file that gives labels."))


def _quality(found: Quality, judged: float | None) -> Section:
    points = [(float(at), each.value) for at, each in enumerate(found.spans) if not math.isnan(each.value)]
    lines = {f"live {found.metric}": points}
    if judged is not None and points:
        lines["judged at"] = [(points[0][0], judged), (points[-1][0], judged)]
    rows = [
        {
            "span": each.span,
            "rows": each.requests,
            "labels": each.labelled,
            "arrived": percent(each.arrived),
            "usual by now": percent(each.usual) if each.usual is not None else "not known",
            found.metric: each.value,
            "standard error": each.error,
        }
        for each in found.spans
        if each.requests
    ]
    how = "from how spans differ" if found.clustered else "rows taken as independent: too narrow"
    lead = (
        f"All spans together {short(found.value)}, {short(found.low)} to {short(found.high)} (99% on each side, {how})"
        if not math.isnan(found.value)
        else "Too few labels have arrived"
    )
    lead += f"; judged at {short(judged)}. " if judged is not None else ". "
    lead += "A label that arrived stands for those of its class that usually come later."
    drawn = [
        charts.legend(list(lines)),
        charts.lines(lines, f"{found.metric} by span", x="span", y=found.metric, width=460),
    ]
    return Section("Live quality", join(*(drawn if len(points) > 1 else []), table(rows) if rows else ""), lead)


def _service(found: Service) -> Section:
    points = [
        (float(at.hour + 24 * (at.date() - min(found.hours).date()).days), told) for at, told in found.hours.items()
    ]
    requests = {"answered": [(at, float(told[0])) for at, told in points]}
    if found.failed:
        requests["failed"] = [(at, float(told[2])) for at, told in points]
    quantiles = {f"{share:.4g}": found.milliseconds(share) for share in (0.5, 0.9, 0.99, 0.999)}
    row = {f"p{100 * float(share):g}, ms": value for share, value in quantiles.items()} if found.answered else {}
    counts = {"answered": found.answered, "refused (4xx)": found.refused, "failed (5xx)": found.failed}
    counts |= {f"version {version}": count for version, count in found.versions.items()}
    drawn = [
        charts.legend(list(requests)),
        charts.lines(requests, "requests by hour", x="hour", y="requests", width=460),
    ]
    body = join(*(drawn if len(points) > 1 else []), table([counts]), table([row]) if row else "")
    return Section("The service", body, "All requests, sampled or not; times are those in the model, within 12%.")


def _traffic(rows: Mapping[str, int]) -> Section:
    told = [{"span": span, "rows logged": count} for span, count in rows.items()]
    return Section("Rows by span", table(told), collapsed=True)


def _columns(seen: Seen, verdict: Verdict) -> Section:
    results = {
        check.column: check.result for check in reversed(verdict.checks) if check.column and check.result != "pass"
    }
    names = ["requests", "what the champion was trained on"]
    weights = [float(each.rows) for each in seen.trained]
    boxes = []
    for column, now in seen.profile.columns.items():
        then = _pooled(seen.trained, column, weights, now.kind)
        before = seen.before.columns.get(column) if seen.before else None
        other = then if then is not None else before  # what answers stands in no training data
        known = dict(zip(names, (now, other), strict=True))
        sides = {name: each for name, each in known.items() if each is not None and each.kind == now.kind}
        facts = {"missing": percent(now.nulls)} if now.nulls else {}
        boxes.append(Card(column, _pictured(column, sides), facts, results.get(column, "")))
    boxes.sort(key=lambda box: (box.result != "fail", box.result != "warn"))
    lead = "What was asked, beside what the champion was trained on; predictions beside those of the span before."
    return Section("Every column", join(charts.legend(names), cards(boxes)) if boxes else "no requests", lead)


def _pooled(profiles: Sequence[Profile], column: str, weights: Sequence[float], kind: str) -> Column | None:
    having = [
        (each.columns[column], weight)
        for each, weight in zip(profiles, weights, strict=True)
        if column in each.columns and each.columns[column].kind == kind
    ]
    return pool([each for each, _ in having], [weight for _, weight in having]) if having else None


def _pictured(column: str, sides: Mapping[str, Column]) -> Markup | str:
    shape = of_columns(sides)
    if not shape:
        return "no values"
    alt = f"Distribution of {column}"
    if any(shape.bins.values()):
        return sparks.histogram(shape.bins, alt)
    return sparks.shares(shape.shares, shape.top(_CATEGORIES), alt)
