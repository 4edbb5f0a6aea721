"""A Kubernetes API server with Trainer's, Kueue's and KServe's part in it; README.md says what it does not prove."""

from tests.stand_ins.kubernetes.prometheus import PrometheusStandIn
from tests.stand_ins.kubernetes.server import StandIn

__all__ = ["PrometheusStandIn", "StandIn"]
