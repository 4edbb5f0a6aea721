"""What a task of a Kubeflow pipeline asks its cluster for: any task, in any pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from flywheel.config import Pod, Resources
from flywheel.config.platforms import DEFAULT
from flywheel.config.resources import GPUS, Retries
from flywheel.errors import ConfigError

if TYPE_CHECKING:
    from kfp.dsl import PipelineTask

_DISK = "ephemeral-storage"


def resources(task: PipelineTask, asked: Pod | None = None, **keys: Any) -> PipelineTask:
    """Ask the cluster for what a task needs, and return the task.

        resources(fit(...), gpu=1, gpu_kind="nvidia-l4", memory="16Gi", spot=True,
                  secrets=[{"name": "mlflow", "env": ["MLFLOW_TRACKING_PASSWORD"]}])

    The image stays as it is, unless `image` says another: that it can use a GPU is up to whoever asks for one.

    Args:
        task: A task made of a component, not of a pipeline.
        asked: What it needs.
        keys: Or this, as in `train.resources` of flywheel.yaml.

    Raises:
        ConfigError: A key or value is wrong, or only a TrainJob can have it.
    """
    wanted = asked or _read(keys)
    if isinstance(wanted, Resources) and wanted.nodes:
        raise ConfigError(
            f"a task is one pod, and nodes is {wanted.nodes!r}", "leave it out; `train` starts a TrainJob by itself."
        )
    try:
        wanted.need_a_queue()
    except ValueError as fault:
        raise ConfigError("resources are wrong", str(fault)) from None
    _image(task, wanted)
    _container(task, wanted)
    _placement(task, wanted)
    _storage(task, wanted)
    _given(task, wanted)
    _again(task, wanted)
    return task


def _read(keys: dict[str, Any]) -> Resources:
    try:
        return Resources.model_validate({"platform": DEFAULT} | keys)
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc']) or 'resources'}: "
            f"{fault['msg'].removeprefix('Value error, ')}" + (f"; found {fault['input']!r}" if fault["loc"] else "")
            for fault in error.errors()
        ]
        known = ", ".join(Resources.model_fields)
        raise ConfigError("resources are wrong:\n  " + "\n  ".join(faults), f"known are {known}.") from None


def _image(task: PipelineTask, wanted: Pod) -> None:
    from kfp import kubernetes

    if wanted.image:
        task.set_container_image(wanted.image)
    if wanted.pull_policy:
        kubernetes.set_image_pull_policy(task, wanted.pull_policy)
    if wanted.pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(wanted.pull_secrets))


def _container(task: PipelineTask, wanted: Pod) -> None:
    """Say how much of a node it needs; memory is limited as requested, since what is lent is taken by a kill."""
    from kfp import kubernetes

    if wanted.cpu:
        task.set_cpu_request(wanted.cpu)
    if wanted.limits.cpu:
        task.set_cpu_limit(wanted.limits.cpu)
    if wanted.memory:
        task.set_memory_request(wanted.memory)
    if wanted.memory_limit:
        task.set_memory_limit(wanted.memory_limit)
    if wanted.gpu:
        task.set_accelerator_type(wanted.gpu_resource).set_accelerator_limit(wanted.gpu)
        task.set_env_variable(GPUS, str(wanted.gpu))  # the step has to know, and no cache should see it
        # Google's clusters tolerate the taint of GPU nodes by themselves, others do not.
        kubernetes.add_toleration(task, key=wanted.gpu_resource, operator="Exists", effect="NoSchedule")
    if wanted.timeout:
        kubernetes.set_timeout(task, max(1, round(wanted.timeout.total_seconds())))


def _placement(task: PipelineTask, wanted: Pod) -> None:
    """Say which nodes it may run on, what it waits for, and how its pod is marked."""
    from kfp import kubernetes

    for name, value in wanted.selector.items():
        kubernetes.add_node_selector(task, name, value)
    for each in wanted.tolerations:
        kubernetes.add_toleration(task, each.key, each.operator, each.value, each.effect)
    if wanted.spot:
        name, value = wanted.spot_label
        kubernetes.add_toleration(task, name, "Equal", value, "NoSchedule")
        if wanted.spot.fallback == "none":
            kubernetes.add_node_selector(task, name, value)
        else:
            _prefer(task, name, value)
    for name, text in (wanted.labels | wanted.waits).items():
        kubernetes.add_pod_label(task, name, text)
    for name, text in wanted.annotations.items():
        kubernetes.add_pod_annotation(task, name, text)


def _storage(task: PipelineTask, wanted: Pod) -> None:
    from kfp import kubernetes

    if wanted.shared_memory:
        kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", "Memory", wanted.shared_memory)
    if wanted.volume:
        kubernetes.mount_pvc(task, wanted.volume.claim, wanted.volume.path)
    if disk := wanted.ephemeral_storage:
        if disk.storage_class:
            access = ["ReadWriteOnce"]
            kubernetes.add_ephemeral_volume(task, _DISK, disk.path, access, disk.size, disk.storage_class)
        else:  # anybody may write there, which a fresh volume does not promise: Kubeflow sets no fsGroup
            kubernetes.empty_dir_mount(task, _DISK, disk.path, None, disk.size)


def _given(task: PipelineTask, wanted: Pod) -> None:
    """Give it secrets and config maps, by name."""
    from kfp import kubernetes

    kinds: Any = (
        (wanted.secrets, kubernetes.use_secret_as_env, kubernetes.use_secret_as_volume),
        (wanted.config_maps, kubernetes.use_config_map_as_env, kubernetes.use_config_map_as_volume),
    )
    for given, as_env, as_volume in kinds:
        for each in given:
            if each.env:
                _as_variables(task, each.name, each.env, as_env)
            if each.path:
                as_volume(task, each.name, each.path)


def _as_variables(task: PipelineTask, name: str, env: dict[str, str], as_env: Any) -> None:
    """Call kfp's function, which takes one variable a key: a key that is read by several is given by several calls."""
    left = dict(env)
    while left:
        keys = {key: variable for variable, key in reversed(left.items())}
        as_env(task, name, dict(reversed(keys.items())))
        left = {variable: key for variable, key in left.items() if keys[key] != variable}


def _again(task: PipelineTask, wanted: Pod) -> None:
    """Let it be tried again: Kubeflow counts attempts, whether a node was taken away or the step failed."""
    how = wanted.retries or Retries(times=1)
    times = (wanted.retries.times if wanted.retries else 0) + (wanted.spot.retries if wanted.spot else 0)
    if times:
        backoff, longest = (f"{round(each.total_seconds())}s" for each in (how.backoff, how.at_most))
        task.set_retry(times, backoff_duration=backoff, backoff_factor=how.factor, backoff_max_duration=longest)


def _prefer(task: PipelineTask, name: str, value: str) -> None:
    """Prefer nodes with a label: kfp-kubernetes 1.5 can say it, and only newer ones have a function for it."""
    from google.protobuf import json_format
    from kfp.kubernetes import kubernetes_executor_config_pb2 as platform

    said = json_format.ParseDict(task.platform_config.get("kubernetes", {}), platform.KubernetesExecutorConfig())
    wish = platform.SelectorRequirement(key=name, operator="In", values=[value])
    said.node_affinity.append(platform.NodeAffinityTerm(match_expressions=[wish], weight=100))
    task.platform_config["kubernetes"] = json_format.MessageToDict(said)
