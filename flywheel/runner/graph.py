"""Which task may run when: the backend's rules on a tree of DAGs, without running anything.

A task whose dependencies have all ended *arrives*. Then it is skipped, ended at once, opened (a DAG, a loop), or put
on `ready` for the scheduler, which later calls `end`. After a failure nothing more of the same DAG begins, except exit
tasks.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.runner.errors import InputError
from flywheel.runner.expressions import holds
from flywheel.runner.inputs import constant_of, resolve
from flywheel.runner.nodes import Node, Scope
from flywheel.runner.result import CANCELLED, DONE, FAILED, RUNNING, SKIPPED, SUCCEEDED, Outputs, TaskError
from flywheel.runner.spec import Dag, FinalStatus, Loop, Pipeline
from flywheel.runner.values import convert

MOST_ITEMS = 100_000
"""Items of one loop; more is taken for a mistake."""
_WINDOW = 256
"""Iterations of one loop that are open at the same time, where its `parallelism` says nothing."""


class Graph:
    """The tasks of a run and their states."""

    def __init__(
        self, pipeline: Pipeline, inputs: Outputs, job: Mapping[str, str], on_end: Callable[[Node], None]
    ) -> None:
        """Make the graph of a run that has not begun.

        Args:
            pipeline: What to run.
            inputs: The arguments, checked.
            job: What the run is called, by placeholder.
            on_end: Called with each task as it reaches its last state.
        """
        self.pipeline, self.job, self.on_end = pipeline, job, on_end
        self.nodes: dict[str, Node] = {}
        self.ready: deque[Node] = deque()
        self.stopping = self.aborting = False
        self._arrived: deque[Node] = deque()
        self.root = Scope("", pipeline.root, inputs)
        self.outputs = Outputs()

    @property
    def done(self) -> bool:
        """Whether every task has ended."""
        return self.root.opened and self.root.left == 0

    @property
    def state(self) -> str:
        """The state of the run."""
        return self.root.state()

    def begin(self) -> None:
        """Let the first tasks arrive."""
        self._open(self.root)
        self._drain()

    def stop(self, *, abort: bool = False) -> None:
        """Begin nothing more but exit tasks; with `abort` not even those."""
        self.stopping, self.aborting = True, self.aborting or abort

    def end(self, node: Node, state: str, outputs: Outputs | None = None, error: TaskError | None = None) -> None:
        """Put a task into its last state, and let what waits for it arrive."""
        self._end(node, state, outputs, error)
        self._drain()

    def why_not(self, node: Node) -> tuple[str, str] | None:
        """Return the state and the reason for not beginning a task that has arrived, or None to begin it."""
        guarded = any(name for name in node.task.after if node.scope.nodes[name].began)
        if self.stopping and (self.aborting or not (guarded if node.is_guard else node.scope.in_guard)):
            return CANCELLED, "the run was stopped"
        if node.task.is_exit:
            return None if guarded or not node.task.after else (SKIPPED, "nothing of what it follows has run")
        for name in node.task.after:
            other = node.scope.nodes[name]
            if other.state not in DONE:
                return SKIPPED, f"it depends on {name!r}, which is {other.state}"
        if node.scope.failed:
            return SKIPPED, f"{node.scope.failed!r} has failed"
        return None

    def _open(self, scope: Scope) -> None:
        dag = scope.component.body
        assert isinstance(dag, Dag)
        scope.opened, scope.left = True, len(dag.tasks)
        for task in dag.tasks.values():
            node = Node(f"{scope.path}{task.name}", task, self.pipeline.components[task.component], scope)
            node.waits = len(task.after)
            scope.nodes[task.name] = self.nodes[node.path] = node
        for node in scope.nodes.values():
            for name in node.task.after:
                scope.nodes[name].followers.append(node)
        self._arrived.extend(node for node in scope.nodes.values() if not node.waits)

    def _drain(self) -> None:
        while self._arrived:
            self._arrive(self._arrived.popleft())

    def _arrive(self, node: Node) -> None:
        refusal = self.why_not(node)
        if refusal:
            self._end(node, refusal[0], error=TaskError(refusal[1]))
            return
        node.began, node.started = True, time.monotonic() if node.is_group else 0.0
        try:
            node.inputs = resolve(node, self._final_status, self.job)
            if node.task.condition and not holds(node.task.condition, node.inputs.parameters):
                node.began, node.started = False, 0.0
                self._end(node, SKIPPED, error=TaskError("its condition is false"))
            elif node.task.loop:
                self._open_loop(node, node.task.loop)
            elif isinstance(node.component.body, Dag):
                node.state = RUNNING
                self._open(Scope(f"{node.path}/", node.component, node.inputs, node))
            else:
                self.ready.append(node)
        except FlywheelError as error:
            self._end(node, FAILED, error=TaskError(str(error), type(error).__name__, user=True))

    def _open_loop(self, node: Node, loop: Loop) -> None:
        node.items = _items(node, loop, self.job)
        if not isinstance(node.component.body, Dag):
            raise InputError("a loop over a single component", "compile the pipeline anew.")
        node.state = RUNNING
        node.collected = [None] * len(node.items)
        if not node.items:
            self._close_loop(node)
        for _ in range(min(len(node.items), loop.parallelism or _WINDOW)):
            self._open_next(node, loop)

    def _open_next(self, node: Node, loop: Loop) -> None:
        at = node.opened
        node.opened, node.open = at + 1, node.open + 1
        inputs = _with_item(node.inputs, loop, node.items[at])
        self._open(Scope(f"{node.path}.{at}/", node.component, inputs, node, at))

    def _close_loop(self, node: Node) -> None:
        done = [each for each in node.collected if each is not None]
        parameters = {
            name: [each.parameters[name] for each in done if name in each.parameters]
            for name in node.component.out_parameters
        }
        artifacts = {
            name: tuple(artifact for each in done for artifact in each.artifacts.get(name, ()))
            for name in node.component.out_artifacts
        }
        self._end(node, node.worst or SUCCEEDED, Outputs(parameters, artifacts), node.trouble)

    def _end(self, node: Node, state: str, outputs: Outputs | None = None, error: TaskError | None = None) -> None:
        node.state, node.outputs, node.error = state, outputs or Outputs(), error
        self.on_end(node)
        scope = node.scope
        scope.note(node)
        for follower in node.followers:
            follower.waits -= 1
            if not follower.waits:
                self._arrived.append(follower)
        scope.left -= 1
        if not scope.left:
            self._close(scope)

    def _close(self, scope: Scope) -> None:
        outputs, state = scope.outputs(), scope.state()
        owner = scope.owner
        if owner is None:
            self.outputs = outputs
            return
        error = _cause(scope)
        if owner.task.loop is None:
            self._end(owner, state, outputs, error)
            return
        owner.open -= 1
        owner.collected[scope.index] = outputs if state == SUCCEEDED else None
        if state != SUCCEEDED and owner.worst != CANCELLED:
            owner.worst, owner.trouble = state, error
        if owner.opened < len(owner.items) and not owner.worst and not self.stopping:
            self._open_next(owner, owner.task.loop)
        elif not owner.open:
            if owner.opened < len(owner.items) and not owner.worst:
                owner.worst = CANCELLED
            self._close_loop(owner)

    def _final_status(self, node: Node, source: FinalStatus) -> dict[str, Any]:
        guarded = node.scope.nodes[source.task]
        error: dict[str, Any] = {}
        if guarded.state not in DONE:
            code = 1 if guarded.state == CANCELLED else 9  # as Google's RPC codes have it
            error = {"code": code, "message": str(guarded.error or guarded.state)}
        return {
            "state": SUCCEEDED if guarded.state in DONE else guarded.state,
            "pipelineJobResourceName": self.job["pipeline_job_resource_name"],
            "pipelineTaskName": guarded.task.name,
            "error": error,
        }


def _cause(scope: Scope) -> TaskError | None:
    """Return why a scope has failed: the error of the step at the bottom of it, not of the branches around that."""
    if not scope.failed:
        return None
    failed = scope.nodes[scope.failed]
    if failed.is_group and failed.error:
        return failed.error
    return TaskError(f"{scope.failed!r} has failed" + (f": {failed.error}" if failed.error else ""))


def _items(node: Node, loop: Loop, job: Mapping[str, str]) -> list[Any]:
    where = f"{node.path}: the items of the loop"
    value: Any
    if loop.items is not None:
        value = constant_of(loop.items, node, job)
    elif loop.artifacts:
        value = list(node.inputs.artifacts.get(loop.items_from, ()))
    else:
        value = node.inputs.parameters.get(loop.items_from)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            pass
    if not isinstance(value, list):
        raise InputError(f"{where}: expected a list, found {value!r:.80}", "loop over a list.")
    if len(value) > MOST_ITEMS:
        raise InputError(f"{where}: {len(value)} items, more than {MOST_ITEMS}", "loop over fewer, larger pieces.")
    declared = node.component.parameters.get(loop.item)
    if declared is None or loop.artifacts:
        return value
    return [convert(item, declared, f"item {at} of {loop.item!r}") for at, item in enumerate(value)]


def _with_item(inputs: Outputs, loop: Loop, item: Any) -> Outputs:
    if loop.artifacts:
        return Outputs(inputs.parameters, {**inputs.artifacts, loop.item: (item,)})
    return Outputs({**inputs.parameters, loop.item: item}, inputs.artifacts)
