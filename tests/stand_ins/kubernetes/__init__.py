"""A Kubernetes API server with Trainer's, Kueue's and KServe's part in it; README.md says what it does not prove."""

import os

import pytest

from tests.stand_ins.kubernetes.prometheus import PrometheusStandIn
from tests.stand_ins.kubernetes.relay import VARIABLE, Relay
from tests.stand_ins.kubernetes.server import StandIn

_ASKED = pytest.mark.skipif(not os.environ.get(VARIABLE), reason=f"{VARIABLE} names no kubeconfig")
SERVERS = [
    pytest.param(StandIn, id="stand-in"),
    pytest.param(Relay, id="real", marks=[pytest.mark.kubernetes, _ASKED, pytest.mark.xdist_group("kubernetes")]),
]
"""Parameters of a fixture: the stand-in, and a real API server where there is one."""

__all__ = ["SERVERS", "PrometheusStandIn", "Relay", "StandIn"]
