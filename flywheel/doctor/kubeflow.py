"""Whether Kubeflow Pipelines answers, and lets whoever asks see the runs of the namespace."""

from __future__ import annotations

from collections.abc import Iterator

from flywheel.doctor.finding import Finding
from flywheel.kubeflow.cluster import Cluster
from flywheel.workspace import Workspace


def check(workspace: Workspace) -> Iterator[Finding]:
    """Yield one finding; a skipped one when no endpoint is said."""
    cluster = Cluster(workspace.project.kubeflow, attempts=1)
    if not cluster.endpoint:
        yield Finding("kubeflow", "skip", "no kubeflow.endpoint is said")
        return
    namespace = cluster.namespace
    runs = cluster.ask(lambda kfp: kfp.list_runs, page_size=1, namespace=namespace)
    count = int(getattr(runs, "total_size", None) or 0)
    where = f" in namespace {namespace}" if namespace else ""
    yield Finding("kubeflow", "ok", f"{cluster.endpoint} answers, with {count} run{'s' * (count != 1)}{where}")
