"""The state of a run: tasks (`Node`) in DAGs (`Scope`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flywheel.runner.result import CANCELLED, DONE, FAILED, PENDING, SUCCEEDED, Artifact, Outputs, TaskError
from flywheel.runner.spec import Component, Dag, FinalStatus, Selector, Task

if TYPE_CHECKING:
    from flywheel.runner.cache import Claim

_GUARDED = "comp-exit-handler-"
"""How kfp names the component that an ExitHandler makes of its body."""


@dataclass(eq=False)
class Node:
    """A task in a run."""

    path: str
    task: Task
    component: Component
    scope: Scope
    state: str = PENDING
    inputs: Outputs = field(default_factory=Outputs)
    outputs: Outputs = field(default_factory=Outputs)
    error: TaskError | None = None
    began: bool = False
    """Whether it was ever allowed to do something."""
    waits: int = 0
    """How many of its dependencies have not ended."""
    followers: list[Node] = field(default_factory=list)
    attempts: int = 0
    seconds: float = 0.0
    started: float = 0.0
    memory: int = 0
    cpu: float = 0.0
    cache_key: str = ""
    claim: Claim | None = None
    """Held while it makes what other runs may be waiting for."""
    waited: bool = False
    """Whether it has waited for another run that makes the same."""
    items: list[Any] = field(default_factory=list)
    """Of a loop; so are those below."""
    opened: int = 0
    open: int = 0
    collected: list[Outputs | None] = field(default_factory=list)
    worst: str = ""
    trouble: TaskError | None = None

    @property
    def is_group(self) -> bool:
        """Whether it holds other tasks."""
        return isinstance(self.component.body, Dag)

    @property
    def is_guard(self) -> bool:
        """Whether it is the exit task of an ExitHandler, which runs also when the run is stopped."""
        if not self.task.is_exit:
            return False
        asks = any(isinstance(each.source, FinalStatus) for each in self.task.parameters.values())
        return asks or any(self.scope.nodes[name].task.component.startswith(_GUARDED) for name in self.task.after)

    @property
    def is_protected(self) -> bool:
        """Whether it runs also when the run is stopped."""
        return self.is_guard or self.scope.in_guard


@dataclass(eq=False)
class Scope:
    """A DAG in a run: the root, a nested one, or one iteration of a loop."""

    path: str
    """What the paths of its tasks begin with: empty, or ending in `/`."""
    component: Component
    inputs: Outputs
    owner: Node | None = None
    index: int = 0
    nodes: dict[str, Node] = field(default_factory=dict)
    opened: bool = False
    left: int = 0
    """How many of its tasks have not ended."""
    failed: str = ""
    """The first of its tasks that failed."""
    cancelled: bool = False

    @property
    def in_guard(self) -> bool:
        """Whether it is inside an exit task."""
        owner = self.owner
        return owner is not None and (owner.is_guard or owner.scope.in_guard)

    def note(self, node: Node) -> None:
        """Take into account that one of its tasks has ended."""
        if node.state == FAILED and not self.failed:
            self.failed = node.task.name
        self.cancelled = self.cancelled or node.state == CANCELLED

    def state(self) -> str:
        """Return the state it has, if all its tasks have ended."""
        if self.cancelled:
            return CANCELLED
        return FAILED if self.failed else SUCCEEDED

    def outputs(self) -> Outputs:
        """Return what it gives; an output whose task was skipped is left out."""
        dag = self.component.body
        assert isinstance(dag, Dag)
        parameters: dict[str, Any] = {}
        artifacts: dict[str, tuple[Artifact, ...]] = {}
        for name, selectors in dag.parameters.items():
            for selector in self._chosen(selectors):
                if selector.key in (values := self.nodes[selector.task].outputs.parameters):
                    parameters.setdefault(name, values[selector.key])
        for name, selectors in dag.artifacts.items():
            for selector in self._chosen(selectors):
                if selector.key in (found := self.nodes[selector.task].outputs.artifacts):
                    artifacts.setdefault(name, found[selector.key])
        return Outputs(parameters, artifacts)

    def _chosen(self, selectors: tuple[Selector, ...]) -> list[Selector]:
        return [selector for selector in selectors if self.nodes[selector.task].state in DONE]
