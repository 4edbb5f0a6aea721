"""Figures of a run for Prometheus and whoever reads OpenMetrics: a file for node-exporter, a push to a gateway."""

from __future__ import annotations

import math
import os
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from flywheel.config import Metrics
from flywheel.errors import ConfigError
from flywheel.ledger import Champion, Outcome, Row
from flywheel.say import say
from flywheel.spans import Span

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_TIMEOUT = 10.0  # seconds


def publish(settings: Metrics, name: str, kind: str, row: Row, champion: Champion | None) -> None:
    """Write and push the figures of a run; what goes wrong is said and stops nothing.

    Args:
        settings: `notify.metrics` of flywheel.yaml.
        name: Of the flywheel.
        kind: `ledger` of a run that trains, `monitor` of a look at what serving sees.
        row: What the run left in the ledger.
        champion: What is in service.
    """
    try:
        registry = figures(name, kind, row, champion)
        if settings.textfile:
            write(registry, Path(settings.textfile) / f"flywheel-{name}-{kind}.prom")
        if settings.pushgateway:
            from prometheus_client import push_to_gateway

            grouping = {"flywheel": name, "kind": kind}
            push_to_gateway(settings.pushgateway, "flywheel", registry, grouping, timeout=_TIMEOUT)
    except Exception as error:  # a run is never to fail for want of its figures elsewhere
        say(f"the figures of this run are not published: {type(error).__name__}: {error}")


def figures(name: str, kind: str, row: Row, champion: Champion | None) -> CollectorRegistry:
    """Return the figures of a run; `publish` says what the arguments are."""
    from prometheus_client import CollectorRegistry, Gauge

    registry = CollectorRegistry()
    own, labels = {"flywheel": name, "kind": kind}, ["flywheel", "kind"]

    def gauge(metric: str, told: str, value: float | None, **more: str) -> None:
        if value is None or not math.isfinite(value):
            return
        if metric not in made:
            made[metric] = Gauge(metric, told, [*labels, *more], registry=registry)
        made[metric].labels(**own, **more).set(value)

    made: dict[str, Gauge] = {}
    for outcome in get_args(Outcome):
        gauge("flywheel_run_outcome", "1 for the outcome of the last run.", outcome == row.outcome, outcome=outcome)
    gauge("flywheel_run_failed", "1 if a step of the last run failed.", float(row.failed))
    gauge("flywheel_run_started_timestamp_seconds", "When the last run began.", row.started.timestamp())
    gauge("flywheel_run_duration_seconds", "How long the last run took.", row.seconds)
    gauge("flywheel_span_timestamp_seconds", "Start of the last run's span.", _start(row.span))
    for gate, decision in row.decisions.items():
        gauge("flywheel_gate_ok", "1 if the gate let the last run pass.", float(decision.ok), gate=gate)
        for figure, value in decision.facts.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                gauge("flywheel_figure", "A figure of a gate's verdict.", float(value), gate=gate, figure=figure)
    if champion is not None:
        version = float(champion.version) if champion.version.isdigit() else None
        gauge("flywheel_champion_version", "Version in service.", version)
        gauge("flywheel_champion_span_timestamp_seconds", "Start of the span it is of.", _start(champion.span))
    return registry


def write(registry: CollectorRegistry, file: Path) -> None:
    """Write figures as OpenMetrics, which with gauges alone is what node-exporter's textfile collector reads too."""
    from prometheus_client.openmetrics.exposition import generate_latest

    partial = file.with_name(f".{file.name}.{os.getpid()}")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        partial.write_bytes(generate_latest(registry))
        partial.chmod(0o644)  # another user's exporter reads it
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _start(span: str) -> float | None:
    """Return the start of a span in seconds since 1970, whatever its length."""
    for every in ("day", "hour", "month"):
        try:
            return Span.parse(span, every).start.replace(tzinfo=UTC).timestamp()
        except ConfigError:
            continue
    return None
