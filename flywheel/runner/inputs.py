"""What a task is given: resolved from the DAG's inputs and other tasks, filled, selected, converted, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flywheel.runner.errors import InputError
from flywheel.runner.expressions import select
from flywheel.runner.nodes import Node
from flywheel.runner.placeholders import fill
from flywheel.runner.result import Artifact, Outputs
from flywheel.runner.spec import Constant, FinalStatus, FromInput, FromTask, Parameter, Pipeline, Source
from flywheel.runner.suggest import nearest
from flywheel.runner.values import convert, integral

Status = Callable[[Node, FinalStatus], dict[str, Any]]


def resolve(node: Node, final_status: Status, job: Mapping[str, str]) -> Outputs:
    """Return a task's inputs.

    Args:
        node: The task; all that it depends on has ended.
        final_status: Tells how a task ended, for an exit task.
        job: What the run is called, by placeholder.

    Raises:
        InputError: A required input has no value, or one has the wrong type.
        ConditionError: A selector cannot be evaluated.
    """
    given = {name: _given(node, each.source, final_status) for name, each in node.task.parameters.items()}
    job = {**job, "pipeline_task_name": node.task.name, "pipeline_task_uuid": f"{job['pipeline_job_uuid']}/{node.path}"}
    for name, each in node.task.parameters.items():
        if isinstance(each.source, Constant):
            given[name] = fill(each.source.value, given, job)
        if each.selector and given[name] is not None:
            given[name] = select(each.selector, given[name])
    return Outputs(_complete(node, given), _artifacts(node))


def constant_of(value: Any, node: Node, job: Mapping[str, str]) -> Any:
    """Return a constant of a task with its placeholders replaced."""
    return fill(value, node.inputs.parameters, job)


def _given(node: Node, source: Source, final_status: Status) -> Any:
    if isinstance(source, FromInput):
        return node.scope.inputs.parameters.get(source.name)
    if isinstance(source, FromTask):
        return node.scope.nodes[source.task].outputs.parameters.get(source.key)
    if isinstance(source, FinalStatus):
        return final_status(node, source)
    return integral(source.value)


def _complete(node: Node, given: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters converted, with defaults, and without what is optional and not given."""
    values = {name: value for name, value in given.items() if value is not None}
    loop = node.task.loop
    for name, declared in node.component.parameters.items():
        if loop and not loop.artifacts and name == loop.item:
            continue
        if name in values:
            values[name] = convert(values[name], declared, f"input {name!r}")
        elif declared.default is not None:
            values[name] = convert(declared.default, declared, f"input {name!r}")
        elif not declared.optional:
            raise InputError(f"input {name!r} has no value: {_origin(node, name)}", "give it one, or make it optional.")
        elif node.is_group:
            values[name] = None
    return values


def _artifacts(node: Node) -> dict[str, tuple[Artifact, ...]]:
    found: dict[str, tuple[Artifact, ...]] = {}
    for name, source in node.task.artifacts.items():
        many: tuple[Artifact, ...] | None = None
        if isinstance(source, FromInput):
            many = node.scope.inputs.artifacts.get(source.name)
        elif isinstance(source, FromTask):
            many = node.scope.nodes[source.task].outputs.artifacts.get(source.key)
        if many is not None:
            found[name] = many
    loop = node.task.loop
    for name, slot in node.component.artifacts.items():
        if name not in found and not slot.optional and not (loop and loop.artifacts and name == loop.item):
            raise InputError(f"input artifact {name!r} has no value: {_origin(node, name)}", "make it optional.")
    return found


def _origin(node: Node, name: str) -> str:
    given = node.task.parameters.get(name)
    source = given.source if given else node.task.artifacts.get(name)
    if isinstance(source, FromTask):
        other = node.scope.nodes[source.task]
        return f"{source.task!r}, which should give it, is {other.state} and gave none"
    if isinstance(source, FromInput):
        return f"{source.name!r} was not given"
    return "nothing gives it"


def check_arguments(pipeline: Pipeline, arguments: Mapping[str, Any]) -> Outputs:
    """Return the arguments of a pipeline with its defaults, converted and checked.

    Raises:
        ArgumentError: One is unknown, missing or of the wrong type.
    """
    from flywheel.runner.errors import ArgumentError

    declared = pipeline.root.parameters
    for name in arguments:
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise ArgumentError(
                f"pipeline {pipeline.name!r} has no argument {name!r}{nearest(name, declared)}", f"known: {known}."
            )
    for name, slot in pipeline.root.artifacts.items():
        if not slot.optional:
            raise ArgumentError(
                f"pipeline {pipeline.name!r} wants the artifact {name!r}", "import it inside the pipeline."
            )
    values: dict[str, Any] = {}
    for name, parameter in declared.items():
        value = arguments.get(name)
        values[name] = parameter.default if value is None else value
        if values[name] is not None:
            values[name] = _argument(name, values[name], parameter)
        elif not parameter.optional:
            raise ArgumentError(
                f"argument {name!r} of pipeline {pipeline.name!r} is missing", f"give it: {parameter.type}."
            )
    return Outputs(values)


def _argument(name: str, value: Any, parameter: Parameter) -> Any:
    from flywheel.runner.errors import ArgumentError

    try:
        return convert(value, parameter, f"argument {name!r}")
    except (InputError, TypeError) as error:
        raise ArgumentError(*(error.args if isinstance(error, TypeError) else (error.message, error.remedy))) from error
