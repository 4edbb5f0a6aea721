"""Compile a flywheel to the pipeline YAML that a Kubeflow cluster and `flywheel.runner` both run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.config import Project
from flywheel.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent


_NEXT = "\n---\n"  # between documents of YAML


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

    def made() -> BaseComponent:
        from flywheel.pipelines.continuous_training import continuous_training

        return continuous_training(project, query, serving)

    return _write(made, path)


def compile_monitoring(project: Project, path: Path, labels: str = "", serving: str = "") -> Path:
    """Write the compiled monitoring pipeline of `project` to `path` and return it; equal input gives equal bytes.

    Args:
        project: What flywheel.yaml declares.
        path: File to write.
        labels: Text of the SQL file that `monitor.labels` names, if it names one.
        serving: Text of the SQL file that gives logged requests, if it names one.

    Raises:
        MissingExtra: kfp is not installed.
        ConfigError: `path` is a folder.
    """

    def made() -> BaseComponent:
        from flywheel.pipelines.monitoring import monitoring

        return monitoring(project, labels, serving)

    return _write(made, path)


def compiled(project: Project, query: str, cache: Path, serving: str = "") -> Path:
    """Return a compiled pipeline of `project` from `cache`, compiled now if it is not there."""
    return _cached([_told(project), query, serving], cache, lambda path: compile_to(project, query, path, serving))


def compiled_monitoring(project: Project, cache: Path, labels: str = "", serving: str = "") -> Path:
    """Return a compiled monitoring pipeline of `project` from `cache`, compiled now if it is not there."""
    told = ["monitoring", _told(project), labels, serving]
    return _cached(told, cache, lambda path: compile_monitoring(project, path, labels, serving))


def compiled_ahead(project: Project, query: str, cache: Path) -> Path:
    """Return the compiled pipeline of what a backfill does ahead, from `cache`, compiled now if it is not there."""

    def made() -> BaseComponent:
        from flywheel.pipelines.continuous_training import ahead

        return ahead(project, query)

    return _cached(["ahead", _told(project), query], cache, lambda path: _write(made, path))


def compiled_trials(project: Project, query: str, cache: Path, models: Sequence[Mapping[str, Any]]) -> Path:
    """Return the compiled pipeline that trains and tries `models` for a backtest, from `cache` if it is there."""

    def made() -> BaseComponent:
        from flywheel.pipelines.trials import trials

        return trials(project, query, models)

    told = ["trials", _told(project), query, [dict(each) for each in models]]
    return _cached(told, cache, lambda path: _write(made, path))


def for_vertex(path: Path) -> Path:
    """Take Kubernetes' settings out of a compiled pipeline, since Vertex' client reads files of one document alone."""
    spec, _, platforms = path.read_text().partition(_NEXT)
    if platforms:
        partial = path.with_name(f".{os.getpid()}.{path.stem}.yaml")
        partial.write_text(spec + "\n")
        partial.replace(path)
    return path


def _write(made: Callable[[], BaseComponent], path: Path) -> Path:
    try:
        from kfp import compiler
    except ImportError as error:
        raise MissingExtra(
            f"compiling needs kfp, which is not installed ({error})", "pip install 'ai-flywheel[kubeflow]'"
        ) from None
    if path.is_dir():
        raise ConfigError(f"{str(path)!r} is a folder", "give the file to write, as pipeline.yaml.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}.{path.stem}.yaml")
    try:
        compiler.Compiler().compile(made(), str(partial))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _cached(told: list[Any], cache: Path, compiled: Callable[[Path], Path]) -> Path:
    identity = [*told, version("ai-flywheel"), version("kfp"), _sources()]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
    path = cache / f"{digest}.yaml"
    return path if path.exists() else compiled(path)


def _told(project: Project) -> dict[str, Any]:
    elsewhere = {"schedule": True, "trigger": True, "kubeflow": True, "monitor": {"schedule"}}  # no part of what runs
    return project.model_dump(mode="json", exclude=elsewhere)


def _sources() -> str:
    """Return a digest of the component and pipeline sources, which an editable install may change."""
    digest = hashlib.sha256()
    for package in ("flywheel.components", "flywheel.pipelines"):
        spec = find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            for file in sorted(Path(folder).glob("*.py")):
                digest.update(file.read_bytes())
    return digest.hexdigest()
