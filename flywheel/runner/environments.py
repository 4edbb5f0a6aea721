"""Virtual environments for steps whose `packages_to_install` are not what is installed here."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import site
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from flywheel.runner import boot
from flywheel.runner.errors import EnvironmentFailed
from flywheel.runner.program import Program

_READY = "ready"


def venv_of(program: Program, root: Path) -> dict[str, Any] | None:
    """Return what `enter` needs to run a step in an environment of its own; None if it can run in this one.

    Args:
        program: The step's function and what it wants installed.
        root: The folder for runs and cache; environments are kept in `venvs` below it.
    """
    if not program.own_venv and all(is_satisfied(package) for package in program.packages):
        return None
    wanted = [sys.version, sys.prefix, *sorted(program.packages), *program.pip_options]
    key = hashlib.blake2b(json.dumps(wanted).encode(), digest_size=10).hexdigest()
    return {
        "path": str(root.absolute() / "venvs" / key),
        "packages": list(program.packages),
        "options": list(program.pip_options),
    }


@cache
def is_satisfied(requirement: str) -> bool:
    """Return whether a requirement, as pip takes it, is met by what is installed here."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(requirement)
        if wanted.marker and not wanted.marker.evaluate():
            return True
        return wanted.url is None and wanted.specifier.contains(version(wanted.name), prereleases=True)
    except (InvalidRequirement, PackageNotFoundError):
        return False


def make(venv: dict[str, Any]) -> Path:
    """Make an environment unless it is there, and return its Python; processes that want the same one wait.

    It sees the packages installed here, as kfp's own `use_venv` has it, with its own before them; one that is `alone`
    sees none but its own.

    Raises:
        EnvironmentFailed: With the last line of what pip said; all of it is in the log.
    """
    path = Path(venv["path"])
    python = path / "bin" / "python"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (path / _READY).exists():
            return python
        shutil.rmtree(path, ignore_errors=True)
        _run([sys.executable, "-m", "venv", "--without-pip", str(path)])
        if not venv.get("alone"):
            _show_parent(path)
        if venv["packages"]:
            _run([*_installer(python, bool(venv.get("alone"))), *venv["options"], *venv["packages"]])
        (path / _READY).touch()
    return python


def _installer(python: Path, alone: bool) -> list[str]:
    """Return the command that installs packages for `python`: uv's where it is at hand and nothing else is seen."""
    uv = shutil.which("uv") if alone else None
    if uv:
        return [uv, "pip", "install", "--quiet", "--python", str(python)]
    pip = _pip()
    if alone and pip == ["-m", "pip"]:
        return [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    return [str(python), *pip, "install", "--quiet"]


def _pip() -> list[str]:
    """Return how to call pip from inside a new environment: this one's, or the one that Python brings."""
    try:
        version("pip")
    except PackageNotFoundError:
        import ensurepip

        bundled = Path(ensurepip.__file__).parent / "_bundled"
        wheels = sorted(bundled.glob("pip-*.whl"))
        if wheels:
            return [f"{wheels[-1]}/pip"]
    return ["-m", "pip"]


def _show_parent(path: Path) -> None:
    """Let a new environment see what is installed here."""
    [packages] = path.glob("lib/python*/site-packages")
    lines = [f"import site; site.addsitedir({folder!r})" for folder in site.getsitepackages()]
    (packages / "_parent.pth").write_text("\n".join(lines) + "\n")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    sys.stdout.write(done.stdout)
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()] or ["no reason given"]
        raise EnvironmentFailed(
            f"an environment for the step's packages cannot be made: {lines[-1]}",
            "mend its packages_to_install, or install them here; the log has all that pip said.",
        )


def enter(venv: dict[str, Any], job: dict[str, Any]) -> None:
    """Become the step's process in its environment; this returns only by an error."""
    python = make(venv)
    file = Path(job["program"]) / f"{job['task'].replace('/', '.')}.json"
    file.write_text(json.dumps({key: value for key, value in job.items() if key not in ("env", "venv")}))
    sys.stdout.flush()
    os.execv(python, boot.command("flywheel.runner.child", str(file), python=str(python)))
