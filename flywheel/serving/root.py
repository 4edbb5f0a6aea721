"""Serving folders side by side: which models there are to serve, and what is logged of their requests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flywheel.config import RequestLog
from flywheel.errors import ServingError
from flywheel.serving.folder import Deployment, ServingFolder


@dataclass(frozen=True)
class Logged:
    """Where the requests of a model are logged, and which.

    Attributes:
        folder: Where to.
        settings: `deploy.log` of its flywheel.yaml.
    """

    folder: Path
    settings: RequestLog


@dataclass(frozen=True)
class ServingRoot:
    """A folder that `deploy` writes to: below it a serving folder a model.

    Attributes:
        path: The folder.
        logs: What is logged, by the model's name; of others nothing is.
    """

    path: Path
    logs: Mapping[str, Logged] = field(default_factory=dict)

    def in_service(self) -> dict[str, Deployment]:
        """Return what is in service here by the model's name."""
        found = {}
        for folder in sorted(self.path.iterdir()) if self.path.is_dir() else ():
            deployment = ServingFolder(folder).current() if folder.is_dir() else None
            if deployment:
                found[deployment.name] = deployment
        return found

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        logs = {
            name: {"folder": str(log.folder), "settings": log.settings.model_dump(mode="json")}
            for name, log in self.logs.items()
        }
        return {"path": str(self.path), "logs": logs}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ServingRoot:
        """Return what `to_json` gave."""
        logs = {
            name: Logged(Path(log["folder"]), RequestLog.model_validate_json(json.dumps(log["settings"])))
            for name, log in values["logs"].items()
        }
        return cls(Path(values["path"]), logs)


@dataclass(frozen=True)
class Roots:
    """All that one process serves."""

    roots: tuple[ServingRoot, ...]

    def in_service(self) -> dict[str, Deployment]:
        """Return what is in service by the model's name.

        Raises:
            ServingError: Two folders hold a model of one name.
        """
        found: dict[str, Deployment] = {}
        for root in self.roots:
            here = root.in_service()
            if twice := sorted(set(here) & set(found)):
                raise ServingError(
                    f"two of the folders hold a model called {twice[0]!r}", "serve one of them by another process."
                )
            found |= here
        return found

    def require(self) -> dict[str, Deployment]:
        """Return what is in service, of which there has to be something.

        Raises:
            ServingError: Nothing is deployed yet, or two folders hold a model of one name.
            ArtifactError: A model is damaged.
        """
        found = self.in_service()
        if not found:
            where = ", ".join(repr(str(root.path)) for root in self.roots)
            raise ServingError(
                f"nothing is deployed in {where} yet",
                "run `flywheel run` until a model is promoted; it is deployed then.",
            )
        for name in found:
            self.folder(name).model()
        return found

    def folder(self, name: str) -> ServingFolder:
        """Return the serving folder of a model that is in service, or was."""
        root = next((root for root in self.roots if (root.path / name).is_dir()), self.roots[0])
        return ServingFolder(root.path / name)

    def log(self, name: str) -> Logged | None:
        """Return what is logged of a model's requests."""
        return next((root.logs[name] for root in self.roots if name in root.logs), None)


def distinct(roots: Iterable[ServingRoot]) -> Roots:
    """Return `roots`, each once; of a folder that is named twice the logs are laid together."""
    merged: dict[Path, ServingRoot] = {}
    for root in roots:
        path = root.path.resolve()
        logs = {**merged[path].logs, **root.logs} if path in merged else root.logs
        merged[path] = ServingRoot(path, logs)
    return Roots(tuple(merged.values()))
