"""The TrainJob that trains: its name, and what Kubernetes is told of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flywheel.config import Resources
from flywheel.config.resources import EphemeralStorage

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
JOB = "ai-flywheel/job"
"""Label of all TrainJobs of one step, one after another."""
ATTEMPT, SPOT = "ai-flywheel/attempt", "ai-flywheel/spot"
"""Annotations: which of them it is, from 0, and whether it is on spot nodes."""
PREEMPTIONS, LOST = "ai-flywheel/preemptions", "ai-flywheel/lost-pods"
"""Annotations: how often nodes were taken away until now, and which of its own pods were on them."""
MANAGER = "ai-flywheel/train"
NODE = "node"
"""How Trainer's runtimes call the job, and the container in it, that is one node."""
_NAME, _SHARED, _MEMORY, _DISK = 30, "flywheel-shared", "flywheel-memory", "flywheel-disk"


@dataclass(frozen=True)
class Plan:
    """What is to be trained where, the same for every attempt.

    Attributes:
        name: Of the job; its attempts are called after it.
        resources: What it asks the cluster for.
        image: In which image its nodes run.
        command: What each of them runs.
        owner: Reference to what it goes with when that is deleted.
        pod: Of the step's own pod what its nodes need too: `serviceAccountName`, `imagePullSecrets`.
        env: Variables of the nodes. Secrets are references, never values: anybody who may read TrainJobs reads these.
    """

    name: str
    resources: Resources
    image: str
    command: Sequence[str]
    owner: Mapping[str, Any] | None = None
    pod: Mapping[str, Any] = field(default_factory=dict)
    env: Sequence[Mapping[str, Any]] = ()


def name_of(flywheel: str, model: str) -> str:
    """Return the name of the job that makes the model at a path.

    The path is the same when Kubeflow tries a step again, and another in every run: so a retry finds its job, and no
    other step does.

    Args:
        flywheel: Name of the flywheel.
        model: Path of the model that the step is to make.
    """
    digest = hashlib.sha256(model.encode()).hexdigest()[:10]
    return f"{flywheel[:_NAME].rstrip('-')}-{digest}"


def body(plan: Plan, attempt: int, preemptions: int, *, spot: bool) -> dict[str, Any]:
    """Return the TrainJob.

    Args:
        plan: What is to be trained.
        attempt: Which attempt this is, from 0.
        preemptions: How often nodes were taken away until now.
        spot: Whether it may run on spot nodes.
    """
    asked = plan.resources
    metadata: dict[str, Any] = {
        "name": f"{plan.name}-{attempt}",
        "labels": {**asked.labels, **asked.waits, "app.kubernetes.io/managed-by": "ai-flywheel", JOB: plan.name},
        "annotations": {
            ATTEMPT: str(attempt),
            SPOT: str(spot and asked.spot is not None).lower(),
            PREEMPTIONS: str(preemptions),
            LOST: "",
        },
    }
    if plan.owner:
        metadata["ownerReferences"] = [dict(plan.owner)]
    spec: dict[str, Any] = {
        "runtimeRef": {"apiGroup": GROUP, "kind": "ClusterTrainingRuntime", "name": asked.runtime},
        "trainer": {
            "image": plan.image,
            "command": list(plan.command),
            "numNodes": asked.nodes,
            "numProcPerNode": 1,  # which starts one for each GPU itself
            "resourcesPerNode": _amounts(asked),
            "env": [dict(each) for each in plan.env],
        },
        "runtimePatches": [{"manager": MANAGER, "trainingRuntimeSpec": _patch(plan, spot)}],
    }
    if asked.timeout:
        spec["activeDeadlineSeconds"] = max(1, round(asked.timeout.total_seconds()))
    if asked.queue:
        # Kueue lets it go on when there is room for all nodes: that none waits for the others is had by this.
        spec["suspend"] = True
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "TrainJob", "metadata": metadata, "spec": spec}


def _amounts(asked: Resources) -> dict[str, dict[str, str]]:
    """Return requests and limits of a node. GPUs are limits; memory is both, since what is lent is taken by a kill."""
    disk = asked.ephemeral_storage
    both = {asked.gpu_resource: str(asked.gpu) if asked.gpu else None}
    both |= {"ephemeral-storage": disk.size if disk and not disk.storage_class else None}
    amounts = {
        "requests": {"cpu": asked.cpu, "memory": asked.memory, **both},
        "limits": {"cpu": asked.limits.cpu, "memory": asked.memory_limit, **both},
    }
    said = {key: {name: text for name, text in each.items() if text} for key, each in amounts.items()}
    return {key: each for key, each in said.items() if each}


def _patch(plan: Plan, spot: bool) -> dict[str, Any]:
    """Return what is added to the runtime's pods: which nodes they may run on, and the shared storage."""
    asked = plan.resources
    tolerations = [each.model_dump(exclude_none=True) for each in asked.tolerations]
    if asked.gpu:
        tolerations.append({"key": asked.gpu_resource, "operator": "Exists", "effect": "NoSchedule"})
    selector = asked.selector
    if spot and asked.spot:
        name, value = asked.spot_label
        selector[name] = value
        tolerations.append({"key": name, "operator": "Equal", "value": value, "effect": "NoSchedule"})
    volumes, mounts = _storage(asked)
    pod: dict[str, Any] = {**plan.pod, "volumes": volumes, "containers": [{"name": NODE, "volumeMounts": mounts}]}
    if selector:
        pod["nodeSelector"] = selector
    if tolerations:
        pod["tolerations"] = tolerations
    marks = {"labels": asked.labels, "annotations": asked.annotations}
    template = {"spec": pod} | (
        {"metadata": told} if (told := {key: each for key, each in marks.items() if each}) else {}
    )
    job = {"name": NODE, "template": {"spec": {"template": template}}}
    return {"template": {"spec": {"replicatedJobs": [job]}}}


def _storage(asked: Resources) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Return the volumes of a node's pod, and where they are mounted: the same as in a step of its own."""
    assert asked.volume is not None
    found: list[tuple[str, str, dict[str, Any]]] = [
        (_SHARED, asked.volume.path, {"persistentVolumeClaim": {"claimName": asked.volume.claim}})
    ]
    if asked.shared_memory:
        found.append((_MEMORY, "/dev/shm", {"emptyDir": {"medium": "Memory", "sizeLimit": asked.shared_memory}}))
    if disk := asked.ephemeral_storage:
        found.append((_DISK, disk.path, _source(disk)))
    found += [(f"given-{number}", path, source) for number, (path, source) in enumerate(asked.files)]
    volumes = [{"name": name, **source} for name, _, source in found]
    return volumes, [{"name": name, "mountPath": path} for name, path, _ in found]


def _source(disk: EphemeralStorage) -> dict[str, Any]:
    """Return what a disk is made of: a volume of its own, or a part of the node's."""
    if not disk.storage_class:
        return {"emptyDir": {"sizeLimit": disk.size}}
    asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": disk.size}}}
    return {"ephemeral": {"volumeClaimTemplate": {"spec": asked | {"storageClassName": disk.storage_class}}}}
