"""`train.resources`: what a step asks a cluster for; one machine gives what it has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from flywheel.config.strict import Duration, Strict

GKE = "cloud.google.com/gke-accelerator"
"""The label by which nodes of Google's Kubernetes say which GPU they have."""
KINDS = {
    "nvidia-a100-40gb": "nvidia-tesla-a100",
    "nvidia-a100-80gb": "nvidia-a100-80gb",
    "nvidia-b200": "nvidia-b200",
    "nvidia-gb200": "nvidia-gb200",
    "nvidia-h100-80gb": "nvidia-h100-80gb",
    "nvidia-h100-mega-80gb": "nvidia-h100-mega-80gb",
    "nvidia-h200-141gb": "nvidia-h200-141gb",
    "nvidia-l4": "nvidia-l4",
    "nvidia-p100": "nvidia-tesla-p100",
    "nvidia-p4": "nvidia-tesla-p4",
    "nvidia-rtx-pro-6000": "nvidia-rtx-pro-6000",
    "nvidia-t4": "nvidia-tesla-t4",
    "nvidia-v100": "nvidia-tesla-v100",
}
"""Kinds of GPUs: their names, and what that label says of them."""

_CPU = re.compile(r"(\d+)(\.\d+)?|(\d+)m")
_BYTES = re.compile(r"(\d+)([KMGTPE]i|[MGTPE])?")
_LABEL_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_LABEL = re.compile(rf"(?:[a-z0-9](?:[a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_LABEL_NAME}")
_VALUE = re.compile(rf"(?:{_LABEL_NAME})?")
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_UNITS |= {"M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18, "": 1}


def _text(value: Any) -> Any:
    """Take `2` and `0.5` as YAML reads them."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _cpu(text: str) -> str:
    """Refuse what neither Kubernetes nor kfp takes for a number of cores, and none at all."""
    parts = _CPU.fullmatch(text)
    if not parts or not float(text.removesuffix("m")):
        raise ValueError("cores are written as 2, 0.5 or 500m")
    return text


def _bytes(text: str) -> str:
    """Refuse what neither Kubernetes nor kfp takes for an amount of memory, and what must be a slip: 16 is 16 bytes."""
    parts = _BYTES.fullmatch(text)
    if not parts:
        raise ValueError("memory is written as 16Gi or 512Mi: a whole number and Ki, Mi, Gi, Ti, M, G or T")
    if int(parts[1]) * _UNITS[parts[2] or ""] < 2**20:
        raise ValueError(f"{text} is less than 1Mi; write {parts[1]}Gi or {parts[1]}Mi")
    return text


def _label(text: str) -> str:
    name, equals, value = text.partition("=")
    if not equals or not _LABEL.fullmatch(name) or not _VALUE.fullmatch(value):
        raise ValueError("a label of nodes is written as name=value, as karpenter.sh/capacity-type=spot")
    return text


def _kind(text: str) -> str:
    """Refuse a kind of GPU that is not known; a label of nodes is taken as it is."""
    if "=" in text:
        return _label(text)
    if text not in KINDS:
        raise ValueError(
            f"this kind of GPU is not known; known are {', '.join(KINDS)}. For another kind, or on a cluster that is "
            "not Google's, name the label of its nodes, as nvidia.com/gpu.product=Tesla-T4"
        )
    return text


def _selector(labels: dict[str, str]) -> dict[str, str]:
    return {name: _label(f"{name}={value}").partition("=")[2] for name, value in labels.items()}


Cores = Annotated[str, BeforeValidator(_text), AfterValidator(_cpu)]
Bytes = Annotated[str, BeforeValidator(_text), AfterValidator(_bytes)]
Label = Annotated[str, AfterValidator(_label)]
Kind = Annotated[str, AfterValidator(_kind)]
Selector = Annotated[dict[str, str], AfterValidator(_selector)]

GPUS = "FLYWHEEL_GPUS"
"""Variable of the environment that tells a step how many GPUs were asked for."""


class Spot(Strict):
    """Nodes that cost less and may be taken away at any time."""

    retries: int = Field(3, ge=0, le=50, description="How often training goes on after its nodes were taken away.")
    fallback: Literal["on_demand", "none"] = Field(
        "on_demand",
        description="Where training goes on: with `nodes`, on demand after so many losses; without, each attempt takes "
        "spot nodes if there are any, else others. none: spot nodes or nothing.",
    )
    label: Label = Field(
        "cloud.google.com/gke-spot=true",
        description="What spot nodes are labelled with; a taint of the same name is tolerated.",
    )


def _spot(value: Any) -> Any:
    """Take `true` for all defaults and `false` for none of it."""
    if isinstance(value, bool):
        return {} if value else None
    if isinstance(value, dict | Spot | None):
        return value
    raise ValueError("write true, or {retries: 3, fallback: on_demand}")


class Toleration(Strict):
    """A taint of nodes that keeps others off them."""

    key: str = Field(min_length=1, description="Its name.")
    operator: Literal["Equal", "Exists"] = Field("Exists", description="Whether its value counts.")
    value: str | None = Field(None, description="Its value, with Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="What it does; none means all."
    )

    @model_validator(mode="after")
    def _value_counts(self) -> Toleration:
        if (self.operator == "Equal") != (self.value is not None):
            raise ValueError("a toleration has a value if its operator is Equal, and only then")
        return self


class Volume(Strict):
    """Storage that the step and all nodes see."""

    claim: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", description="Name of a PersistentVolumeClaim.")
    path: str = Field("/mnt/flywheel", pattern=r"^/[\w./-]+$", description="Where it is mounted.")


class Resources(Strict):
    """What the training step asks the cluster for; on one machine `cpu`, `gpu` and `timeout` count."""

    cpu: Cores | None = Field(None, description="Cores: 2, 0.5 or 500m; of each node, with `nodes`.")
    memory: Bytes | None = Field(None, description="As 16Gi; of each node, with `nodes`.")
    gpu: Literal[0, 1, 2, 4, 8, 16] = Field(0, description="How many GPUs; of each node, with `nodes`.")
    gpu_kind: Kind | None = Field(
        None, description="Which GPU, as nvidia-l4, or a label of its nodes, as nvidia.com/gpu.product=Tesla-T4."
    )
    gpu_resource: str = Field("nvidia.com/gpu", description="Kubernetes' name of the GPU resource.")
    spot: Annotated[Spot | None, BeforeValidator(_spot)] = Field(
        None,
        description="Train on spot nodes: true, or how.",
        json_schema_extra={"anyOf": [{"type": "boolean"}, {"$ref": "#/$defs/Spot"}]},
    )
    shared_memory: Bytes | None = Field(None, description="Size of /dev/shm, which the workers of a DataLoader share.")
    node_selector: Selector = Field({}, description="Labels that nodes must have.")
    tolerations: tuple[Toleration, ...] = Field((), description="Taints of nodes that are put up with.")
    volume: Volume | None = Field(None, description="Storage that the step and all nodes see; `nodes` needs it.")
    timeout: Duration | None = Field(None, description="How long training may take, as 6h; then it fails.")
    nodes: int | None = Field(
        None,
        ge=1,
        description="How many machines train together, as a TrainJob of Kubeflow Trainer; none, and the step trains.",
    )
    runtime: str = Field("torch-distributed", description="With `nodes`: name of the ClusterTrainingRuntime.")
    queue: str | None = Field(None, description="With `nodes`: Kueue's LocalQueue, which starts all nodes or none.")
    start_within: Duration = Field(
        timedelta(hours=6), description="With `nodes`: how long it may wait for its queue and for nodes."
    )

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Resources:
        """Return what `model_dump(mode="json")` wrote and Kubeflow handed on: times in seconds, all numbers floats."""
        whole = {key: int(value) if isinstance(value, float) else value for key, value in said.items()}
        times = {key: f"{whole[key]}s" for key in ("timeout", "start_within") if whole.get(key) is not None}
        return cls.model_validate(whole | times)

    @property
    def selector(self) -> dict[str, str]:
        """Labels that nodes must have, that of the GPU with them."""
        if not self.gpu_kind:
            return dict(self.node_selector)
        name, equals, value = self.gpu_kind.partition("=")
        return {**self.node_selector, **({name: value} if equals else {GKE: KINDS[self.gpu_kind]})}

    @model_validator(mode="after")
    def _fit_together(self) -> Resources:
        if self.gpu_kind and not self.gpu:
            raise ValueError(f"gpu_kind is {self.gpu_kind!r}, but no GPU is asked for; set gpu: 1 or more")
        if self.nodes and not self.volume:
            raise ValueError("nodes needs volume: {claim: …}, storage by which data and model come and go")
        if self.queue and not self.nodes:
            raise ValueError(f"queue is {self.queue!r}, which only a TrainJob waits in; set nodes: 1 or more")
        return self
