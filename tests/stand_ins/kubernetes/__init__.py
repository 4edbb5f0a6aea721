"""A Kubernetes API server with Kubeflow Trainer's and Kueue's part in it; README.md says what it does not prove."""

from tests.stand_ins.kubernetes.server import StandIn

__all__ = ["StandIn"]
