"""Put what a run needs beside the pipeline root: the archive of the user's code, named by its content."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flywheel.bucket import LIBRARIES, reach
from flywheel.errors import ClusterError, ConfigError

if TYPE_CHECKING:
    from flywheel.workspace import Workspace

_RELATIVE = ("duckdb", "parquet", "csv", "sqlite")


def check_for_a_cluster(workspace: Workspace) -> None:
    """Refuse a flywheel that only this machine could run.

    Raises:
        ConfigError: There is no pipeline root, or warehouse or ledger are files in the project folder.
    """
    root = workspace.project.kubeflow.pipeline_root
    if not root or "://" not in root:
        raise ConfigError(
            f"kubeflow.pipeline_root is {root!r}" if root else "kubeflow.pipeline_root is not set",
            "write where code and artifacts are put, as gs://bucket/path; in a profile, for one cluster.",
        )
    addresses = {
        "source.warehouse": workspace.project.source.warehouse,
        "ledger.tracking_uri": workspace.project.ledger.tracking_uri,
    }
    for key, url in addresses.items():
        scheme, separator, path = url.partition(":///")
        if separator and scheme in _RELATIVE and not path.startswith("/"):
            raise ConfigError(
                f"{key} is {url!r}, a file of this machine that no step on a cluster sees",
                "set it in a profile to what the cluster reaches, and give --profile.",
            )


def code_uri(workspace: Workspace) -> tuple[Path, str]:
    """Return the archive of a workspace as it is now, and the address where it is put; equal code, equal address."""
    archive = Path(workspace.pack())
    root = workspace.project.kubeflow.pipeline_root or ""
    return archive, f"{root.rstrip('/')}/code/{archive.name}"


def put(archive: Path, uri: str) -> bool:
    """Copy a file to an address unless it is there, whole or not at all; return whether it had to be.

    Raises:
        MissingExtra: The library for such addresses is not installed.
        ClusterError: The place cannot be written.
    """
    try:
        files, path = reach(uri)
        if files.exists(path) and files.size(path) == archive.stat().st_size:
            return False
        folder, _, name = path.rpartition("/")
        if urlsplit(uri).scheme in LIBRARIES:  # an object appears when it is complete
            files.put_file(str(archive), path)
        else:
            partial = f"{folder}/.{secrets.token_hex(4)}.{name}"
            files.makedirs(folder, exist_ok=True)
            files.put_file(str(archive), partial)
            files.mv(partial, path)
    except ValueError as error:
        raise ConfigError(f"kubeflow.pipeline_root cannot be used: {error}", "write it as gs://bucket/path.") from None
    except OSError as error:
        raise ClusterError(f"{uri} cannot be written: {error}", "see to your rights there, then try again.") from None
    return True
