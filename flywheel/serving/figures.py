"""Prometheus figures that MLServer has none of: which version is in service, and how each version fares."""

from __future__ import annotations

from prometheus_client import Counter, Histogram, Info

from flywheel.serving.folder import Deployment

_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Figures:
    """Counts what is served; one a process, for Prometheus' registry is."""

    def __init__(self) -> None:
        by_version = ["model", "version"]
        self._model = Info("flywheel_model", "The version in service.", ["model"])
        self._rows = Counter("flywheel_predictions", "Rows that were predicted.", by_version)
        self._failures = Counter("flywheel_failures", "Requests that were not answered with predictions.", by_version)
        self._seconds = Histogram(
            "flywheel_predict_seconds", "Time of a request in the model.", by_version, buckets=_BUCKETS
        )
        self._log = Counter("flywheel_log_rows", "Rows of the request log, written or lost.", ["model", "what"])

    def in_service(self, deployment: Deployment) -> None:
        """Say that `deployment` is in service from now on."""
        about = {"version": deployment.version, "span": deployment.span, "digest": deployment.digest}
        self._model.labels(deployment.name).info(about)

    def answered(self, name: str, version: str, rows: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._rows.labels(name, version).inc(rows)
        self._seconds.labels(name, version).observe(seconds)

    def failed(self, name: str, version: str) -> None:
        """Count a request that was not answered with predictions."""
        self._failures.labels(name, version).inc()

    def logged(self, name: str, what: str, rows: int) -> None:
        """Count rows of the request log, `written` or `lost`."""
        self._log.labels(name, what).inc(rows)
