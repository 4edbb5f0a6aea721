"""How a step of a canary is judged: the new version's errors and latency, beside the former's in the same minutes.

A bar fails a version only when the data shows that it is broken, passes it when the figure is within it and there are
requests enough to have shown otherwise, and is undecided in between: then the step is held and looked at again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

from flywheel.artifacts import Check
from flywheel.config import Canary
from flywheel.serving.targets.prometheus import Traffic

ALPHA = 0.05
"""Chance that a version which keeps every bar is taken back by one of them, over all looks at it."""


@dataclass(frozen=True)
class Quantile:
    """A quantile of latencies that were counted in buckets, with a confidence interval.

    Attributes:
        value: The estimate, interpolated within its bucket as Prometheus does.
        low: Lower confidence bound, the lower edge of its bucket.
        high: Upper confidence bound, the upper edge of its bucket; infinite when there are too few requests for one.
    """

    value: float
    low: float
    high: float


def looks(canary: Canary) -> int:
    """Return at most how often all steps together are looked at."""
    return len(canary.steps) * max(1, int(canary.patience / canary.hold))


def judge(canary: Canary, percent: int, new: Traffic, former: Traffic) -> list[Check]:
    """Return what the bars say of a step.

    Args:
        canary: The bars.
        percent: The step.
        new: Requests to the new version.
        former: Requests to the former version in the same minutes; none in the last step.
    """
    alpha = ALPHA / looks(canary) / 4  # there are at most four bars
    checks = [_errors(canary, new, alpha), _more_errors(new, former, alpha)]
    if canary.max_p99_ms is not None:
        checks.append(_slow(canary.max_p99_ms, new, alpha))
    if canary.max_latency_ratio is not None and former.requests:
        checks.append(_slower(canary.max_latency_ratio, new, former, alpha))
    found = [check for check in checks if check is not None]
    enough = new.requests >= canary.min_requests
    if not enough and not any(check.result == "fail" for check in found):
        found = [_too_few(canary, new)]
    return [Check(**vars(check) | {"slice": f"step={percent}%"}) for check in found]


def quantile(latencies: dict[float, int], share: float, alpha: float) -> Quantile | None:
    """Return a quantile of latencies in cumulated buckets, None without any.

    The interval is of order statistics, whatever the distribution (David & Nagaraja, Order Statistics, 2003, 7.1): how
    many of n lie below the quantile is binomial. Each bound errs with at most `alpha`.
    """
    total = max(latencies.values(), default=0)
    if not total:
        return None
    low = stats.binom.ppf(alpha, total, share)
    high = stats.binom.ppf(1 - alpha, total, share) + 1
    return Quantile(
        _at(latencies, share * total)[1],
        _at(latencies, max(low, 1))[0],
        _at(latencies, high)[2] if high <= total else math.inf,
    )


def _at(latencies: dict[float, int], rank: float) -> tuple[float, float, float]:
    """Return the lower edge of the bucket that holds the value of a rank, the value itself, and the upper edge."""
    below, edge = 0, 0.0
    for bound, count in latencies.items():
        if count >= rank:
            if math.isinf(bound):
                return edge, edge, bound
            return edge, edge + (bound - edge) * (rank - below) / (count - below), bound
        below, edge = count, bound
    return edge, edge, math.inf


def _errors(canary: Canary, new: Traffic, alpha: float) -> Check | None:
    """Return the check of the error rate, with its exact interval (Clopper & Pearson 1934)."""
    if not new.requests:
        return None
    failed, passed = new.errors, new.requests - new.errors
    low = float(stats.beta.ppf(alpha, failed, passed + 1)) if failed else 0.0
    high = float(stats.beta.ppf(1 - alpha, failed + 1, passed)) if passed else 1.0
    rate, bar = new.errors / new.requests, canary.max_error_rate
    said = f"{new.errors:,} of {new.requests:,} requests failed"
    return Check(
        f"error rate at most {bar:g}",
        _result(low, rate, bar),
        observed=rate,
        bound=bar,
        interval=(low, high),
        rows=new.requests,
        reason=f"{said}, at most {bar:.3g} of them may" if low > bar else said,
        remedy="look into the log of the new revision's pods." if rate > bar else "",
    )


def _more_errors(new: Traffic, former: Traffic, alpha: float) -> Check | None:
    """Return whether more requests fail than with the former version, by Fisher's exact test."""
    if not new.requests or not former.requests:
        return None
    counts = [[new.errors, new.requests - new.errors], [former.errors, former.requests - former.errors]]
    chance = float(stats.fisher_exact(counts, alternative="greater")[1])
    more = new.errors / new.requests - former.errors / former.requests
    said = (
        f"{new.errors:,} of {new.requests:,} requests failed, {former.errors:,} of {former.requests:,} of the former's"
    )
    return Check(
        "no more errors than the former version",
        "fail" if chance < alpha else "pass",
        observed=more,
        bound=0.0,
        rows=new.requests + former.requests,
        reason=said,
        remedy="look into the log of the new revision's pods." if chance < alpha else "",
    )


def _slow(bar: float, new: Traffic, alpha: float) -> Check | None:
    found = quantile(dict(new.latencies), 0.99, alpha)
    if found is None:
        return None
    return Check(
        f"99th percentile at most {bar:g} ms",
        _result(found.low, found.value, bar),
        observed=found.value,
        bound=bar,
        interval=(found.low, found.high) if math.isfinite(found.high) else None,
        rows=new.requests,
        reason=f"99% of the requests were answered within {found.value:.4g} ms",
        remedy="give it more cpu or replicas, or a smaller model." if found.value > bar else "",
    )


def _slower(bar: float, new: Traffic, former: Traffic, alpha: float) -> Check | None:
    ours, theirs = (quantile(dict(seen.latencies), 0.99, alpha / 2) for seen in (new, former))
    if ours is None or theirs is None or not theirs.value:
        return None
    low, ratio = ours.low / theirs.high, ours.value / theirs.value
    return Check(
        f"99th percentile at most {bar:g} times the former's",
        _result(low, ratio, bar),
        observed=ratio,
        bound=bar,
        interval=(low, ours.high / theirs.low) if theirs.low and math.isfinite(ours.high) else None,
        rows=new.requests + former.requests,
        reason=f"99% of the requests took up to {ours.value:.4g} ms, the former's up to {theirs.value:.4g} ms",
        remedy="give it more cpu or replicas, or a smaller model." if ratio > bar else "",
    )


def _too_few(canary: Canary, new: Traffic) -> Check:
    minutes = canary.hold.total_seconds() / 60
    return Check(
        "requests enough to judge",
        "undecided",
        observed=float(new.requests),
        bound=float(canary.min_requests),
        rows=new.requests,
        reason=f"{new.requests:,} requests in {minutes:.3g} min judge nothing, {canary.min_requests:,} would",
        remedy="hold longer, begin with a larger step, or lower deploy.canary.min_requests.",
    )


def _result(low: float, value: float, bar: float) -> str:
    return "fail" if low > bar else "pass" if value <= bar else "undecided"
