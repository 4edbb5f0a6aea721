"""Addresses of buckets and folders: what reads and writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flywheel.errors import MissingExtra

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

LIBRARIES = {
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "s3": "s3fs",
    "s3a": "s3fs",
    "minio": "s3fs",
    "abfs": "adlfs",
    "az": "adlfs",
}
"""What object stores need beside fsspec, by scheme."""


def reach(url: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of an address, and the path in it.

    Args:
        url: A path, or as gs://bucket/path; minio:// is Kubeflow's word for an S3 of one's own.

    Raises:
        MissingExtra: The library for such addresses is not installed.
        ValueError: There are no such addresses.
    """
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(url.replace("minio://", "s3://", 1))
    except ImportError as error:
        scheme = urlsplit(url).scheme
        raise MissingExtra(
            f"the library for {url} is not installed ({error})",
            f"pip install {LIBRARIES.get(scheme, scheme)}, here and in the images of the steps.",
        ) from None
    return files, path
