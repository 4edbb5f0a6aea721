"""What a task of a Kubeflow pipeline asks its cluster for: any task, in any pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from flywheel.config import Resources, Spot
from flywheel.config.resources import GPUS
from flywheel.errors import ConfigError

if TYPE_CHECKING:
    from kfp.dsl import PipelineTask

_BACKOFF = "30s"


def resources(task: PipelineTask, asked: Resources | None = None, **keys: Any) -> PipelineTask:
    """Ask the cluster for what a task needs, and return the task.

        resources(fit(...), gpu=1, gpu_kind="nvidia-l4", memory="16Gi", spot=True)

    The image stays as it is: that it can use a GPU is up to whoever asks for one.

    Args:
        task: A task made of a component, not of a pipeline.
        asked: What it needs.
        keys: Or this, as in `train.resources` of flywheel.yaml.

    Raises:
        ConfigError: A key or value is wrong, or only a TrainJob can have it.
    """
    wanted = asked or _read(keys)
    if wanted.nodes:
        raise ConfigError(
            f"a task is one pod, and nodes is {wanted.nodes!r}", "leave it out; `train` starts a TrainJob by itself."
        )
    _container(task, wanted)
    _placement(task, wanted)
    if wanted.spot:
        _spot(task, wanted.spot)
    return task


def _read(keys: dict[str, Any]) -> Resources:
    try:
        return Resources.model_validate(keys)
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc']) or 'resources'}: "
            f"{fault['msg'].removeprefix('Value error, ')}; found {fault['input']!r}"
            for fault in error.errors()
        ]
        known = ", ".join(Resources.model_fields)
        raise ConfigError("resources are wrong:\n  " + "\n  ".join(faults), f"known are {known}.") from None


def _container(task: PipelineTask, wanted: Resources) -> None:
    """Say how much of a node it needs; memory is requested as it is limited, since what is lent is taken by a kill."""
    from kfp import kubernetes

    if wanted.cpu:
        task.set_cpu_request(wanted.cpu)
    if wanted.memory:
        task.set_memory_request(wanted.memory).set_memory_limit(wanted.memory)
    if wanted.gpu:
        task.set_accelerator_type(wanted.gpu_resource).set_accelerator_limit(wanted.gpu)
        task.set_env_variable(GPUS, str(wanted.gpu))  # the step has to know, and no cache should see it
        # Google's clusters tolerate the taint of GPU nodes by themselves, others do not.
        kubernetes.add_toleration(task, key=wanted.gpu_resource, operator="Exists", effect="NoSchedule")
    if wanted.shared_memory:
        kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", "Memory", wanted.shared_memory)
    if wanted.timeout:
        kubernetes.set_timeout(task, max(1, round(wanted.timeout.total_seconds())))


def _placement(task: PipelineTask, wanted: Resources) -> None:
    """Say which nodes it may run on, and which storage is there."""
    from kfp import kubernetes

    for name, value in wanted.selector.items():
        kubernetes.add_node_selector(task, name, value)
    for each in wanted.tolerations:
        kubernetes.add_toleration(task, each.key, each.operator, each.value, each.effect)
    if wanted.volume:
        kubernetes.mount_pvc(task, wanted.volume.claim, wanted.volume.path)


def _spot(task: PipelineTask, spot: Spot) -> None:
    """Let it run on spot nodes, and again when one was taken away; see decision 19."""
    from kfp import kubernetes

    name, _, value = spot.label.partition("=")
    kubernetes.add_toleration(task, name, "Equal", value, "NoSchedule")
    if spot.fallback == "none":
        kubernetes.add_node_selector(task, name, value)
    else:
        _prefer(task, name, value)
    if spot.retries:
        task.set_retry(spot.retries, backoff_duration=_BACKOFF, backoff_factor=2.0, backoff_max_duration="600s")


def _prefer(task: PipelineTask, name: str, value: str) -> None:
    """Prefer nodes with a label: kfp-kubernetes 1.5 can say it, and only newer ones have a function for it."""
    from google.protobuf import json_format
    from kfp.kubernetes import kubernetes_executor_config_pb2 as platform

    said = json_format.ParseDict(task.platform_config.get("kubernetes", {}), platform.KubernetesExecutorConfig())
    wish = platform.SelectorRequirement(key=name, operator="In", values=[value])
    said.node_affinity.append(platform.NodeAffinityTerm(match_expressions=[wish], weight=100))
    task.platform_config["kubernetes"] = json_format.MessageToDict(said)
