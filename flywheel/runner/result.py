"""What a run leaves: its state, its outputs, and what became of each task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flywheel.runner.errors import RunnerError

PENDING, RUNNING = "PENDING", "RUNNING"
SUCCEEDED, CACHED, FAILED, SKIPPED, CANCELLED = "SUCCEEDED", "CACHED", "FAILED", "SKIPPED", "CANCELLED"
DONE = (SUCCEEDED, CACHED)
"""The states in which a task has outputs."""


@dataclass(frozen=True)
class Artifact:
    """An artifact of a task."""

    name: str
    uri: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    title: str = "system.Artifact"
    version: str = "0.0.1"
    digest: str = ""
    """Of its content; empty when it is not on this machine or was not read."""

    @property
    def path(self) -> Path:
        """Where it is on this machine, as kfp's own `artifact.path` has it for a local URI."""
        return Path(self.uri.removeprefix("file://"))

    def to_runtime(self) -> dict[str, Any]:
        """Return it as kfp's executor takes it."""
        kind = {"schemaTitle": self.title, "schemaVersion": self.version}
        return {"name": self.name, "type": kind, "uri": self.uri, "metadata": dict(self.metadata)}


@dataclass(frozen=True)
class Outputs:
    """What a task or a DAG gives: parameters by name, and a list of artifacts by name."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, tuple[Artifact, ...]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        artifacts = {name: [asdict(each) for each in many] for name, many in self.artifacts.items()}
        return {"parameters": dict(self.parameters), "artifacts": artifacts}

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> Outputs:
        """Return what `to_dict` was given."""
        artifacts = {name: tuple(Artifact(**each) for each in many) for name, many in value["artifacts"].items()}
        return Outputs(value["parameters"], artifacts)

    def flat(self) -> dict[str, Any]:
        """Return parameters and artifacts under their names; a list of artifacts only where there are several."""
        artifacts = {name: many[0] if len(many) == 1 else list(many) for name, many in self.artifacts.items()}
        return {**self.parameters, **artifacts}


@dataclass(frozen=True)
class TaskError:
    """Why a task failed or was skipped."""

    message: str
    type: str = ""
    """Name of the exception; empty for what the runner says itself."""
    log: str = ""
    """The last lines that the step wrote."""
    user: bool = False
    """Whether it is a mistake of the user, to be shown by its message alone."""
    final: bool = False
    """Whether the step itself said what the user has to mend: to try again would end the same."""

    def __str__(self) -> str:
        return self.message if self.user or not self.type else f"{self.type}: {self.message}"


@dataclass
class TaskResult:
    """What became of a task."""

    name: str
    """Where it stands: `train`, `condition-2/train`, `for-loop-1.0/train`."""
    state: str = PENDING
    outputs: dict[str, Any] = field(default_factory=dict)
    """Parameters and artifacts by name."""
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    log: Path | None = None
    """The file with all that the step has written."""
    seconds: float = 0.0
    attempts: int = 0
    error: TaskError | None = None
    memory: int = 0
    """Bytes of resident memory at the peak, shared libraries of the warm server included; 0 when not known."""
    cpu: float = 0.0
    """Seconds of processor time of all attempts, of what they started and waited for included."""
    is_group: bool = False
    """A condition, loop, exit handler or nested pipeline, rather than a step."""


class Tasks(Mapping[str, TaskResult]):
    """The tasks of a run by full name; the last part of a name is enough where only one task has it."""

    def __init__(self, tasks: Mapping[str, TaskResult]) -> None:
        self._tasks = dict(tasks)

    def __getitem__(self, name: str) -> TaskResult:
        if name in self._tasks:
            return self._tasks[name]
        found = [task for key, task in self._tasks.items() if key.endswith(f"/{name}")]
        if len(found) != 1:
            raise KeyError(f"{name!r} names {len(found)} tasks; there are {', '.join(self._tasks)}")
        return found[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


class RunFailed(RunnerError):
    """A task of the run failed: its log says more."""


@dataclass(frozen=True)
class Result:
    """A finished run."""

    id: str
    status: str
    """SUCCEEDED, FAILED or CANCELLED."""
    outputs: dict[str, Any]
    """What the pipeline returns, by name."""
    tasks: Tasks
    folder: Path
    seconds: float
    titles: Mapping[str, str] = field(default_factory=dict)
    """What the pipeline's author calls a task, by the last part of its name, where that is another one."""

    @property
    def ok(self) -> bool:
        """Whether every step that ran has succeeded."""
        return self.status == SUCCEEDED

    @property
    def failed(self) -> list[TaskResult]:
        """The steps that failed."""
        return [task for task in self.tasks.values() if task.state == FAILED and not task.is_group]

    def raise_if_failed(self) -> Result:
        """Return itself if the run succeeded.

        Raises:
            RunFailed: It did not; the message names the first step that failed and why.
        """
        if self.ok:
            return self
        if not self.failed:
            raise RunFailed(f"run {self.id} ended {self.status}", f"see {self.folder}.")
        task = self.failed[0]
        raise RunFailed(f"task {task.name!r} failed: {task.error}", f"its log: {task.log}")
