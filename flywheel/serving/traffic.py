"""Counts of all requests by minute and version, as JSON lines beside the request log: traffic, errors, latency.

The log holds a sample of what was answered; this holds how many were, how many were not, and how long they took. Of a
time only its bucket is kept, twenty to a power of ten, so quantiles are right within 12%.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

PREFIX = "traffic-"
_PER_DECADE = 20
_LEAST, _MOST = 1e-5, 1e3  # seconds


@dataclass
class Minute:
    """What came in one minute for one version.

    Attributes:
        answered: Requests that were answered with predictions.
        rows: Rows of those.
        refused: Requests that were wrong (4xx).
        failed: Requests that the model failed (5xx).
        seconds: Requests answered, by bucket of their time.
    """

    answered: int = 0
    rows: int = 0
    refused: int = 0
    failed: int = 0
    seconds: Counter[int] = field(default_factory=Counter)


class Traffic:
    """Counts, in any thread; `write` hands minutes that are over to a file.

    Args:
        clock: Gives the seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._lock, self._files, self._written = clock, threading.Lock(), 0, clock()
        self._minutes: dict[tuple[int, str], Minute] = {}

    def answered(self, version: str, rows: int, seconds: float) -> None:
        """Count a request that was answered within `seconds`."""
        with self._lock:
            minute = self._now(version)
            minute.answered += 1
            minute.rows += rows
            minute.seconds[bucket(seconds)] += 1

    def failed(self, version: str, status: int) -> None:
        """Count a request that got an error `status`."""
        with self._lock:
            minute = self._now(version)
            if status >= 500:
                minute.failed += 1
            else:
                minute.refused += 1

    def write(self, folder: Path, every: float, *, whole: bool = False) -> None:
        """Write the minutes that are over below `folder`, if the last time was `every` seconds ago; all if `whole`.

        Raises:
            OSError: They cannot be written; they are kept for another try, an hour of them at most.
        """
        now = self._clock()
        if not whole and now - self._written < every:
            return
        self._written = now
        with self._lock:
            over = {key: value for key, value in self._minutes.items() if whole or key[0] < int(now // 60)}
            self._minutes = {key: value for key, value in self._minutes.items() if key not in over}
        days: dict[str, list[str]] = {}
        for (at, version), minute in sorted(over.items()):
            day = f"{datetime.fromtimestamp(at * 60, UTC):%Y-%m-%d}"
            days.setdefault(day, []).append(_line(at, version, minute))
        try:
            for day, lines in days.items():
                self._file(folder / f"day={day}", lines)
        except OSError:
            with self._lock:
                oldest = int(now // 60) - 60
                self._minutes = {key: value for key, value in over.items() if key[0] > oldest} | self._minutes
            raise

    def _now(self, version: str) -> Minute:
        return self._minutes.setdefault((int(self._clock() // 60), version), Minute())

    def _file(self, folder: Path, lines: Iterable[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}-{self._files:05d}.jsonl"
        partial = file.with_name(f".{file.name}.partial")
        partial.write_text("".join(f"{line}\n" for line in lines))
        partial.replace(file)
        self._files += 1


def bucket(seconds: float) -> int:
    """Return the bucket of a time: those of up to 10^(bucket / 20) seconds and more than the one before.

    >>> bucket(1.0), bucket(0.1), bucket(0.105)
    (0, -20, -19)
    """
    return math.ceil(_PER_DECADE * math.log10(min(max(seconds, _LEAST), _MOST)) - 1e-9)


def quantile(seconds: Counter[int], share: float) -> float:
    """Return the upper edge, in seconds, of the bucket that quantile `share` falls in; NaN for no times."""
    total, seen = sum(seconds.values()), 0
    for place in sorted(seconds):
        seen += seconds[place]
        if seen >= share * total:
            return float(10 ** (place / _PER_DECADE))
    return math.nan


def read(folder: Path, days: Iterable[str]) -> tuple[dict[tuple[datetime, str], Minute], int]:
    """Return what came by minute (UTC, without zone) and version on `days`, and how many lines were cut off."""
    found: dict[tuple[datetime, str], Minute] = {}
    broken = 0
    for day in days:
        for file in sorted((folder / f"day={day}").glob(f"{PREFIX}*.jsonl")):
            for line in file.read_text(errors="replace").splitlines():
                try:
                    told = json.loads(line)
                    at = datetime.fromisoformat(told["minute"])
                    counts = {name: int(told[name]) for name in ("answered", "rows", "refused", "failed")}
                    times = Counter({int(place): int(count) for place, count in told["seconds"].items()})
                    key = at, str(told["version"])
                except (ValueError, KeyError, TypeError, AttributeError):
                    broken += 1
                    continue
                minute = found.setdefault(key, Minute())
                for name, count in counts.items():
                    setattr(minute, name, getattr(minute, name) + count)
                minute.seconds += times
    return found, broken


def _line(at: int, version: str, minute: Minute) -> str:
    told: dict[str, object] = {"minute": f"{datetime.fromtimestamp(at * 60, UTC):%Y-%m-%dT%H:%M}"}
    told["version"] = version
    told |= {"answered": minute.answered, "rows": minute.rows, "refused": minute.refused, "failed": minute.failed}
    return json.dumps(told | {"seconds": {str(place): count for place, count in sorted(minute.seconds.items())}})
