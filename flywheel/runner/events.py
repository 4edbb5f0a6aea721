"""What happens in a run, as small values; whoever draws progress is a callable that takes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """Something that happened in a run."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values, with its kind under `event`."""
        return {"event": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class RunStarted(Event):
    """A run begins."""

    run: str
    pipeline: str
    folder: str
    titles: Mapping[str, str] = field(default_factory=dict)
    """What its author calls a task, by its name, where that is another one."""


@dataclass(frozen=True)
class TaskStarted(Event):
    """A step begins, or begins again."""

    task: str
    attempt: int = 1


@dataclass(frozen=True)
class TaskWaits(Event):
    """A step waits for something outside the run before it begins."""

    task: str
    why: str


@dataclass(frozen=True)
class LogLine(Event):
    """A step has written a line."""

    task: str
    line: str


@dataclass(frozen=True)
class TaskRetried(Event):
    """A step has failed and will be tried again."""

    task: str
    attempt: int
    """The attempt that failed, counted from 1."""
    wait: float
    """Seconds until the next."""
    error: str


@dataclass(frozen=True)
class TaskFinished(Event):
    """A task has reached its last state."""

    task: str
    state: str
    seconds: float
    error: str = ""
    """Why it failed or was skipped; empty when it did not."""
    log: str = ""
    """The last lines of the log of a step that failed."""


@dataclass(frozen=True)
class Cancelling(Event):
    """The run was interrupted: steps are being stopped, exit tasks still run."""

    run: str


@dataclass(frozen=True)
class RunFinished(Event):
    """A run has ended."""

    run: str
    state: str
    seconds: float
    error: str = ""


Events = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Take an event and do nothing."""
