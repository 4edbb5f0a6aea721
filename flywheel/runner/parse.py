"""From the YAML that kfp compiles to `spec`'s dataclasses; what is not understood is named, not ignored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flywheel.runner.check import check
from flywheel.runner.errors import PipelineError
from flywheel.runner.executors import artifact_type, read_executors
from flywheel.runner.reading import Map, check_name, read_documents
from flywheel.runner.spec import (
    BOOLEAN,
    DOUBLE,
    INTEGER,
    LIST,
    STATUS,
    STRING,
    STRUCT,
    TASK_CONFIG,
    ArtifactSlot,
    Component,
    Constant,
    Container,
    Dag,
    FinalStatus,
    FromInput,
    FromTask,
    Importer,
    Input,
    Loop,
    Parameter,
    Pipeline,
    Retry,
    Selector,
    Source,
    Task,
)

_TYPES = (INTEGER, DOUBLE, STRING, BOOLEAN, LIST, STRUCT, STATUS, TASK_CONFIG)
_OLD_TYPES = {"INT": INTEGER, "DOUBLE": DOUBLE, "STRING": STRING}
_STRATEGIES = ("", "ALL_UPSTREAM_TASKS_SUCCEEDED", "ALL_UPSTREAM_TASKS_COMPLETED")


def load(pipeline: object) -> Pipeline:
    """Return the pipeline that is at a path, or that kfp has made of a decorated function.

    Args:
        pipeline: Path of a compiled pipeline, or an object made by `@dsl.pipeline` or `@dsl.component`.

    Raises:
        PipelineError: It cannot be read or understood.
    """
    if isinstance(pipeline, Pipeline):
        return pipeline
    if isinstance(pipeline, str | Path):
        try:
            return parse(Path(pipeline).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise PipelineError(
                f"cannot read the pipeline {str(pipeline)!r}: {error}", "give a compiled YAML."
            ) from error
    if hasattr(pipeline, "pipeline_spec"):
        return parse(_compile(pipeline))
    raise PipelineError(
        f"a {type(pipeline).__name__} is not a pipeline",
        "give the path of a compiled YAML, or a @dsl.pipeline function.",
    )


def parse(text: str) -> Pipeline:
    """Return the pipeline that `text`, a compiled YAML, describes.

    Raises:
        PipelineError: With the place in the YAML and what is wrong there.
    """
    documents = read_documents(text)
    if not documents:
        raise PipelineError("the pipeline is empty", "compile it anew with kfp.")
    top = Map(documents[0], "pipeline")
    if "root" not in top:
        raise PipelineError("the pipeline has no `root`", "give a pipeline that kfp >= 2 has compiled.")
    top.only(
        "pipelineInfo", "deploymentSpec", "sdkVersion", "schemaVersion", "components", "root", "defaultPipelineRoot"
    )
    if not top.text("schemaVersion", "2.1.0").startswith("2."):
        raise PipelineError(
            f"schemaVersion {top.text('schemaVersion')!r} is not known", "compile with kfp 2.13 to 2.17."
        )
    info = top.map("pipelineInfo").only("name", "displayName", "description")
    platforms = [Map(document, "platforms") for document in documents[1:]]
    executors = read_executors(top.map("deploymentSpec"), platforms)
    components = {name: _component(name, entry, executors) for name, entry in top.maps("components")}
    root = _component("root", top.map("root"), executors)
    if not isinstance(root.body, Dag):
        raise PipelineError("the pipeline's `root` is not a DAG", "compile it anew with kfp.")
    name = check_name(info.text("name") or "pipeline", "pipeline.pipelineInfo.name")
    pipeline = Pipeline(name, root, components, text)
    check(pipeline)
    return pipeline


def _compile(pipeline: Any) -> str:
    import yaml
    from google.protobuf import json_format

    documents = [json_format.MessageToDict(pipeline.pipeline_spec)]
    platforms = json_format.MessageToDict(pipeline.platform_spec)
    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump_all(documents + [platforms] * bool(platforms), Dumper=dumper, sort_keys=True))


def _component(name: str, entry: Map, executors: dict[str, Container | Importer]) -> Component:
    entry.only(
        "inputDefinitions", "outputDefinitions", "dag", "executorLabel", "singlePlatformSpecs", "taskConfigPassthroughs"
    )
    inputs = entry.map("inputDefinitions").only("parameters", "artifacts")
    outputs = entry.map("outputDefinitions").only("parameters", "artifacts")
    body: Dag | Container | Importer
    if "dag" in entry:
        body = _dag(entry.map("dag"))
    elif entry.text("executorLabel") in executors:
        body = executors[entry.text("executorLabel")]
    else:
        raise PipelineError(f"{entry.where}: no executor is named {entry.text('executorLabel')!r}", "compile it anew.")
    return Component(
        name=name,
        body=body,
        parameters={key: _parameter(value) for key, value in inputs.maps("parameters")},
        artifacts={key: _artifact(value) for key, value in inputs.maps("artifacts")},
        out_parameters={key: _parameter(value) for key, value in outputs.maps("parameters")},
        out_artifacts={key: _artifact(value) for key, value in outputs.maps("artifacts")},
    )


def _parameter(entry: Map) -> Parameter:
    entry.only("type", "parameterType", "defaultValue", "isOptional", "description", "literals")
    kind = entry.text("parameterType") or _OLD_TYPES.get(entry.text("type"), "")
    if kind not in _TYPES:
        raise PipelineError(f"{entry.where}: {kind!r} is not a parameter type", f"known: {', '.join(_TYPES)}.")
    default = entry.json("defaultValue")
    return Parameter(kind, entry.flag("isOptional") or default is not None, default, tuple(entry.items("literals")))


def _artifact(entry: Map) -> ArtifactSlot:
    entry.only(
        "artifactType", "isArtifactList", "isOptional", "description", "properties", "customProperties", "metadata"
    )
    return artifact_type(entry.map("artifactType"), entry.flag("isOptional"), entry.flag("isArtifactList"))


def _dag(entry: Map) -> Dag:
    entry.only("tasks", "outputs")
    outputs = entry.map("outputs").only("parameters", "artifacts")
    return Dag(
        tasks={name: _task(name, task) for name, task in entry.maps("tasks")},
        parameters={name: _parameter_selectors(value) for name, value in outputs.maps("parameters")},
        artifacts={name: _artifact_selectors(value) for name, value in outputs.maps("artifacts")},
    )


def _parameter_selectors(entry: Map) -> tuple[Selector, ...]:
    entry.only("valueFromParameter", "valueFromOneof")
    if "valueFromParameter" in entry:
        choices = [entry.map("valueFromParameter")]
    else:
        choices = entry.map("valueFromOneof").only("parameterSelectors").list_of_maps("parameterSelectors")
    return tuple(_selector(choice, "outputParameterKey") for choice in choices)


def _artifact_selectors(entry: Map) -> tuple[Selector, ...]:
    choices = entry.only("artifactSelectors").list_of_maps("artifactSelectors")
    return tuple(_selector(choice, "outputArtifactKey") for choice in choices)


def _selector(entry: Map, key: str) -> Selector:
    entry.only("producerSubtask", key)
    return Selector(entry.text("producerSubtask"), entry.text(key))


def _task(name: str, entry: Map) -> Task:
    entry.only(
        "taskInfo", "inputs", "dependentTasks", "cachingOptions", "componentRef", "triggerPolicy", "artifactIterator",
        "parameterIterator", "retryPolicy", "iteratorPolicy",
    )  # fmt: skip
    inputs = entry.map("inputs").only("parameters", "artifacts")
    parameters = {key: _input(value) for key, value in inputs.maps("parameters")}
    artifacts = {key: _artifact_source(value) for key, value in inputs.maps("artifacts")}
    trigger = entry.map("triggerPolicy").only("condition", "strategy")
    if trigger.text("strategy") not in _STRATEGIES:
        raise PipelineError(f"{trigger.where}: the strategy {trigger.text('strategy')!r} is not known")
    caching = entry.map("cachingOptions").only("enableCache", "cacheKey")
    return Task(
        name=name,
        title=entry.map("taskInfo").only("name").text("name", name),
        component=entry.map("componentRef").only("name").text("name"),
        parameters=parameters,
        artifacts=artifacts,
        after=_dependencies(entry, [each.source for each in parameters.values()] + list(artifacts.values())),
        condition=trigger.text("condition"),
        is_exit=trigger.text("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED",
        cache=caching.flag("enableCache"),
        cache_key=caching.text("cacheKey"),
        retry=_retry(entry.map("retryPolicy")),
        loop=_loop(entry),
    )


def _dependencies(entry: Map, sources: list[Source]) -> tuple[str, ...]:
    producers = [source.task for source in sources if isinstance(source, FromTask | FinalStatus)]
    return tuple(dict.fromkeys([*entry.texts("dependentTasks"), *producers]))


def _input(entry: Map) -> Input:
    entry.only(
        "taskOutputParameter",
        "runtimeValue",
        "componentInputParameter",
        "taskFinalStatus",
        "parameterExpressionSelector",
    )
    source: Source
    if "taskOutputParameter" in entry:
        output = entry.map("taskOutputParameter").only("producerTask", "outputParameterKey")
        source = FromTask(output.text("producerTask"), output.text("outputParameterKey"))
    elif "componentInputParameter" in entry:
        source = FromInput(entry.text("componentInputParameter"))
    elif "taskFinalStatus" in entry:
        source = FinalStatus(entry.map("taskFinalStatus").only("producerTask").text("producerTask"))
    elif "constant" in entry.map("runtimeValue").only("constant"):
        source = Constant(entry.map("runtimeValue").json("constant"))
    else:
        raise PipelineError(f"{entry.where}: the input comes from nowhere", "compile the pipeline anew.")
    return Input(source, entry.text("parameterExpressionSelector"))


def _artifact_source(entry: Map) -> Source:
    entry.only("taskOutputArtifact", "componentInputArtifact")
    if "componentInputArtifact" in entry:
        return FromInput(entry.text("componentInputArtifact"))
    output = entry.map("taskOutputArtifact").only("producerTask", "outputArtifactKey")
    return FromTask(output.text("producerTask"), output.text("outputArtifactKey"))


def _retry(entry: Map) -> Retry:
    entry.only("maxRetryCount", "backoffDuration", "backoffFactor", "backoffMaxDuration")
    return Retry(
        times=int(entry.number("maxRetryCount")),
        wait=entry.seconds("backoffDuration"),
        factor=entry.number("backoffFactor", 2.0) or 2.0,
        longest=entry.seconds("backoffMaxDuration", 3600.0) or 3600.0,
    )


def _loop(entry: Map) -> Loop | None:
    parallelism = int(entry.map("iteratorPolicy").only("parallelismLimit").number("parallelismLimit"))
    if "artifactIterator" in entry:
        each = entry.map("artifactIterator").only("items", "itemInput")
        source = each.map("items").only("inputArtifact").text("inputArtifact")
        return Loop(each.text("itemInput"), items_from=source, artifacts=True, parallelism=parallelism)
    if "parameterIterator" in entry:
        each = entry.map("parameterIterator").only("items", "itemInput")
        items = each.map("items").only("raw", "inputParameter")
        raw = _raw_items(items) if "raw" in items else None
        return Loop(each.text("itemInput"), items=raw, items_from=items.text("inputParameter"), parallelism=parallelism)
    return None


def _raw_items(items: Map) -> list[Any]:
    read: Callable[[str], Any] = json.loads
    try:
        value = read(items.text("raw"))
    except (ValueError, RecursionError) as error:
        raise PipelineError(
            f"{items.where}.raw: the items are no JSON: {error}", "compile the pipeline anew."
        ) from error
    if not isinstance(value, list):
        raise PipelineError(f"{items.where}.raw: expected a list of items, found {value!r:.80}")
    return value
