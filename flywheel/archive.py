"""The user's code as a content-addressed archive: what a step imports is what was in the folder when the run began."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from flywheel.errors import ConfigError

MAXIMUM_BYTES = 64 * 2**20
MADE = ".flywheel-made"
"""File by which a folder says that what is in it was made of the code, and is none of it."""
UNPACKED = "flywheel-code-"
"""How the name of a folder begins that an archive is unpacked to."""
_SKIPPED = {"__pycache__", "node_modules", "venv"}
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(project: Path, into: Path, data: Collection[Path] = ()) -> Path:
    """Write the files of `project` to `into/<digest>.zip` and return it; equal files give the same archive.

    Hidden files and folders, caches, virtual environments and folders with a file `.flywheel-made` stay out.

    Args:
        project: Folder of the code.
        into: Folder of archives.
        data: Files and folders in `project` that are no code either.

    Raises:
        ConfigError: The files are larger than 64 MiB together: data does not belong beside the code.
    """
    files = sorted(_files(project, data))
    size = sum(file.stat().st_size for file in files)
    if size > MAXIMUM_BYTES:
        largest = max(files, key=lambda file: file.stat().st_size)
        raise ConfigError(
            f"{project} holds {size >> 20} MiB, an archive of code takes {MAXIMUM_BYTES >> 20} MiB at most",
            f"move data such as {largest.relative_to(project)} elsewhere, or under a hidden folder.",
        )
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(project).as_posix()}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    archive = into / f"{digest.hexdigest()[:32]}.zip"
    if not archive.exists():
        into.mkdir(parents=True, exist_ok=True)
        partial = into / f".{archive.name}.{os.getpid()}"
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as target:
            for file in files:
                target.writestr(zipfile.ZipInfo(file.relative_to(project).as_posix(), _EPOCH), file.read_bytes())
        partial.rename(archive)
    return archive


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """Give a folder with the archive's files that is importable while the block runs."""
    with tempfile.TemporaryDirectory(prefix=UNPACKED) as name:
        with zipfile.ZipFile(archive) as source:
            source.extractall(name)
        sys.path.insert(0, name)
        try:
            yield Path(name)
        finally:
            sys.path.remove(name)


def _files(project: Path, data: Collection[Path]) -> Iterator[Path]:
    for folder, folders, names in os.walk(project):
        if MADE in names:
            folders.clear()
            continue
        kept = {name for name in (*folders, *names) if not name.startswith(".") and Path(folder, name) not in data}
        folders[:] = [name for name in folders if name in kept and name not in _SKIPPED]
        yield from (Path(folder, name) for name in names if name in kept)
