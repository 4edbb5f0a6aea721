"""Draw a run as it goes: plain lines, JSON lines, or a live tree on a terminal."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from flywheel.runner import events as ev
from flywheel.runner.result import CACHED, CANCELLED, FAILED, RUNNING, SKIPPED, SUCCEEDED

if TYPE_CHECKING:
    from rich.tree import Tree

_FEWEST = 10
"""Tasks that the tree shows, however small the terminal is."""
_STYLE = {SUCCEEDED: "green", CACHED: "cyan", FAILED: "bold red", SKIPPED: "dim", CANCELLED: "yellow", RUNNING: "blue"}
_GROUP = re.compile(r"(exit-handler|condition|condition-branches)-\d+")
"""How kfp names the groups that it makes of branches."""
_MARK = {SUCCEEDED: "✓", CACHED: "≡", FAILED: "✗", SKIPPED: "–", CANCELLED: "■", RUNNING: "●"}


def choose(stream: TextIO | None = None, *, plain: bool = False, as_json: bool = False) -> Plain | Json | Live:
    """Return what suits a stream: a live tree on a terminal, plain lines elsewhere.

    Args:
        stream: Where to draw; standard error when not given, standard output for JSON.
        plain: Plain lines even on a terminal.
        as_json: One event a line.
    """
    if as_json:
        return Json(stream or sys.stdout)
    stream = stream or sys.stderr
    return Live(stream) if stream.isatty() and not plain else Plain(stream)


class Json:
    """Writes one event a line, as JSON."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __call__(self, event: ev.Event) -> None:
        """Write the event."""
        self.stream.write(json.dumps({"time": round(time.time(), 3), **event.to_dict()}) + "\n")
        self.stream.flush()


class Plain:
    """Writes lines, for log files and pipes."""

    def __init__(self, stream: TextIO, *, logs: bool = True) -> None:
        """Make it.

        Args:
            stream: Where to write.
            logs: Whether to write what the steps write, too.
        """
        self.stream, self.logs = stream, logs
        self._titles: Mapping[str, str] = {}

    def __call__(self, event: ev.Event) -> None:
        """Write what the event is in words."""
        if isinstance(event, ev.RunStarted):
            self._titles = event.titles
        for line in describe(event, self._titles, logs=self.logs):
            self.stream.write(line + "\n")
        self.stream.flush()


def shown(task: str, titles: Mapping[str, str] | None = None) -> str:
    """Return the name of a task as its author knows it, without the branches around it; of a branch its own.

    Args:
        task: Where it stands.
        titles: What its author calls tasks, by their names, where that is another one.
    """
    *around, last = task.split("/")
    parts = [part for part in around if not _GROUP.fullmatch(part)]
    return "/".join((titles or {}).get(part, part) for part in (*parts, last))


def is_branch(task: str) -> bool:
    """Return whether a task is a branch that compiling made, rather than something that its author named."""
    return bool(_GROUP.fullmatch(task.rsplit("/", 1)[-1]))


def describe(event: ev.Event, titles: Mapping[str, str] | None = None, *, logs: bool = True) -> Iterable[str]:
    """Return an event as lines of text; `titles` as `shown` takes them."""
    if isinstance(event, ev.RunStarted):
        return [f"run {event.run}"]
    if isinstance(event, ev.TaskStarted):
        again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
        return [f"{shown(event.task, titles)}: started{again}"]
    if isinstance(event, ev.TaskWaits):
        return [f"{shown(event.task, titles)}: waits: {event.why}"]
    if isinstance(event, ev.LogLine):
        return [f"{shown(event.task, titles)} | {event.line}"] if logs else []
    if isinstance(event, ev.TaskRetried):
        why = f"attempt {event.attempt} failed, again in {event.wait:g} s: {event.error}"
        return [f"{shown(event.task, titles)}: {why}"]
    if isinstance(event, ev.TaskFinished):
        return _finished(event, shown(event.task, titles), tail=not logs)
    if isinstance(event, ev.Cancelling):
        return ["stopping: exit tasks still run; once more to stop at once"]
    if isinstance(event, ev.RunFinished):
        return [f"run {event.run}: {event.state} in {event.seconds:.1f} s"]
    return []


def _finished(event: ev.TaskFinished, task: str, *, tail: bool) -> list[str]:
    if is_branch(event.task):  # what is in it has been told
        return [f"{task}: {event.state}: {event.error}"] if event.state == SKIPPED else []
    seconds = f" in {event.seconds:.1f} s" if event.seconds else ""
    lines = [f"{task}: {event.state}{seconds}" + (f": {event.error}" if event.error else "")]
    if tail and event.log:
        lines += [f"{task} | {line}" for line in event.log.splitlines()]
    return lines


@dataclass
class _Line:
    state: str
    since: float
    seconds: float = 0.0
    note: str = ""
    last: str = ""


class Live:
    """Draws a tree of tasks with state, time and last line, and keeps it up to date."""

    def __init__(self, stream: TextIO) -> None:
        """Make it for a terminal."""
        from rich.console import Console

        self.console = Console(file=stream)
        self.tasks: dict[str, _Line] = {}
        self._title, self._titles = "", dict[str, str]()
        self._live: Any = None
        self._lock = threading.Lock()

    def __call__(self, event: ev.Event) -> None:
        """Take the event into the tree; the drawing is done a few times a second."""
        with self._lock:
            self._take(event)
        if isinstance(event, ev.RunStarted):
            self._begin()
        elif isinstance(event, ev.RunFinished):
            self._end(event)

    def _take(self, event: ev.Event) -> None:
        now = time.monotonic()
        if isinstance(event, ev.RunStarted):
            self.tasks, self._title, self._titles = {}, event.run, dict(event.titles)
        elif isinstance(event, ev.TaskStarted):
            note = f"attempt {event.attempt}" if event.attempt > 1 else ""
            self.tasks[event.task] = _Line(RUNNING, now, note=note)
        elif isinstance(event, ev.TaskWaits):
            self.tasks[event.task] = _Line(RUNNING, now, note=f"waits: {event.why}")
        elif isinstance(event, ev.LogLine) and event.task in self.tasks:
            self.tasks[event.task].last = event.line
        elif isinstance(event, ev.TaskRetried) and event.task in self.tasks:
            self.tasks[event.task].note = f"again in {event.wait:g} s: {event.error}"
        elif isinstance(event, ev.TaskFinished):
            note = event.error + ("\n" + event.log if event.log else "")
            self.tasks[event.task] = _Line(event.state, now, event.seconds, note)
        elif isinstance(event, ev.Cancelling):
            self._title += "  stopping: exit tasks still run"

    def _begin(self) -> None:
        from rich.live import Live as RichLive

        self._live = RichLive(console=self.console, get_renderable=self.tree, refresh_per_second=8)
        self._live.start()

    def _end(self, event: ev.RunFinished) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        style = _STYLE.get(event.state, "")
        self.console.print(f"{event.state} in {event.seconds:.1f} s", style=style, highlight=False)

    def tree(self) -> Tree:
        """Return the tree as it is now."""
        from rich.text import Text
        from rich.tree import Tree

        with self._lock:
            tree = Tree(Text(self._title, style="bold"))
            branches: dict[str, Tree] = {}
            for task in self._visible():
                groups = [task[: end.start()] for end in re.finditer("/", task)]
                name = task.rsplit("/", 1)[-1]
                parent = tree
                for path in groups:
                    if is_branch(path):
                        continue
                    if path not in branches:
                        branches[path] = parent.add(self._label(path, path.rsplit("/", 1)[-1]))
                    parent = branches[path]
                if task not in branches:
                    branches[task] = parent.add(self._label(task, name))
            return tree

    def _visible(self) -> list[str]:
        """Return the tasks to draw, in the order in which they began; where there are too many, not the oldest done."""
        order = sorted(self.tasks, key=lambda task: self.tasks[task].since - self.tasks[task].seconds)
        order = [task for task in order if not is_branch(task) or self.tasks[task].state == SKIPPED]
        done = [task for task in order if self.tasks[task].state in (SUCCEEDED, CACHED, SKIPPED)]
        hidden = set(done[: max(0, len(order) - max(_FEWEST, self.console.height - 5))])
        return [task for task in order if task not in hidden]

    def _label(self, task: str, name: str) -> Any:
        from rich.text import Text

        line, name = self.tasks.get(task), self._titles.get(name, name)
        if line is None:
            return Text(name, style="dim")
        seconds = time.monotonic() - line.since if line.state == RUNNING else line.seconds
        label = Text.assemble(
            (f"{_MARK.get(line.state, '?')} ", _STYLE.get(line.state, "")), name,
            (f"  {seconds:.1f} s" if seconds >= 0.05 else "", "dim"),
        )  # fmt: skip
        if line.note:
            label.append(f"  {line.note}", style="red" if line.state == FAILED else "dim")
        elif line.state == RUNNING and line.last:
            label.append(f"  {line.last[:100]}", style="dim")
        return label
