"""Whether the folders and buckets that a flywheel writes to can be written and read."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from flywheel.bucket import reach
from flywheel.config import TFServing, Triton
from flywheel.doctor.finding import Finding
from flywheel.errors import ConfigError, MissingExtra
from flywheel.workspace import Workspace


def check(workspace: Workspace) -> Iterator[Finding]:
    """Yield one finding a place: a small file is written, read and removed again."""
    for key, url in places(workspace).items():
        try:
            yield _try(key, url)
        except ConfigError as error:
            yield Finding("storage", "fail", error.message, error.remedy)


def places(workspace: Workspace) -> dict[str, str]:
    """Return the places, by the key of flywheel.yaml that names them."""
    project = workspace.project
    named: dict[str, str | None] = {"the flywheel's state": str(workspace.state)}
    named["train.checkpoint.folder"] = project.train.checkpoint.folder
    named["source.bigquery.export"] = project.source.bigquery.export
    named["kubeflow.pipeline_root"] = project.kubeflow.pipeline_root
    if isinstance(project.deploy, TFServing | Triton):
        named["deploy.folder"] = project.deploy.within(workspace.folder).folder
    absolute = {key: url if "://" in url else str(workspace.folder / url) for key, url in named.items() if url}
    inside = f"{workspace.state}/"
    return {key: url for key, url in absolute.items() if not url.startswith(inside)}


def _try(key: str, url: str) -> Finding:
    try:
        files, path = reach(url)
    except MissingExtra as error:
        raise ConfigError(f"{key}: {error.message}", error.remedy) from None
    except ValueError as error:
        raise ConfigError(f"{key} is {url!r}: {error}", "write it as gs://bucket/path, s3://bucket/path, …") from None
    made = "" if "://" in url else _first_made(files, path)
    probe, text = f"{path.rstrip('/')}/.flywheel-doctor-{uuid.uuid4().hex}", uuid.uuid4().bytes
    try:
        files.makedirs(path, exist_ok=True)
        files.pipe_file(probe, text)
        read = files.cat_file(probe)
        files.rm_file(probe)
        if made:
            files.rm(made, recursive=True)
    except Exception as error:  # each bucket's library has errors of its own
        raise ConfigError(
            f"{key} is {url!r}, which cannot be written and read: {type(error).__name__}: {error}",
            "make it, or ask for the rights to create, read and delete objects there.",
        ) from None
    if read != text:
        raise ConfigError(f"{key} is {url!r}, which gives back other bytes than were written", "use another place.")
    return Finding("storage", "ok", f"{key}: {url} is written and read")


def _first_made(files: object, path: str) -> str:
    """Return the first folder above a local path that is not there yet; empty when all are."""
    from pathlib import Path

    missing = [each for each in (Path(path), *Path(path).parents) if not each.exists()]
    return str(missing[-1]) if missing else ""
