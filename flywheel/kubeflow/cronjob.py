"""The CronJob that looks for new data by `flywheel trigger`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flywheel import images
from flywheel.config import Pod, Project
from flywheel.kubeflow.versions import Package

_TOKEN = "/var/run/secrets/kubeflow/pipelines"
_LOCKED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def account_of(project: Project) -> str:
    """Return the service account of the CronJob."""
    named = project.trigger.service_account if project.trigger else None
    return named or f"{project.name}-trigger"


def cron_job(package: Package, namespace: str, profile: str, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Return the CronJob; one look is over before the next begins, and none is tried again before it is time.

    Args:
        package: What a cluster is given of the flywheel: the code is fetched from where that is put.
        namespace: Of it.
        profile: With which the flywheel is declared; empty without.
        overrides: `key.sub=value` that were laid over that.
    """
    project = package.workspace.project
    trigger = project.trigger
    assert trigger is not None
    name = f"{project.name[:40].rstrip('-')}-trigger"  # with what is put behind it, a job's name has 63 characters
    labels = {**project.resources.all.labels, "app.kubernetes.io/managed-by": "ai-flywheel"}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    template = {"metadata": {"labels": labels}, "spec": _pod(package, profile, overrides)}
    job = {"backoffLimit": 0, "activeDeadlineSeconds": 1800, "ttlSecondsAfterFinished": 86400, "template": template}
    spec = {
        "schedule": trigger.cron,
        "timeZone": trigger.time_zone,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 300,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"spec": job},
    }
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec}


def _pod(package: Package, profile: str, overrides: Iterable[str]) -> dict[str, Any]:
    project = package.workspace.project
    trigger, asked = project.trigger, project.resources.all
    assert trigger is not None
    volumes, mounts = _volumes(asked)
    command = ["flywheel", "trigger", package.code, *(["--profile", profile] if profile else [])]
    for said in (*overrides, f"kubeflow.endpoint={trigger.endpoint}"):
        command += ["--set", said]
    container = {
        "name": "trigger",
        "image": asked.image or images.CPU,
        "command": command,
        "env": [*_variables(asked), {"name": "HOME", "value": "/tmp"}],
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": _LOCKED,
        "volumeMounts": mounts,
    }
    if asked.pull_policy:
        container["imagePullPolicy"] = asked.pull_policy
    pod: dict[str, Any] = {
        "serviceAccountName": account_of(project),
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": volumes,
    }
    placed = {
        "imagePullSecrets": [{"name": name} for name in asked.pull_secrets],
        "nodeSelector": asked.selector,
        "tolerations": [each.model_dump(exclude_none=True) for each in asked.tolerations],
    }
    return pod | {key: value for key, value in placed.items() if value}


def _volumes(asked: Pod) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    token = {"path": "token", "audience": "pipelines.kubeflow.org", "expirationSeconds": 7200}
    volumes: list[dict[str, Any]] = [
        {"name": "tmp", "emptyDir": {}},
        {"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}},
    ]
    mounts: list[dict[str, Any]] = [
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "token", "mountPath": _TOKEN, "readOnly": True},
    ]
    for number, (path, source) in enumerate(asked.files):
        volumes.append({"name": f"given-{number}", **source})
        mounts.append({"name": f"given-{number}", "mountPath": path, "readOnly": True})
    return volumes, mounts


def _variables(asked: Pod) -> list[dict[str, Any]]:
    """Return the variables that secrets and config maps give, by reference."""
    kinds = (("secretKeyRef", asked.secrets), ("configMapKeyRef", asked.config_maps))
    return [
        {"name": variable, "valueFrom": {kind: {"name": each.name, "key": key}}}
        for kind, given in kinds
        for each in given
        for variable, key in each.env.items()
    ]
