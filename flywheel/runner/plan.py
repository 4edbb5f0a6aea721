"""Before anything runs: can every component be run here, and what do they import?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import TopologicalSorter

from flywheel.runner.containers import find_engine
from flywheel.runner.errors import ArgumentError, EngineError
from flywheel.runner.program import Program, imports_of, program_of
from flywheel.runner.spec import Component, Container, Dag, Pipeline
from flywheel.runner.suggest import nearest


def steps_of(pipeline: Pipeline) -> Iterator[tuple[Component, Container]]:
    """Yield the components that are steps, in an order in which they may run; those never used are left out."""
    seen: set[str] = set()

    def walk(dag: Dag) -> Iterator[tuple[Component, Container]]:
        for name in TopologicalSorter({task.name: task.after for task in dag.tasks.values()}).static_order():
            component = pipeline.components[dag.tasks[name].component]
            if component.name in seen:
                continue
            seen.add(component.name)
            if isinstance(component.body, Dag):
                yield from walk(component.body)
            elif isinstance(component.body, Container):
                yield component, component.body

    yield from walk(pipeline.dag)


Preload = Mapping[str, Sequence[str]]
"""Modules that steps load late, by the name of a component's function."""


def needs_of(pipeline: Pipeline, preload: Preload) -> list[tuple[str, ...]]:
    """Return the modules that each step imports, in the order in which the pipeline needs them."""
    programs = [program_of(container) for _, container in steps_of(pipeline)]
    return [needed(program, preload) for program in programs if program]


def needed(program: Program, preload: Preload) -> tuple[str, ...]:
    """Return the modules that a step imports, in order."""
    return (*imports_of(program.source), *preload.get(program.function, ()))


def check_runnable(pipeline: Pipeline, debug: str = "") -> None:
    """Raise an error, before anything runs, if a step cannot be run on this machine.

    Args:
        pipeline: Whose steps.
        debug: The task that is to be debugged; empty for none, `*` for all.

    Raises:
        EngineError: A component needs a container, and there is no engine.
        ArgumentError: There is no such task.
    """
    bodies = [component.body for component in (pipeline.root, *pipeline.components.values())]
    tasks = {name for body in bodies if isinstance(body, Dag) for name in body.tasks}
    if debug not in ("", "*") and debug.rpartition("/")[2] not in tasks:
        there = ", ".join(sorted(tasks))
        raise ArgumentError(f"there is no task {debug!r} to debug{nearest(debug, tasks)}", f"there are {there}.")
    for component, container in steps_of(pipeline):
        if program_of(container) is None and not find_engine():
            raise EngineError(
                f"component {component.name.removeprefix('comp-')!r} runs in the container {container.image!r}, "
                "and no container engine answers here",
                "start Docker, or make it a @dsl.component.",
            )
