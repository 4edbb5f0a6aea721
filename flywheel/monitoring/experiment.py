"""An A/B test of two versions, from what was logged of both and the labels that came."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Check, Verdict
from flywheel.errors import ConfigError, DataError
from flywheel.monitoring.join import LABEL, join
from flywheel.monitoring.log import Log
from flywheel.monitoring.sequential import FEWEST, SRM_ALPHA, Arm, Effect, effect, sample_ratio
from flywheel.serving.pyfunc import PREDICTION
from flywheel.serving.request_log import REQUEST, TIME, VERSION

if TYPE_CHECKING:
    import pyarrow as pa

OUTCOMES = ("error", "label")


@dataclass(frozen=True)
class Look:
    """What was known at the end of a span.

    Attributes:
        span: Its name.
        first: Outcomes so far of the first version.
        second: Of the second.
        effect: Second less first; None while there is too little.
    """

    span: str
    first: Arm
    second: Arm
    effect: Effect | None


@dataclass(frozen=True)
class Experiment:
    """Two versions side by side.

    Attributes:
        versions: The first, and the one that is to be better.
        outcome: `error` (less is better) or `label` (more is).
        measure: What that is for the task, in words.
        requests: Requests that each version answered.
        ratio: P-value of the shares that were meant.
        looks: One a span, oldest first.
        verdict: The checks.
    """

    versions: tuple[str, str]
    outcome: str
    measure: str
    requests: Mapping[str, int]
    ratio: float
    looks: tuple[Look, ...]
    verdict: Verdict


def compare(
    log: Log,
    labels: Iterator[pa.RecordBatch],
    settings: Mapping[str, Any],
    task: str,
    label: str,
    versions: tuple[str, str],
    *,
    outcome: str = "error",
    share: float = 0.5,
    alpha: float = 0.05,
    planned: int = 10_000,
) -> Experiment:
    """Return how the outcomes of two versions differ, by an interval that may be looked at daily.

    Only requests older than `monitor.delay` count, for those all labels are there.

    Args:
        log: The requests of the experiment, from its first span on.
        labels: Rows with `settings["id"]`, the label and when it arrived.
        settings: `monitor` of flywheel.yaml, `delay` in seconds.
        task: `binary`, `multiclass` or `regression`.
        label: Column of `labels`.
        versions: The first, and the one that is to be better.
        outcome: `error`: squared error of a chance, wrong classes, absolute error of a number; less is better. `label`:
            what the world did, as clicks; more is better.
        share: Of the requests, what the second version was meant to get.
        alpha: How often no difference may be called one, over all looks together.
        planned: Rows at which the interval is to be narrowest: the same at all looks, or they do not hold together.

    Raises:
        DataError: A version answered no requests, or a label is none of the task.
        ConfigError: A column is missing, or the two are one.
    """
    if versions[0] == versions[1]:
        raise ConfigError(f"version {versions[0]!r} is to be compared with itself", "name two versions.")
    join(log, labels, settings, label, task if outcome == "error" else "")
    told = {"first": versions[0], "second": versions[1]}
    counted = dict(
        log.ask(
            f"SELECT {VERSION}, count(DISTINCT {REQUEST}) FROM requests WHERE {VERSION} IN ($first, $second) "
            "GROUP BY ALL",
            told,
        )
    )
    if missing := [version for version in versions if version not in counted]:
        found = ", ".join(str(row[0]) for row in log.ask(f"SELECT DISTINCT {VERSION} FROM requests ORDER BY 1"))
        raise DataError(
            f"version {missing[0]!r} answered no request of {log.spans[0]} to {log.spans[-1]}, "
            f"only {found or 'none'} did",
            "name versions that were in service side by side, or other spans by --from and --until.",
        )
    value, measure = _outcome(task, outcome)
    rows = log.ask(
        f"SELECT flywheel_span, {VERSION}, count(*), sum(y), sum(y * y) FROM "
        f"(SELECT flywheel_span, {VERSION}, {value} AS y FROM labelled "
        f"WHERE {LABEL} IS NOT NULL AND {VERSION} IN ($first, $second) "
        f"AND epoch(TIMESTAMP '{log.spans[-1].end}') - epoch({TIME}) >= {float(settings['delay'])}) GROUP BY ALL",
        told,
    )
    requests = {version: int(counted[version]) for version in versions}
    ratio = sample_ratio(requests, {versions[0]: 1 - share, versions[1]: share})
    looks = _looks(
        log, {(span, version): Arm(*map(float, sums)) for span, version, *sums in rows}, versions, alpha, planned
    )
    verdict = _verdict(looks, requests, ratio, share, versions, outcome, measure)
    return Experiment(versions, outcome, measure, requests, ratio, looks, verdict)


def _outcome(task: str, outcome: str) -> tuple[str, str]:
    """Return an outcome as SQL and in words."""
    if outcome == "label":
        return f"CAST({LABEL} AS DOUBLE)", "mean label"
    if task == "multiclass":
        wrong = f"CAST(CAST({PREDICTION} AS VARCHAR) <> CAST({LABEL} AS VARCHAR) AS DOUBLE)"
        return wrong, "share of wrong classes"
    apart = f"(CAST({PREDICTION} AS DOUBLE) - CAST({LABEL} AS DOUBLE))"
    return (f"{apart} ** 2", "mean squared error") if task == "binary" else (f"abs{apart}", "mean absolute error")


def _looks(
    log: Log, arms: Mapping[tuple[str, str], Arm], versions: tuple[str, str], alpha: float, planned: float
) -> tuple[Look, ...]:
    nothing = Arm(0.0, 0.0, 0.0)
    so_far = [nothing, nothing]
    looks = []
    for span in log.spans:
        for at, version in enumerate(versions):
            more, had = arms.get((span.name, version), nothing), so_far[at]
            so_far[at] = Arm(had.rows + more.rows, had.total + more.total, had.squares + more.squares)
        first, second = so_far
        looks.append(Look(span.name, first, second, effect(first, second, alpha, planned)))
    return tuple(looks)


def _verdict(
    looks: tuple[Look, ...],
    requests: Mapping[str, int],
    ratio: float,
    share: float,
    versions: tuple[str, str],
    outcome: str,
    measure: str,
) -> Verdict:
    last, (first, second) = looks[-1], versions
    bad = ratio < SRM_ALPHA
    why = (
        f"version {second} got {requests[second] / sum(requests.values()):.2%} of the requests, {share:.2%} were meant"
    )
    why += f" (p = {ratio:.2g})"
    remedy = "find out what sends or logs requests otherwise; until then believe nothing of this."
    checks = [Check("sample ratio", "fail" if bad else "pass", ratio, SRM_ALPHA, "", why * bad, remedy * bad)]
    facts: dict[str, Any] = {"versions": list(versions), "outcome": outcome, "requests": dict(requests), "ratio": ratio}
    if last.effect is None:
        why = f"{last.first.rows:,.0f} and {last.second.rows:,.0f} outcomes are there, {FEWEST} of each are the least"
        return Verdict("experiment", (*checks, Check("effect", "undecided", reason=why, remedy="wait.")), facts)
    found, sign = last.effect, 1 if outcome == "label" else -1
    decided = not math.isnan(found.value) and (found.low > 0 or found.high < 0)
    worse = decided and found.value * sign < 0
    said = "no difference is shown" if not decided else f"version {second} is {'worse' if worse else 'better'}"
    why = f"{said}: {measure} {last.first.mean:.4f} of version {first}, {last.second.mean:.4f} of version {second}; "
    why += f"difference {found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f} at any look)"
    result = "fail" if worse else "pass" if decided else "undecided"
    rows = int(last.first.rows + last.second.rows)
    facts |= {"effect": found.value, "low": found.low, "high": found.high, "p": found.p, "rows": rows}
    interval = (found.low, found.high)
    checks.append(Check("effect", result, found.value, 0.0, "", why, "go on" * (not decided), interval, rows))
    return Verdict("experiment", tuple(checks), facts)


def render(found: Experiment, name: str) -> str:
    """Return the report as one self-contained HTML document."""
    from flywheel.reports import Section, charts, join, page, table, verdict_table

    first, second = found.versions
    drawn = [
        charts.Interval(look.span, look.effect.value, look.effect.low, look.effect.high)
        for look in found.looks
        if look.effect
    ]
    rows = [
        {
            "span": look.span,
            f"outcomes of {first}": int(look.first.rows),
            f"outcomes of {second}": int(look.second.rows),
            f"{found.measure} of {first}": look.first.mean,
            f"{found.measure} of {second}": look.second.mean,
            "difference": look.effect.value if look.effect else None,
            "interval": (look.effect.low, look.effect.high) if look.effect else None,
        }
        for look in found.looks
    ]
    lead = "Each line is what was known at the end of that day. All of them together hold the truth, but for alpha: "
    lead += "the experiment may be stopped the first time that a line is clear of zero."
    picture = charts.intervals(drawn, "difference by day", bound=0.0) if drawn else ""
    sections = [
        Section("Checks", verdict_table(found.verdict), "If the sample ratio is off, nothing else counts."),
        Section("Day by day", join(picture, table(rows)), lead),
    ]
    ratio = {f"requests of {version}": count for version, count in found.requests.items()}
    title = f"{name}: version {second} beside version {first}"
    better = "less is better" if found.outcome == "error" else "more is better"
    failed = found.verdict.failed[0].name if found.verdict.failed else ""
    worse = f"Version {second} is worse" if failed else ""
    heading = "Not to be believed" if failed == "sample ratio" else worse
    facts = {**ratio, "sample ratio p": found.ratio}
    subtitle = f"{found.measure[0].upper()}{found.measure[1:]}: {better}."
    return page(title, sections, verdict=found.verdict, subtitle=subtitle, facts=facts, heading=heading)
