"""What an earlier run has finished and a new one need not do again: for resuming, and for reruns from a point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flywheel.runner.cache import link_tree, move_outputs
from flywheel.runner.errors import ArgumentError
from flywheel.runner.folder import RunFolder
from flywheel.runner.nodes import Node
from flywheel.runner.result import DONE, Outputs
from flywheel.runner.suggest import nearest


@dataclass
class Earlier:
    """The finished tasks of an earlier run."""

    source: RunFolder
    records: Mapping[str, Mapping[str, Any]]
    redo: str = ""
    """A task, or a group of tasks, to run again by all means."""
    only: bool = False
    """Whether everything else is taken as it was, also what depends on `redo`."""
    fresh: set[str] = field(default_factory=set)
    """Tasks that this run has begun itself; what depends on them has to run again."""

    def began(self, node: Node) -> None:
        """Note that a task is run, not taken over."""
        self.fresh.add(node.path)
        owner = node.scope.owner
        while owner is not None:
            self.fresh.add(owner.path)
            owner = owner.scope.owner

    def refuses(self, node: Node) -> bool:
        """Whether a task must be left out: only another one was asked for, and this one has no result."""
        return self.only and not self.is_asked_for(node.path) and self._record(node) is None

    def take(self, node: Node, folder: RunFolder) -> Outputs | None:
        """Return the outputs that a task has had, its files in the folder of this run; None if it has to run."""
        record = self._record(node)
        if record is None or self.is_asked_for(node.path) or (not self.only and self._is_stale(node)):
            return None
        outputs = Outputs.from_dict(record["outputs"])
        old, new = self.source.artifacts(node.path), folder.artifacts(node.path)
        if any(each.path.is_relative_to(old) and not each.path.exists() for each in _artifacts(outputs)):
            return None  # it was removed; or never written, which is rare
        if old == new:
            return outputs
        if old.exists():
            link_tree(old, folder.prepare(node.path))
        return move_outputs(outputs, old, new)

    def is_asked_for(self, path: str) -> bool:
        """Whether a task is the one to run again, or inside the group that is."""
        return bool(self.redo) and (path == self.redo or path.startswith((f"{self.redo}/", f"{self.redo}.")))

    def _record(self, node: Node) -> Mapping[str, Any] | None:
        record = self.records.get(node.path)
        return record if record and record["state"] in DONE and not record["group"] else None

    def _is_stale(self, node: Node) -> bool:
        if node.task.is_exit:
            return bool(self.fresh)
        if any(node.scope.nodes[name].path in self.fresh for name in node.task.after):
            return True
        owner = node.scope.owner
        return owner is not None and self._is_stale(owner)


def find_task(records: Mapping[str, Any], name: str) -> str:
    """Return the full name of the task, or group, that a name or the last part of one means.

    Raises:
        ArgumentError: None has it, or several have.
    """
    if name in records:
        return name
    found = [path for path in records if path.endswith(f"/{name}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise ArgumentError(f"{name!r} names {len(found)} tasks", f"give one of {', '.join(sorted(found))}.")
    last_parts = {path.rsplit("/", 1)[-1] for path in records}
    raise ArgumentError(f"that run has no task {name!r}{nearest(name, last_parts)}", f"it has {', '.join(records)}.")


def _artifacts(outputs: Outputs) -> list[Any]:
    return [artifact for many in outputs.artifacts.values() for artifact in many]


def sweep(folder: RunFolder, nodes: Mapping[str, Node]) -> None:
    """Remove from a run what tasks that did not end well have left, in this process or one that was killed."""
    done = {path for path, node in nodes.items() if node.state in DONE and not node.is_group}
    for path, node in nodes.items():
        if path not in done and not node.is_group and Path(folder.artifacts(path)).exists():
            folder.discard(path)
