"""The folder that a step and the nodes of its TrainJob share: what to train on, what came of it, why it failed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flywheel import errors
from flywheel.errors import ClusterError, FlywheelError

_SPEC, _INPUTS, _FAILURE = "spec.json", "inputs", "failure.json"


class Shared:
    """The folder of one job on storage that all nodes see.

    Args:
        root: Where that storage is mounted.
        name: Name of the job.

    Raises:
        ClusterError: It is not mounted here.
    """

    def __init__(self, root: Path, name: str) -> None:
        if not os.path.ismount(root) and not root.is_dir():
            raise ClusterError(
                f"there is no storage at {str(root)!r}", "train.resources.volume has to be mounted into the step too."
            )
        self._root, self.folder = root, root / "flywheel" / name

    @property
    def model(self) -> Path:
        """Where the model appears when it is whole."""
        return self.folder / "model"

    @property
    def checkpoints(self) -> Path:
        """What training goes on from when its nodes were taken away."""
        return self.folder / "checkpoints"

    @property
    def spec(self) -> Path:
        """The file that tells a node what to do."""
        return self.folder / _SPEC

    def put(self, inputs: Mapping[str, Path], spec: Mapping[str, Any]) -> None:
        """Copy what is trained on to where the nodes see it, once, and write what they have to do.

        Args:
            inputs: Files and folders by name; what lies on the shared storage already is not copied.
            spec: The rest of what a node is told.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        places = {name: str(self._copied(name, path)) for name, path in inputs.items()}
        _write(self.spec, {**spec, **places, "model": str(self.model)})

    def fail(self, error: FlywheelError) -> None:
        """Remember why training failed: the step is tried again, and would only fail again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.folder / _INPUTS, ignore_errors=True)
        _write(self.folder / _FAILURE, {"type": type(error).__name__, "said": [error.message, error.remedy]})

    def failure(self) -> FlywheelError | None:
        """Return why training failed before; None when it did not."""
        try:
            told = json.loads((self.folder / _FAILURE).read_text())
        except FileNotFoundError:
            return None
        kind = getattr(errors, told["type"], FlywheelError)
        found = kind(*told["said"])
        assert isinstance(found, FlywheelError)
        return found

    def clear(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _copied(self, name: str, path: Path) -> Path:
        if path.resolve().is_relative_to(self._root.resolve()):
            return path
        target = self.folder / _INPUTS / name / path.name
        if not target.exists():
            partial = target.with_name(f".{path.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, partial)
            else:
                partial.unlink(missing_ok=True)
                shutil.copyfile(path, partial)
            partial.rename(target)
        return target


def read(spec: Path) -> dict[str, Any]:
    """Return what a node is told."""
    return dict(json.loads(spec.read_text()))


def _write(file: Path, value: Mapping[str, Any]) -> None:
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(json.dumps(value, indent=1))
    partial.replace(file)
