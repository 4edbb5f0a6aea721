"""Digests of what files contain, remembered as long as the files do not change."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from flywheel.runner.folder import write_atomically

Signature = list[list[str | int]]
"""For each file: its path in the tree, size, time of change in nanoseconds, and inode."""


def digest_of(path: Path) -> str:
    """Return the digest of a file, or of a folder with all that is in it; empty if there is nothing.

    Names, contents and empty folders count; owners, times and permissions do not.
    """
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, _hash).hexdigest()
    if not path.is_dir():
        return ""
    whole = _hash()
    for name, file_path in _walk(path):
        content = digest_of(file_path) if file_path.is_file() else ""
        whole.update(f"{len(name)}:{name}:{content}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()


def signature_of(path: Path) -> Signature:
    """Return what changes when a file, or anything in a folder, is written to."""
    found: Signature = []
    for name, file_path in [("", path)] if path.is_file() else _walk(path):
        status = file_path.stat()
        found.append([name, status.st_size if file_path.is_file() else 0, status.st_mtime_ns, status.st_ino])
    return found


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield files and empty folders, by name; links are followed, except to folders already above."""
    for base, folders, files in os.walk(folder, followlinks=False):
        folders.sort()
        here = Path(base)
        for name in sorted(files):
            yield os.path.relpath(here / name, folder), here / name
        if not folders and not files and here != folder:
            yield os.path.relpath(here, folder) + "/", here


def _hash() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=20)


class Digests:
    """Remembers digests by path, in memory and in a folder, as long as the signature is the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, tuple[Signature, str]] = {}

    def get(self, path: Path) -> str:
        """Return the digest of what is at a path; empty if there is nothing."""
        if not path.exists():
            return ""
        signature = signature_of(path)
        known = self._known.get(str(path)) or self._load(path)
        if known and known[0] == signature:
            return known[1]
        digest = digest_of(path)
        self.put(path, signature, digest)
        return digest

    def put(self, path: Path, signature: Signature, digest: str) -> None:
        """Remember a digest that was made while the signature was this."""
        self._known[str(path)] = (signature, digest)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._file(path), json.dumps([str(path), signature, digest]))

    def _load(self, path: Path) -> tuple[Signature, str] | None:
        try:
            known, signature, digest = json.loads(self._file(path).read_text())
        except (OSError, ValueError):
            return None
        return (signature, digest) if known == str(path) else None

    def _file(self, path: Path) -> Path:
        return (
            self.folder
            / f"{hashlib.blake2b(str(path).encode(errors='surrogateescape'), digest_size=16).hexdigest()}.json"
        )
