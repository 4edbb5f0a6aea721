"""A training run in MLflow: of the flywheel's experiment, apart from the ledger's rows."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from flywheel.errors import FlywheelError, LedgerError
from flywheel.ledger import Ledger
from flywheel.ledger.store import Client
from flywheel.say import say

AHEAD = "flywheel.ahead"
"""Tag of a training that no run has asked for yet."""
ASKED_AHEAD = "FLYWHEEL_AHEAD"
"""Environment variable that says so."""
_EVERY = 1.0  # seconds from one writing of metrics to the next
_POINTS = 1000  # the most that MLflow takes at once; so many are written without waiting
_PARAMETERS = 100  # likewise


class Tracker:
    """One open training run.

    Metrics are kept and written by a thread, each second or each thousand, since a call of MLflow takes milliseconds
    and a training step may take less. What cannot be written is tried again, and for the last time by `close`.

    Args:
        client: MLflow's client.
        run: Its run id.
        clock: Gives the seconds since 1970.
    """

    def __init__(self, client: Client, run: str, clock: Callable[[], float] = time.time) -> None:
        self.client, self.run, self._clock = client, run, clock
        self._points: list[tuple[str, float, int, int]] = []
        self._lock, self._full, self._closed = threading.Lock(), threading.Event(), False
        self._writer: threading.Thread | None = None

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Log parameters."""
        from mlflow.entities import Param

        found = [Param(key, str(value)[:6000]) for key, value in values.items()]
        for start in range(0, len(found), _PARAMETERS):
            self.client.log_batch(self.run, params=found[start : start + _PARAMETERS])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics of one step; they are in MLflow a second later, or after `close`."""
        now = int(self._clock() * 1000)
        with self._lock:
            self._points += [(key, float(value), now, step) for key, value in values.items()]
            if self._writer is None:
                self._writer = threading.Thread(target=self._keep_writing, name="metrics", daemon=True)
                self._writer.start()
        if len(self._points) >= _POINTS:
            self._full.set()

    def tag(self, key: str, value: str) -> None:
        """Set a tag of the run."""
        self.client.set_tag(self.run, key, value)

    def tags(self) -> dict[str, str]:
        """Return the tags of the run."""
        return dict(self.client.get_run(self.run).data.tags)

    def close(self) -> None:
        """Write what has not been written.

        Raises:
            LedgerError: It cannot be written.
        """
        self._closed = True
        self._full.set()
        if self._writer is not None:
            self._writer.join()
        self._write()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, _kind: object, failed: BaseException | None, _trace: object) -> None:
        try:
            self.close()
        except LedgerError as error:
            if failed is None:
                raise
            say(f"figures could not be logged: {error.message}")  # what failed before is what to know of

    def _keep_writing(self) -> None:
        while not self._closed:
            self._full.wait(_EVERY)
            self._full.clear()
            with suppress(LedgerError):  # the points stay for the next time
                self._write()

    def _write(self) -> None:
        from mlflow.entities import Metric

        there = len(self._points)  # what comes meanwhile waits for the next time, or calls would become small and many
        for start in range(0, there, _POINTS):
            points = self._points[: min(_POINTS, there - start)]
            self.client.log_batch(self.run, metrics=[Metric(*point) for point in points])
            with self._lock:
                del self._points[: len(points)]


@contextmanager
def training_run(
    ledger: str, name: str, tags: Mapping[str, str], clock: Callable[[], float] = time.time, watch: bool = True
) -> Iterator[Tracker]:
    """Give a new training run of flywheel `name`; it ends as `FINISHED` when the block ends well, else as `FAILED`.

    Args:
        ledger: MLflow tracking URI.
        name: Of the flywheel.
        tags: Of the run.
        clock: Gives the seconds since 1970.
        watch: Whether the machine is watched: its processors, memory, disk, network and GPUs, every ten seconds.

    Raises:
        LedgerError: The ledger cannot be used.
    """
    book = Ledger(ledger)
    client, experiment = book.client, book.experiment(name)
    unasked = {AHEAD: "yes"} if os.environ.get(ASKED_AHEAD) else {}
    with _run(client, experiment, "training", {**tags, **unasked}, clock) as tracker:
        tracker.parameters({f"environment.{key}": value for key, value in environment().items()})
        with _watched(client, tracker.run) if watch else nullcontext():
            yield tracker


@contextmanager
def trial_run(parent: Tracker, number: int, parameters: Mapping[str, Any]) -> Iterator[Tracker]:
    """Give a run for one trial of a search, shown below that of `parent`."""
    tags = {"mlflow.parentRunId": parent.run, "flywheel.kind": "trial"}
    experiment = parent.client.get_run(parent.run).info.experiment_id
    with _run(parent.client, experiment, f"trial {number}", tags, time.time) as tracker:
        tracker.parameters(parameters)
        yield tracker


def environment() -> dict[str, str]:
    """Return versions of Python and of the packages that decide what comes out, and the kind of machine."""
    from flywheel.training import versions

    found = {"python": platform.python_version(), "machine": platform.platform(terse=True)}
    for package in versions.NOTED:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = versions.version(package)
    return found


@contextmanager
def _run(
    client: Client, experiment: str, name: str, tags: Mapping[str, str], clock: Callable[[], float]
) -> Iterator[Tracker]:
    run = client.create_run(experiment, start_time=int(clock() * 1000), run_name=name, tags=dict(tags))
    status = "FAILED"
    try:
        with Tracker(client, str(run.info.run_id), clock) as tracker:
            yield tracker
        status = "FINISHED"
    except FlywheelError as error:
        status = getattr(error, "outcome", status)
        raise
    finally:
        client.set_terminated(run.info.run_id, status, int(clock() * 1000))


@contextmanager
def _watched(client: Client, run: str) -> Iterator[None]:
    """Have MLflow log how the machine does while the block runs."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run, tracking_uri=client.uri)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
