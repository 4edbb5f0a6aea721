"""What the steps of a flywheel have to be allowed on Kubernetes: no more than its settings make them do."""

from __future__ import annotations

from dataclasses import dataclass

from flywheel.config import KServe, Project

_TRAINJOBS = ("create", "get", "list", "watch", "patch", "delete")
_SERVICES = ("get", "create", "patch", "delete")


@dataclass(frozen=True)
class Right:
    """What may be done to one kind of objects.

    Attributes:
        group: API group; empty for Kubernetes' own.
        resource: Plural name of the kind, as `pods/log`.
        verbs: What is done to them.
        namespace: Where they are; None for that of the run.
        why: What it is for, after `to`.
        names: Which of them; all, when there are none.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    namespace: str | None
    why: str
    names: tuple[str, ...] = ()


def launching() -> tuple[Right, ...]:
    """Return what any step needs, since Kubeflow's driver and launcher and Argo's executor run as it."""
    return (
        Right("argoproj.io", "workflowtaskresults", ("create", "patch"), None, "say how a step ended"),
        Right("", "pods", ("get", "list", "watch"), None, "let the driver find the pod of a step"),
        Right("", "configmaps", ("get", "list", "watch"), None, "read where artifacts are put", ("kfp-launcher",)),
        Right("", "secrets", ("get",), None, "reach the store of artifacts", ("mlpipeline-minio-artifact",)),
    )


def triggering() -> tuple[Right, ...]:
    """Return what `flywheel trigger` needs of Kubeflow Pipelines, where that asks Kubernetes who may what."""
    group, make = "pipelines.kubeflow.org", ("get", "list", "create")
    return (
        Right(group, "pipelines", make, None, "find or make the pipeline"),
        Right(group, "pipelines/versions", make, None, "find or make its version"),
        Right(group, "experiments", make, None, "find or make the experiment"),
        Right(group, "runs", (*make, "terminate"), None, "start a run, and stop the later of two"),
    )


def rights(project: Project) -> tuple[Right, ...]:
    """Return what the service account of the steps needs; nothing for a flywheel that leaves Kubernetes alone."""
    needed: list[Right] = []
    if project.train.resources.nodes:
        needed += [
            Right("trainer.kubeflow.org", "trainjobs", _TRAINJOBS, None, "train on several machines"),
            Right("", "pods", ("get", "list"), None, "see how the nodes of a TrainJob fare"),
            Right("", "pods/log", ("get",), None, "show why one failed"),
            Right("argoproj.io", "workflows", ("get",), None, "see that a run was terminated"),
        ]
        if project.asked("train").queue:
            needed.append(Right("kueue.x-k8s.io", "workloads", ("list",), None, "say why a queue does not admit"))
    if isinstance(project.deploy, KServe):
        where = project.deploy.namespace
        needed.append(Right("serving.kserve.io", "inferenceservices", _SERVICES, where, "put the champion in service"))
    return tuple(needed)
