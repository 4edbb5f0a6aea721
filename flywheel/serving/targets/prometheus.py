"""What Prometheus counted of a Knative revision: its requests by class of status, and their latencies."""

from __future__ import annotations

import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flywheel.errors import ServingError

_ATTEMPTS = 3
_REQUESTS, _LATENCIES = "revision_request_count", "revision_request_latencies_bucket"  # of Knative's queue proxy


@dataclass(frozen=True)
class Traffic:
    """The requests to one revision in one stretch of time.

    Attributes:
        requests: How many.
        errors: How many of them were answered with a 5xx status.
        latencies: Upper bound of a bucket in milliseconds to the requests up to it, ascending to infinity.
    """

    requests: int = 0
    errors: int = 0
    latencies: Mapping[float, int] = field(default_factory=dict)


class Prometheus:
    """The HTTP API of a Prometheus.

    Args:
        url: Its address, as `http://prometheus:9090`.
        sleep: Waits for so many seconds between attempts.
    """

    def __init__(self, url: str, sleep: Callable[[float], object] = time.sleep) -> None:
        self._url, self._sleep = url, sleep

    def check(self) -> None:
        """Return if it answers.

        Raises:
            ServingError: It does not.
        """
        self._query("vector(1)")

    def traffic(self, namespace: str, revision: str, seconds: float) -> Traffic:
        """Return what `revision` was asked in the last `seconds`.

        Raises:
            ServingError: Prometheus does not answer.
        """
        chosen = f'{{namespace_name="{namespace}",revision_name="{revision}"}}[{math.ceil(seconds)}s]'
        classes = self._sums("response_code_class", f"{_REQUESTS}{chosen}")
        buckets = self._sums("le", f"{_LATENCIES}{chosen}")
        return Traffic(
            requests=sum(classes.values()),
            errors=classes.get("5xx", 0),
            latencies=dict(sorted((float(bound), count) for bound, count in buckets.items())),
        )

    def _sums(self, label: str, series: str) -> dict[str, int]:
        """Return the increase of `series` by a label; in whole numbers, though Prometheus extrapolates to fractions."""
        found = self._query(f"sum by ({label}) (increase({series}))")
        sums = {sample["metric"].get(label, ""): float(sample["value"][1]) for sample in found}
        return {value: round(increase) for value, increase in sums.items() if math.isfinite(increase)}

    def _query(self, query: str) -> list[dict[str, Any]]:
        url = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with urllib.request.urlopen(url, timeout=30) as response:
                    return list(json.load(response)["data"]["result"])
            except urllib.error.HTTPError as error:
                if error.code < 500 or attempt == _ATTEMPTS:
                    said = error.read(500).decode(errors="replace")
                    raise self._refusal(f"answers {error.code}: {said}") from error
            except (OSError, ValueError, KeyError, TypeError) as error:
                if attempt == _ATTEMPTS:
                    raise self._refusal(f"does not answer as Prometheus does: {error}") from error
            self._sleep(float(attempt))
        raise AssertionError("the last attempt returns or raises")

    def _refusal(self, how: str) -> ServingError:
        return ServingError(f"{self._url} {how}", "check `deploy.metrics` in flywheel.yaml, and that it is up.")
