"""Does a pipeline hang together? References that lead somewhere, no cycles, no component inside itself."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from flywheel.runner.errors import PipelineError
from flywheel.runner.spec import Component, Dag, FinalStatus, FromInput, FromTask, Pipeline, Source, Task

DEEPEST = 50
"""Levels of nested DAGs; people write three or four."""
MOST_TASKS = 100_000
"""Tasks with those of nested DAGs, each loop counted once."""


def check(pipeline: Pipeline) -> None:
    """Raise PipelineError, with the place, if the parts of the pipeline do not fit together."""
    for component in [pipeline.root, *pipeline.components.values()]:
        if isinstance(component.body, Dag):
            _check_dag(component, component.body, pipeline)
    _check_nesting(pipeline)


def _check_dag(component: Component, dag: Dag, pipeline: Pipeline) -> None:
    if not dag.tasks:
        raise PipelineError(f"{component.name}: the DAG has no tasks", "give it one, or leave it out.")
    for task in dag.tasks.values():
        where = f"{component.name}, task {task.name!r}"
        if task.component not in pipeline.components:
            raise PipelineError(f"{where}: there is no component {task.component!r}", "compile the pipeline anew.")
        for name in task.after:
            if name not in dag.tasks:
                raise PipelineError(
                    f"{where}: depends on {name!r}, which is no task here", "compile the pipeline anew."
                )
        for name, given in task.parameters.items():
            _check_source(given.source, f"{where}, input {name!r}", component, dag, pipeline, artifact=False)
        for name, source in task.artifacts.items():
            _check_source(source, f"{where}, input {name!r}", component, dag, pipeline, artifact=True)
        _check_loop(task, where)
    for kind, outputs in (("parameter", dag.parameters), ("artifact", dag.artifacts)):
        for name, selectors in outputs.items():
            for selector in selectors:
                where = f"{component.name}, output {kind} {name!r}"
                _check_output(selector.task, selector.key, where, dag, pipeline, artifact=kind == "artifact")
    _check_cycles(component.name, dag)


def _check_loop(task: Task, where: str) -> None:
    loop = task.loop
    if loop is None:
        return
    if not loop.item:
        raise PipelineError(f"{where}: the loop binds its items to nothing", "compile the pipeline anew.")
    given = task.artifacts if loop.artifacts else task.parameters
    if loop.items is None and loop.items_from not in given:
        raise PipelineError(
            f"{where}: loops over {loop.items_from!r}, which is no input of it", "compile the pipeline anew."
        )


def _check_source(
    source: Source, where: str, component: Component, dag: Dag, pipeline: Pipeline, *, artifact: bool
) -> None:
    if isinstance(source, FromInput):
        known = component.artifacts if artifact else component.parameters
        if source.name not in known:
            raise PipelineError(
                f"{where}: comes from {source.name!r}, which is no input of {component.name}",
                "kfp compiles a loop's item in text wrongly in some places: give the item as an input of its own.",
            )
    elif isinstance(source, FromTask):
        _check_output(source.task, source.key, where, dag, pipeline, artifact=artifact)
    elif isinstance(source, FinalStatus) and source.task not in dag.tasks:
        raise PipelineError(f"{where}: wants the final status of {source.task!r}, which is no task here")


def _check_output(task: str, key: str, where: str, dag: Dag, pipeline: Pipeline, *, artifact: bool) -> None:
    if task not in dag.tasks:
        raise PipelineError(f"{where}: comes from {task!r}, which is no task here", "compile the pipeline anew.")
    producer = pipeline.components.get(dag.tasks[task].component)
    if producer is None:
        raise PipelineError(f"{where}: there is no component {dag.tasks[task].component!r}", "compile it anew.")
    if key not in (producer.out_artifacts if artifact else producer.out_parameters):
        raise PipelineError(f"{where}: {task!r} has no output {key!r}", "compile the pipeline anew.")


def _check_cycles(name: str, dag: Dag) -> None:
    try:
        TopologicalSorter({task.name: task.after for task in dag.tasks.values()}).prepare()
    except CycleError as error:
        ring = " → ".join(error.args[1])
        raise PipelineError(f"{name}: tasks wait for each other: {ring}", "remove one of the dependencies.") from error


def _check_nesting(pipeline: Pipeline) -> None:
    uses = {name: _used(component) for name, component in pipeline.components.items()}
    try:
        order = list(TopologicalSorter(uses).static_order())
    except CycleError as error:
        ring = " → ".join(error.args[1])
        raise PipelineError(f"components contain each other: {ring}", "remove one of the uses.") from error
    depth: dict[str, int] = {}
    tasks: dict[str, int] = {}
    for name in order:
        depth[name] = 1 + max((depth[used] for used in uses.get(name, ())), default=0)
        tasks[name] = 1 + _count(pipeline.components[name], tasks)
    if max(depth.values(), default=0) > DEEPEST:
        raise PipelineError(f"DAGs are nested more than {DEEPEST} deep", "flatten the pipeline.")
    if _count(pipeline.root, tasks) > MOST_TASKS:
        raise PipelineError(f"the pipeline has more than {MOST_TASKS} tasks", "loop over a list instead.")


def _count(component: Component, tasks: dict[str, int]) -> int:
    if not isinstance(component.body, Dag):
        return 0
    return sum(tasks[task.component] for task in component.body.tasks.values())


def _used(component: Component) -> tuple[str, ...]:
    return tuple({task.component for task in component.body.tasks.values()}) if isinstance(component.body, Dag) else ()
