"""A Kubernetes API server with KServe's controller, and a Prometheus: enough of both for what `deploy` asks of them.

What is kept: server-side apply with owners of fields and their conflicts, resource versions, preconditions of a delete,
strict field validation against KServe's own models, the 404s; of KServe's controller its revisions (a change of the
predictor or of the annotations makes one, a change of the canary's percent does not), the split of the traffic, and
which revision counts as rolled out. Pods are not there: a test says which models load and what requests they get.
"""

from tests.stand_ins.kserve.cluster import Cluster
from tests.stand_ins.kserve.prometheus import PrometheusStandIn

__all__ = ["Cluster", "PrometheusStandIn"]
