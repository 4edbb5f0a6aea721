"""What folders declare, and what differs from that on a cluster."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flywheel.config import FILE, Schedule
from flywheel.errors import ConfigError
from flywheel.kubeflow.recurring import Recurring
from flywheel.kubeflow.versions import Package, name_of
from flywheel.workspace import Workspace

_FORMAT = 1
"""Part of every digest: a newer one makes all schedules anew."""
_NOTHING = "flywheel.yaml declares no `schedule`"


@dataclass(frozen=True)
class Change:
    """What is, or would be, done for one flywheel.

    Attributes:
        kind: `create`, `replace`, `resume`, `pause`, `delete`; `none` when there is nothing to do.
        name: Of the flywheel.
        profile: With which it is declared; empty without.
        details: What differs, a line each.
    """

    kind: str
    name: str
    profile: str
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}{f' ({self.profile})' if self.profile else ''}"


@dataclass(frozen=True)
class Declared:
    """What one folder declares.

    Attributes:
        workspace: The folder.
        profile: The profile that was laid over it; empty without.
        monitoring: Whether it is when to look, `monitor.schedule`, instead of when to train.
    """

    workspace: Workspace
    profile: str
    monitoring: bool = False

    @cached_property
    def package(self) -> Package | None:
        """What a cluster is given; None when there is to be no schedule."""
        return Package.of(self.workspace, monitoring=self.monitoring) if self.when else None

    @property
    def owner(self) -> tuple[str, str]:
        """What its recurring run is known by."""
        return name_of(self.workspace.project.name, monitoring=self.monitoring), self.profile

    @property
    def schedule(self) -> Schedule:
        """When it runs."""
        assert self.when is not None
        return self.when

    @property
    def when(self) -> Schedule | None:
        """When it runs; None when there is to be no schedule."""
        project = self.workspace.project
        return project.monitor.schedule if self.monitoring else project.schedule

    def parameters(self, since: str) -> dict[str, Any]:
        """Return what its runs are given; `since` is when it counts from."""
        assert self.package is not None
        told = {} if self.monitoring else {"schedule": self.schedule.handed() | {"since": since}}
        return self.package.parameters("") | told

    def about(self) -> dict[str, Any]:
        """Return all that its recurring run is made from; whether it is paused can be changed without a new one."""
        assert self.package is not None
        settings, schedule = self.workspace.project.kubeflow, self.schedule
        said = schedule.handed() | {"concurrency": schedule.concurrency}
        said |= self.package.about
        given = settings.model_dump(include={"experiment", "pipeline_root", "service_account", "time_zone"})
        return said | {f"kubeflow.{key}": value for key, value in given.items() if value is not None}

    def digest(self) -> str:
        """Return a digest of that."""
        return hashlib.sha256(json.dumps([_FORMAT, self.about()], sort_keys=True).encode()).hexdigest()[:20]


def flywheels(folder: Path) -> list[Path]:
    """Return the folders with a flywheel.yaml: `folder` itself, else those within, hidden ones left out.

    Raises:
        ConfigError: There is none.
    """
    if (folder / FILE).exists():
        return [folder]
    found = sorted(
        file.parent
        for file in folder.rglob(FILE)
        if not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
    if not found:
        raise ConfigError(f"there is no {FILE} in {str(folder)!r}, nor below it", "give the folder of a flywheel.")
    return found


def kept(
    each: Declared, candidates: list[Recurring], mine: list[Recurring]
) -> tuple[Recurring | None, list[Recurring]]:
    """Return the recurring run that is as declared, and those that are to go.

    Only the newest will do: an older one does not know what has been seen to since, and would see to it again.
    """
    if each.package is None:
        return None, mine
    newest = mine[-1] if mine else None
    keep = newest if newest in candidates and newest and newest.digest == each.digest() else None
    return keep, [recurring for recurring in mine if recurring is not keep]


def change_of(each: Declared, mine: list[Recurring], *, refresh: bool) -> Change:
    """Return what is to be done, in words."""
    if each.package is None:
        return Change("delete", *each.owner) if mine else Change("none", *each.owner, (_NOTHING,))
    about = each.about()
    if not mine:
        details = tuple(f"{key}: {value}" for key, value in about.items())
        return Change("create", *each.owner, details + (("paused: true",) if each.schedule.paused else ()))
    keep, rest = kept(each, mine, mine)
    if keep is None or refresh:
        known = mine[-1].about
        keys = dict.fromkeys([*about, *known])
        details = tuple(
            f"{key}: {known.get(key)} → {about.get(key)}" for key in keys if known.get(key) != about.get(key)
        )
        return Change("replace", *each.owner, details or ("made anew",))
    if rest:
        return Change("replace", *each.owner, ("an earlier replacement was not finished",))
    if keep.enabled == each.schedule.paused:
        return Change("pause" if each.schedule.paused else "resume", *each.owner)
    return Change("none", *each.owner)
