"""The executors of a compiled pipeline: what runs in which image, what is imported, what it asks of the machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from flywheel.runner.errors import PipelineError
from flywheel.runner.reading import Map
from flywheel.runner.spec import ArtifactSlot, Container, Importer


def read_executors(deployment: Map, platforms: Sequence[Map]) -> dict[str, Container | Importer]:
    """Return the executors by label.

    Args:
        deployment: The `deploymentSpec` of the pipeline.
        platforms: What is said for platforms; timeouts are taken from it, the rest is for the cluster alone.

    Raises:
        PipelineError: One is of a kind that cannot run here.
    """
    executors = {label: _executor(label, entry) for label, entry in deployment.maps("executors")}
    for document in platforms:
        _add_timeouts(document, executors)
    return executors


def artifact_type(entry: Map, optional: bool = False, many: bool = False) -> ArtifactSlot:
    """Return the type of an artifact."""
    entry.only("schemaTitle", "schemaVersion", "schemaUri", "instanceSchema")
    return ArtifactSlot(
        entry.text("schemaTitle", "system.Artifact"), entry.text("schemaVersion", "0.0.1"), optional, many
    )


def _add_timeouts(document: Map, executors: dict[str, Container | Importer]) -> None:
    """Take what `kubernetes.set_timeout` says; the rest of a platform's settings is for the cluster alone."""
    settings = document.map("platforms").map("kubernetes").map("deploymentSpec").map("executors")
    for label, container in executors.items():
        seconds = settings.map(label).number("activeDeadlineSeconds")
        if seconds and isinstance(container, Container):
            executors[label] = replace(container, timeout=seconds)


def _executor(label: str, entry: Map) -> Container | Importer:
    entry.only("container", "importer", "resolver", "customJob")
    if "container" in entry:
        return _container(label, entry.map("container"))
    if "importer" in entry:
        return _importer(entry.map("importer"))
    raise PipelineError(f"{entry.where}: only containers and importers run here, found {list(entry.value)}")


def _container(label: str, entry: Map) -> Container:
    entry.only("image", "command", "args", "lifecycle", "resources", "env", "imagePullPolicy")
    if entry.text("image").startswith("-"):
        raise PipelineError(f"{entry.where}.image: {entry.text('image')!r} is not the name of an image")
    resources = entry.map("resources")
    accelerator = resources.map("accelerator")
    return Container(
        label=label,
        image=entry.text("image"),
        command=entry.texts("command"),
        args=entry.texts("args"),
        env={item.only("name", "value").text("name"): item.text("value") for item in entry.list_of_maps("env")},
        cores=math.ceil(max(_cpu(resources, "cpuRequest"), _cpu(resources, "cpuLimit"))),
        gpus=math.ceil(max(_amount(accelerator, "count"), _amount(accelerator, "resourceCount"))),
    )


def _cpu(resources: Map, key: str) -> float:
    return max(_amount(resources, key), _amount(resources, f"resource{key[0].upper()}{key[1:]}"))


def _amount(entry: Map, key: str) -> float:
    """Return a quantity such as `2`, `"2"` or `"500m"`; 0 when it is only known at run time."""
    value = entry.value.get(key, 0)
    if isinstance(value, str) and ("{{" in value or not value):
        return 0.0
    if isinstance(value, str) and value.endswith("m"):
        return Map({key: value[:-1]}, entry.where).number(key) / 1000
    return entry.number(key)


def _importer(entry: Map) -> Importer:
    entry.only(
        "artifactUri", "typeSchema", "properties", "customProperties", "metadata", "reimport", "downloadToWorkspace"
    )
    uri = entry.map("artifactUri").only("constant", "runtimeParameter")
    return Importer(
        slot=artifact_type(entry.map("typeSchema")), uri=uri.text("constant"), metadata=entry.map("metadata").value
    )
