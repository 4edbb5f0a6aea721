"""Compile a flywheel to the pipeline YAML that a Kubeflow cluster and `flywheel.runner` both run."""

from __future__ import annotations

import hashlib
import json
import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from flywheel.config import Project
from flywheel.errors import ConfigError, MissingExtra


def compile_to(project: Project, query: str, path: Path, serving: str = "") -> Path:
    """Write the compiled pipeline of `project` to `path` and return it; equal input gives equal bytes.

    Args:
        project: What flywheel.yaml declares.
        query: Text of the SQL file that it names.
        path: File to write.
        serving: Text of the SQL file that gives logged requests, if it names one.

    Raises:
        MissingExtra: kfp is not installed.
        ConfigError: `path` is a folder.
    """
    try:
        from kfp import compiler
    except ImportError as error:
        raise MissingExtra(
            f"compiling needs kfp, which is not installed ({error})", "pip install 'ai-flywheel[kubeflow]'"
        ) from None
    from flywheel.pipelines.continuous_training import continuous_training

    if path.is_dir():
        raise ConfigError(f"{str(path)!r} is a folder", "give the file to write, as pipeline.yaml.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}.{path.stem}.yaml")
    try:
        compiler.Compiler().compile(continuous_training(project, query, serving), str(partial))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def compiled(project: Project, query: str, cache: Path, serving: str = "") -> Path:
    """Return a compiled pipeline of `project` from `cache`, compiled now if it is not there."""
    declared = project.model_dump(mode="json", exclude={"schedule", "kubeflow"})  # no part of what runs
    identity = [declared, query, serving, version("ai-flywheel"), version("kfp"), _sources()]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
    path = cache / f"{digest}.yaml"
    return path if path.exists() else compile_to(project, query, path, serving)


def _sources() -> str:
    """Return a digest of the component and pipeline sources, which an editable install may change."""
    digest = hashlib.sha256()
    for package in ("flywheel.components", "flywheel.pipelines"):
        spec = find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            for file in sorted(Path(folder).glob("*.py")):
                digest.update(file.read_bytes())
    return digest.hexdigest()
