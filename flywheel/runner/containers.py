"""Steps that are no Python function: their command in their image, by a container engine of this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from flywheel.runner.errors import EngineError
from flywheel.runner.folder import RunFolder
from flywheel.runner.machine import Cost
from flywheel.runner.placeholders import command
from flywheel.runner.spec import Container

_ENGINES = ("docker", "podman")
_PATIENCE = 10


@cache
def find_engine() -> str:
    """Return the command of a container engine that answers; empty if there is none."""
    for name in _ENGINES:
        path = shutil.which(name)
        if path and _answers(path):
            return path
    return ""


def _answers(engine: str) -> bool:
    try:
        asked = [engine, "info", "--format", "{{json .}}"]
        done = subprocess.run(asked, capture_output=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and b"Cannot connect" not in done.stderr


def container_job(
    task: str,
    container: Container,
    given: Mapping[str, Any],
    names: Mapping[str, str],
    folder: RunFolder,
    environment: Mapping[str, str],
    cost: Cost,
) -> dict[str, Any]:
    """Return the job that runs a command in a container; it sees the run's folder and its input artifacts, no more.

    Raises:
        EngineError: No engine answers.
    """
    engine = find_engine()
    if not engine:
        raise EngineError("no container engine answers", "start Docker.")
    name = "flywheel-" + hashlib.blake2b(f"{folder.path}/{task}".encode(), digest_size=10).hexdigest()
    run = [engine, "run", "--rm", "--name", name, "--volume", f"{folder.path}:{folder.path}"]
    for path in sorted(_inputs_outside(given, folder.path)):
        run += ["--volume", f"{path}:{path}:ro"]
    for key in container.env:
        run += ["--env", key]  # its value comes from the environment: a command line is seen by everyone
    if cost.gpus:
        run += ["--gpus", f'"device={",".join(cost.gpus)}"']
    words = command((*container.command, *container.args), given, names)
    if container.command:
        run += ["--entrypoint", words[0]]
        words = words[1:]
    return {
        "task": task,
        "exec": [*run, container.image, *words],
        "cleanup": [engine, "rm", "--force", name],
        "program": str(folder.path),
        "log": str(folder.log(task)),
        "discard": str(folder.artifacts(task)),
        "cwd": os.getcwd(),
        "env": {**environment, **container.env},
        "cores": cost.cores,
    }


def _inputs_outside(given: Mapping[str, Any], folder: Path) -> set[str]:
    found = set()
    for many in given["inputs"]["artifacts"].values():
        for artifact in many["artifacts"]:
            path = Path(artifact["uri"])
            if path.is_absolute() and path.exists() and not path.is_relative_to(folder):
                found.add(str(path))
    return found
