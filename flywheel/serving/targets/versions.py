"""Folders that a server polls for versions: `<folder>/<number>/`, of which it serves the highest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flywheel.artifacts import Check
from flywheel.serving.folder import DEPLOYMENT, Deployment, ServingFolder, downloaded
from flywheel.serving.targets import Order, Placed

EXPORT, README = "export.json", "README.md"
CHECKS = "checks"


@dataclass(frozen=True)
class Built:
    """What an export says of itself.

    Attributes:
        facts: What it is, for report and ledger, JSON values only.
        readme: How it is asked, for whoever finds the folder.
        checks: What was judged of it: with one that failed it is not put in service.
    """

    facts: Mapping[str, Any]
    readme: str
    checks: tuple[Check, ...] = ()


class Refused(Exception):
    """What was built does not keep a bar.

    Args:
        built: What it says of itself.
    """

    def __init__(self, built: Built) -> None:
        super().__init__(built)
        self.built = built


@dataclass(frozen=True)
class VersionFolder(ServingFolder):
    """Where the versions of one model stand that a server polls.

    A version is built beside the others under a name that servers overlook, and gets its number by one rename. Going
    back is taking the higher numbers away: so the folder alone says what is served, and the server needs no
    configuration.

    Attributes:
        build: Writes the export of a packaged model to a folder.
        keep: How many versions stay.
    """

    build: Callable[[Path, Path], Built]
    keep: int = 2

    def put(self, order: Order) -> Placed:
        """Build the version if it is not there, and make it the highest if it keeps the bars."""
        before = self.current()
        try:
            after = self.deploy(order.champion, order.download, order.newest)
        except Refused as refused:
            return Placed(str(self.path), False, refused.built.checks, refused.built.facts)
        facts = json.loads((self.path / after.version / EXPORT).read_text())
        checks = tuple(Check(**each) for each in facts.pop(CHECKS, ()))
        return Placed(str(self.path), before != after, checks, facts)

    def current(self) -> Deployment | None:
        """Return the version of the highest number, if there is one."""
        numbers = self._numbers()
        return self._deployment(self.path / str(numbers[-1])) if numbers else None

    def _fetch(self, wanted: Deployment, download: Callable[[Path], Path]) -> None:
        for left in (*self.path.glob(".partial-*"), *self.path.glob(".gone-*"), *self.path.glob(".built-*")):
            shutil.rmtree(left)  # by a process that was killed: we hold the lock
        if self._deployment(self.path / wanted.version) == wanted:
            return
        partial, built = self.path / f".partial-{wanted.version}", self.path / f".built-{wanted.version}"
        try:
            partial.mkdir()
            model = downloaded(wanted, download, partial)
            export = partial / "export"
            export.mkdir()
            made = self.build(model.path, export)
            if any(check.result == "fail" for check in made.checks):
                raise Refused(made)
            (export / README).write_text(made.readme)
            judged = {CHECKS: [asdict(check) for check in made.checks]} if made.checks else {}
            (export / EXPORT).write_text(json.dumps({**made.facts, **judged}, indent=1))
            (export / DEPLOYMENT).write_text(json.dumps(asdict(wanted), indent=1))
            export.rename(built)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _switch(self, version: str) -> None:
        built, target = self.path / f".built-{version}", self.path / version
        if built.exists():
            self._remove(version)  # another model of that number
            built.rename(target)
        for number in self._numbers():
            if number > int(version):
                self._remove(str(number))

    def _prune(self, kept: set[str]) -> None:
        for number in self._numbers()[: -self.keep]:
            self._remove(str(number))

    def _remove(self, version: str) -> None:
        """Take a version away at once for whoever looks, its files then."""
        folder, gone = self.path / version, self.path / f".gone-{version}"
        if folder.exists():
            folder.rename(gone)
            shutil.rmtree(gone)

    def _numbers(self) -> list[int]:
        """Return the numbers of the versions, ascending."""
        if not self.path.is_dir():
            return []
        return sorted(int(each.name) for each in self.path.iterdir() if each.name.isdigit() and each.is_dir())

    @staticmethod
    def _deployment(folder: Path) -> Deployment | None:
        try:
            return Deployment(**json.loads((folder / DEPLOYMENT).read_text()))
        except FileNotFoundError:
            return None
