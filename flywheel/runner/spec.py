"""A compiled pipeline, as dataclasses: what to run and how its parts hang together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

INTEGER, DOUBLE, STRING, BOOLEAN = "NUMBER_INTEGER", "NUMBER_DOUBLE", "STRING", "BOOLEAN"
LIST, STRUCT, STATUS, TASK_CONFIG = "LIST", "STRUCT", "TASK_FINAL_STATUS", "TASK_CONFIG"


@dataclass(frozen=True)
class Parameter:
    """A declared parameter of a component."""

    type: str
    optional: bool = False
    default: Any = None
    """None: there is no default; JSON null cannot be one."""
    literals: tuple[Any, ...] = ()
    """The only values allowed, when there are any here."""


@dataclass(frozen=True)
class ArtifactSlot:
    """A declared artifact of a component."""

    title: str = "system.Artifact"
    version: str = "0.0.1"
    optional: bool = False
    many: bool = False


@dataclass(frozen=True)
class Constant:
    """An input that stands in the pipeline itself; text in it may hold placeholders."""

    value: Any


@dataclass(frozen=True)
class FromInput:
    """An input that comes from the inputs of the DAG that the task is in."""

    name: str


@dataclass(frozen=True)
class FromTask:
    """An input that another task of the same DAG gives."""

    task: str
    key: str


@dataclass(frozen=True)
class FinalStatus:
    """An input of an exit task: how the task that it guards ended."""

    task: str


Source = Constant | FromInput | FromTask | FinalStatus


@dataclass(frozen=True)
class Input:
    """Where a task's parameter comes from, and which part of the value is meant."""

    source: Source
    selector: str = ""


@dataclass(frozen=True)
class Retry:
    """How often, and how long after a failure, a task is tried again."""

    times: int = 0
    wait: float = 0.0
    """Seconds before the first retry."""
    factor: float = 2.0
    longest: float = 3600.0
    """Seconds; no wait is longer."""

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait after failed attempt number `attempt`, counted from 1."""
        return min(self.wait * self.factor ** min(attempt - 1, 64), self.longest)


@dataclass(frozen=True)
class Loop:
    """A task that runs once per item."""

    item: str
    """The input that each item is bound to."""
    items: list[Any] | None = None
    items_from: str = ""
    """The input that holds the items, unless they stand in `items`."""
    artifacts: bool = False
    parallelism: int = 0
    """How many iterations run at the same time; 0 is no limit."""


@dataclass(frozen=True)
class Task:
    """One use of a component in a DAG."""

    name: str
    title: str
    component: str
    parameters: Mapping[str, Input] = field(default_factory=dict)
    artifacts: Mapping[str, Source] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    condition: str = ""
    is_exit: bool = False
    """Runs when what it depends on has ended, however it ended."""
    cache: bool = False
    cache_key: str = ""
    retry: Retry = field(default_factory=Retry)
    loop: Loop | None = None


@dataclass(frozen=True)
class Selector:
    """An output of a task inside a DAG."""

    task: str
    key: str


@dataclass(frozen=True)
class Dag:
    """Tasks and what they give to the outside: for each output the selectors, the first that has a value wins."""

    tasks: Mapping[str, Task]
    parameters: Mapping[str, tuple[Selector, ...]] = field(default_factory=dict)
    artifacts: Mapping[str, tuple[Selector, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Container:
    """A command in an image; for a Python component also the function in it."""

    label: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cores: int = 0
    """How many cores it asks for; 0 is no wish."""
    gpus: int = 0
    timeout: float = 0.0
    """Seconds that one attempt may take; 0 is no limit."""


@dataclass(frozen=True)
class Importer:
    """Makes an artifact of what lies at a URI."""

    slot: ArtifactSlot
    uri: str = ""
    """Empty: the parameter `uri` has it."""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Component:
    """What a task runs, with the inputs and outputs that it declares."""

    name: str
    body: Dag | Container | Importer
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    artifacts: Mapping[str, ArtifactSlot] = field(default_factory=dict)
    out_parameters: Mapping[str, Parameter] = field(default_factory=dict)
    out_artifacts: Mapping[str, ArtifactSlot] = field(default_factory=dict)


@dataclass(frozen=True)
class Pipeline:
    """A whole compiled pipeline."""

    name: str
    root: Component
    components: Mapping[str, Component]
    text: str
    """The compiled form that this was read from."""

    @property
    def titles(self) -> dict[str, str]:
        """What authors call tasks by kfp's name, where it is another: `dsl.If(…, name=…)`, `set_display_name`."""
        found: dict[str, str] = {}
        bodies = [component.body for component in (self.root, *self.components.values())]
        for task in (task for body in bodies if isinstance(body, Dag) for task in body.tasks.values()):
            if found.setdefault(task.name, task.title) != task.title:  # in two pipelines, one in the other
                found[task.name] = task.name
        return {name: title for name, title in found.items() if title != name}

    @property
    def dag(self) -> Dag:
        """The outermost DAG."""
        assert isinstance(self.root.body, Dag)
        return self.root.body
