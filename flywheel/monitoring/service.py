"""How the service did: requests, errors and latency of a span, from counts of all requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from flywheel.artifacts import Check
from flywheel.monitoring.log import days_of
from flywheel.serving import traffic
from flywheel.spans import Span

_LEAST = 20


@dataclass(frozen=True)
class Service:
    """What came in a span.

    Attributes:
        answered: Requests that were answered.
        refused: Requests that were wrong (4xx).
        failed: Requests that the model failed (5xx).
        rows: Rows that were predicted.
        broken: Lines that were cut off.
        seconds: Requests by bucket of their time.
        hours: Answered, refused and failed by hour.
        versions: Requests answered by version.
    """

    answered: int = 0
    refused: int = 0
    failed: int = 0
    rows: int = 0
    broken: int = 0
    seconds: Counter[int] = field(default_factory=Counter)
    hours: Mapping[datetime, tuple[int, int, int]] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, span: Span) -> Service:
        """Return what came in `span` by the counts beside the request log in `folder`."""
        minutes, broken = traffic.read(folder, days_of([span]))
        inside = {key: each for key, each in minutes.items() if span.start <= key[0] < span.end}
        seconds: Counter[int] = Counter()
        hours: dict[datetime, tuple[int, int, int]] = {}
        versions: Counter[str] = Counter()
        for (at, version), each in sorted(inside.items()):
            seconds += each.seconds
            hour, told = at.replace(minute=0), (each.answered, each.refused, each.failed)
            before = hours.get(hour, (0, 0, 0))
            hours[hour] = (before[0] + told[0], before[1] + told[1], before[2] + told[2])
            versions[version] += each.answered
        answered, refused, failed = (sum(told[place] for told in hours.values()) for place in range(3))
        return cls(answered, refused, failed, sum(m.rows for m in inside.values()), broken, seconds, hours, versions)

    @property
    def error_rate(self) -> float:
        """Share of requests that the model failed, of those that were not wrong themselves."""
        return self.failed / max(self.answered + self.failed, 1)

    def milliseconds(self, share: float) -> float:
        """Return a quantile of the time of a request in the model, in ms; right within 12%."""
        return 1000 * traffic.quantile(self.seconds, share)

    def checks(self, settings: Mapping[str, Any]) -> list[Check]:
        """Return what there is to say of errors and latency; nothing where no request was counted.

        Args:
            settings: `monitor` of flywheel.yaml.
        """
        total = self.answered + self.failed
        if not total:
            return []
        checks = [_errors(self, total, float(settings["max_error_rate"]))]
        if (bound := settings.get("p99_ms")) is not None and self.answered >= _LEAST:
            p99 = self.milliseconds(0.99)
            slow = p99 > bound
            why = f"one request in a hundred takes {p99:.3g} ms and more, at most {bound:g} ms are accepted"
            remedy = "give the server more room, or raise monitor.p99_ms."
            checks.append(Check("latency", "fail" if slow else "pass", p99, bound, "", why * slow, remedy * slow))
        return checks


def _errors(service: Service, total: int, bound: float) -> Check:
    """Return whether too many requests failed: by Wilson's lower bound (1927), so that one failure is no alarm."""
    z, share = 2.326, service.error_rate  # one-sided 99%
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * (share * (1 - share) / total + z**2 / (4 * total**2)) ** 0.5
    bad = middle - half > bound
    why = f"the model failed {service.failed:,} of {total:,} requests ({share:.2%}), at most {bound:.2%} are accepted"
    remedy = "the server's log says how; `flywheel rollback` puts the former version in service."
    interval = (max(0.0, middle - half), min(1.0, middle + half))
    return Check("errors", "fail" if bad else "pass", share, bound, "", why * bad, remedy * bad, interval, total)
