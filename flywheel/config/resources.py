"""`train.resources` and `resources`: what steps ask a cluster for; one machine gives what it has."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from flywheel.config.platforms import DEFAULT, PLATFORMS, Platform, PlatformName, known_kinds
from flywheel.config.quantities import (
    Annotations,
    Bytes,
    Cores,
    Label,
    Labels,
    MountPath,
    Name,
    Selector,
    cores,
    label,
    size,
)
from flywheel.config.strict import Duration, Strict

GPUS = "FLYWHEEL_GPUS"
"""Variable of the environment that tells a step how many GPUs were asked for."""
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_KEY = r"^[A-Za-z0-9._-]+$"


def _kind(text: str) -> str:
    """Refuse a kind of GPU that is not known; a label of nodes is taken as it is."""
    if "=" in text:
        return label(text)
    if text not in known_kinds():
        raise ValueError(
            f"this kind of GPU is not known; known are {', '.join(known_kinds())}. For another kind, or on another "
            "kind of cluster, name the label of its nodes, as nvidia.com/gpu.product=Tesla-T4"
        )
    return text


Kind = Annotated[str, AfterValidator(_kind)]


def _whole(value: Any) -> Any:
    """Take 2.0 for 2, as pydantic does where any whole number may stand: Kubeflow hands all numbers on as floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Spot(Strict):
    """Nodes that cost less and may be taken away at any time."""

    retries: int = Field(3, ge=0, le=50, description="How often training goes on after its nodes were taken away.")
    fallback: Literal["on_demand", "none"] = Field(
        "on_demand",
        description="Where training goes on: with `nodes`, on demand after so many losses; without, each attempt takes "
        "spot nodes if there are any, else others. none: spot nodes or nothing.",
    )
    label: Label | None = Field(
        None,
        description="What spot nodes are labelled with, by default as on `platform`; a taint of the same name is "
        "tolerated.",
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

    claim: Name = Field(description="Name of a PersistentVolumeClaim.")
    path: MountPath = Field("/mnt/flywheel", description="Where it is mounted.")


class Limits(Strict):
    """What a step may take at most, where that is more than what it asks for."""

    cpu: Cores | None = Field(None, description="Cores; without, as many as the node has left.")
    memory: Bytes | None = Field(None, description="Without, what is asked for: more is taken away by a kill.")


class EphemeralStorage(Strict):
    """A disk of the step's own, gone when it ends."""

    size: Bytes = Field(description="As 200Gi.")
    path: MountPath = Field("/tmp", description="Where it is mounted.")
    storage_class: Name | None = Field(
        None,
        description="StorageClass of a volume, which the image's user has to be able to write; else the node's disk.",
    )


def _storage(value: Any) -> Any:
    """Take `200Gi` for a disk of that size."""
    return {"size": value} if isinstance(value, str | int) else value


class Retries(Strict):
    """How often a step is tried again when it fails, whatever the reason."""

    times: int = Field(ge=1, le=50, description="How often.")
    backoff: Duration = Field(timedelta(seconds=30), description="Time before the first, as 30s.")
    factor: float = Field(2.0, ge=1, le=10, description="What that grows by from one to the next.")
    at_most: Duration = Field(timedelta(minutes=10), description="The longest time between two; an hour at most.")

    @model_validator(mode="after")
    def _within_an_hour(self) -> Retries:
        if not timedelta(0) <= self.backoff <= self.at_most <= timedelta(hours=1):
            raise ValueError("backoff is at most at_most, and that at most an hour")
        return self


def _retries(value: Any) -> Any:
    """Take a number for how often."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"times": value} if value else None
    return value


def _variables(value: Any) -> Any:
    """Take a list for variables that are named as their keys."""
    return {name: name for name in value} if isinstance(value, list | tuple) else value


class _Given(Strict):
    name: Name = Field(description="Its name.")
    env: Annotated[
        dict[Annotated[str, Field(pattern=_VARIABLE)], Annotated[str, Field(pattern=_KEY)]], BeforeValidator(_variables)
    ] = Field(
        {},
        description="Variable: key. A list names variables whose key is named the same.",
        json_schema_extra={"anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "string"}}]},
    )
    path: MountPath | None = Field(None, description="Folder in which each key becomes a file.")

    @model_validator(mode="after")
    def _is_given_somehow(self) -> _Given:
        if not self.env and self.path is None:
            raise ValueError(f"{self.name} is given neither as variables nor as files: write env: {{…}} or path: /…")
        return self


class Secret(_Given):
    """A secret of Kubernetes that the step gets: its name stands here, never what is in it."""


class ConfigMap(_Given):
    """A config map that the step gets."""


class Pod(Strict):
    """What a step asks the cluster for; on one machine `cpu`, `gpu` and `timeout` count."""

    cpu: Cores | None = Field(None, description="Cores: 2, 0.5 or 500m; of each node, with `nodes`.")
    memory: Bytes | None = Field(None, description="As 16Gi; of each node, with `nodes`.")
    limits: Limits = Field(Limits(), description="What it may take at most, apart from what it asks for.")
    ephemeral_storage: Annotated[EphemeralStorage | None, BeforeValidator(_storage)] = Field(
        None,
        description="A disk for temporary files: its size as 200Gi, or more about it.",
        json_schema_extra={"anyOf": [{"type": "string"}, {"$ref": "#/$defs/EphemeralStorage"}]},
    )
    shared_memory: Bytes | None = Field(None, description="Size of /dev/shm, which the workers of a DataLoader share.")
    gpu: Annotated[Literal[0, 1, 2, 4, 8, 16], BeforeValidator(_whole)] = Field(
        0, description="How many GPUs; of each node, with `nodes`."
    )
    gpu_kind: Kind | None = Field(
        None, description="Which GPU, as nvidia-l4, or a label of its nodes, as nvidia.com/gpu.product=Tesla-T4."
    )
    gpu_resource: str = Field("nvidia.com/gpu", description="Kubernetes' name of the GPU resource.")
    platform: PlatformName | None = Field(
        None,
        description="Whose labels `gpu_kind`, `spot` and `pool` become; gke by default. eks is Karpenter's, aks node "
        "auto-provisioning's.",
    )
    pool: str | None = Field(None, pattern=r"^[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?$", description="Pool of nodes.")
    spot: Annotated[Spot | None, BeforeValidator(_spot)] = Field(
        None,
        description="Run on spot nodes: true, or how.",
        json_schema_extra={"anyOf": [{"type": "boolean"}, {"$ref": "#/$defs/Spot"}]},
    )
    node_selector: Selector = Field({}, description="Labels that nodes must have.")
    tolerations: tuple[Toleration, ...] = Field((), description="Taints of nodes that are put up with.")
    queue: str | None = Field(
        None, description="Kueue's LocalQueue that it waits in; with `nodes`, which starts all of them or none."
    )
    priority: str | None = Field(None, description="Kueue's WorkloadPriorityClass; needs `queue`.")
    volume: Volume | None = Field(None, description="Storage that the step and all nodes see; `nodes` needs it.")
    secrets: tuple[Secret, ...] = Field((), description="Secrets that it gets, as variables or files.")
    config_maps: tuple[ConfigMap, ...] = Field((), description="Config maps that it gets, as variables or files.")
    labels: Labels = Field({}, description="Labels of its pod.")
    annotations: Annotations = Field({}, description="Annotations of its pod.")
    image: str | None = Field(
        None, pattern=r"^[\w][\w./:@-]*$", description="Image of the step, in which ai-flywheel is installed."
    )
    pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(None, description="When it is pulled.")
    pull_secrets: tuple[Name, ...] = Field((), description="Secrets with the registry's credentials.")
    timeout: Duration | None = Field(None, description="How long it may take, as 6h; then it fails.")
    retries: Annotated[Retries | None, BeforeValidator(_retries)] = Field(
        None,
        description="How often it is tried again when it fails: a number, or how; those of `spot` come on top.",
        json_schema_extra={"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/Retries"}]},
    )

    @property
    def where(self) -> Platform:
        """The platform's labels of nodes."""
        return PLATFORMS[self.platform or DEFAULT]

    @property
    def selector(self) -> dict[str, str]:
        """Labels that nodes must have, those of pool and GPU with them."""
        labels = dict(self.node_selector) | ({self.where.pool: self.pool} if self.pool else {})
        if self.gpu_kind and "=" in self.gpu_kind:
            name, _, value = self.gpu_kind.partition("=")
            labels[name] = value
        elif self.gpu_kind:
            labels |= self.where.kinds[self.gpu_kind]
        return labels

    @property
    def spot_label(self) -> tuple[str, str]:
        """Name and value of the label of spot nodes."""
        name, _, value = ((self.spot.label if self.spot else None) or self.where.spot).partition("=")
        return name, value

    @property
    def waits(self) -> dict[str, str]:
        """Labels by which Kueue knows where a pod or job waits, and before which others."""
        told = {"kueue.x-k8s.io/queue-name": self.queue, "kueue.x-k8s.io/priority-class": self.priority}
        return {name: value for name, value in told.items() if value}

    def need_a_queue(self) -> None:
        """Return if no priority is set, or a queue too; to be asked of what a step asks for in all.

        Raises:
            ValueError: There is none.
        """
        if self.priority and not self.queue:
            raise ValueError(
                f"priority is {self.priority!r}, and counts in a queue of Kueue: set queue, here or for all; a "
                "PriorityClass of pods is set by who keeps the cluster (docs/kubeflow.md)"
            )

    @property
    def files(self) -> list[tuple[str, dict[str, Any]]]:
        """Folders of files that secrets and config maps give, and the sources of their volumes."""
        given: list[tuple[str | None, dict[str, Any]]] = [
            *((each.path, {"secret": {"secretName": each.name}}) for each in self.secrets),
            *((each.path, {"configMap": {"name": each.name}}) for each in self.config_maps),
        ]
        return [(path, source) for path, source in given if path]

    @property
    def memory_limit(self) -> str | None:
        """Memory that it may take at most."""
        return self.limits.memory or self.memory

    @model_validator(mode="after")
    def _fit_together(self) -> Pod:
        for fault in self._faults():
            raise ValueError(fault)
        return self

    def _faults(self) -> Iterator[str]:
        """Yield what does not fit together."""
        if self.gpu_kind and not self.gpu:
            yield f"gpu_kind is {self.gpu_kind!r}, but no GPU is asked for; set gpu: 1 or more"
        if self.platform and self.gpu_kind and "=" not in self.gpu_kind and self.gpu_kind not in self.where.kinds:
            known = ", ".join(self.where.kinds) or "none, name a pool or a label of nodes"
            yield f"gpu_kind is {self.gpu_kind!r}, and nodes of {self.platform} do not say so; known there: {known}"
        if self.cpu and self.limits.cpu and cores(self.limits.cpu) < cores(self.cpu):
            yield f"limits.cpu is {self.limits.cpu!r}, below cpu, {self.cpu!r}: raise it, or ask for less"
        if self.memory and self.limits.memory and size(self.limits.memory) < size(self.memory):
            yield f"limits.memory is {self.limits.memory!r}, below memory, {self.memory!r}: raise it, or ask for less"
        yield from self._twice()

    def _twice(self) -> Iterator[str]:
        given = (*self.secrets, *self.config_maps)
        variables = [name for each in given for name in each.env]
        paths = [each.path for each in (*given, self.volume, self.ephemeral_storage) if each and each.path]
        paths += ["/dev/shm"] if self.shared_memory else []
        for what, all_of in (("variable", variables), ("path", paths)):
            if twice := [each for each in all_of if all_of.count(each) > 1]:
                yield f"the {what} {twice[0]!r} is given twice, by secrets, config_maps or volumes: give it once"


class Resources(Pod):
    """What the training step asks the cluster for; on one machine `cpu`, `gpu` and `timeout` count."""

    nodes: int | None = Field(
        None,
        ge=1,
        description="How many machines train together, as a TrainJob of Kubeflow Trainer; none, and the step trains.",
    )
    runtime: str = Field("torch-distributed", description="With `nodes`: name of the ClusterTrainingRuntime.")
    start_within: Duration = Field(
        timedelta(hours=6), description="With `nodes`: how long it may wait for its queue and for nodes."
    )

    def _faults(self) -> Iterator[str]:
        yield from super()._faults()
        if self.nodes and not self.volume:
            yield "nodes needs volume: {claim: …}, storage by which data and model come and go"


P = TypeVar("P", bound=Pod)


def laid_over(below: Pod, above: P) -> P:
    """Return what is asked for by `above`, and by `below` where that says nothing; labels and lists are put together.

    Raises:
        ValueError: The two do not fit together (pydantic's ValidationError).
    """
    said = {name: getattr(below, name) for name in below.model_fields_set}
    for name in above.model_fields_set:
        value = getattr(above, name)
        if isinstance(value, dict) and value:
            value = {**said.get(name, {}), **value}
        elif isinstance(value, tuple):
            under = said.get(name, ())
            value = (*under, *(each for each in value if each not in under))
        elif isinstance(value, Limits) and name in said:
            value = said[name].model_copy(update=value.model_dump(exclude_unset=True))
        said[name] = value
    return type(above).model_validate(said | {"platform": said.get("platform") or DEFAULT} if said else {})
