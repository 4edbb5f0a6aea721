"""Results of earlier steps, by what went into them.

    cache/entries/<key>/entry.json   outputs, sizes; its time of change is when the entry was last used
                        files/       what the step left in its folder, as hard links: no copy is made
    cache/making/<key>               held by the process that is making a result just now
    cache/digests/                   digests of artifacts, by path
    cache/size                       bytes of all entries, and when it was last pruned

An entry comes into being by a rename, and goes by one: processes share the cache without locks. A step that two of them
need at the same time is run by the first; the other waits for the result, or for the first to fail or die.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from flywheel.runner.code import Code
from flywheel.runner.digest import Digests, signature_of
from flywheel.runner.folder import room
from flywheel.runner.nodes import Node
from flywheel.runner.program import program_of
from flywheel.runner.result import Artifact, Outputs
from flywheel.runner.spec import Container
from flywheel.standby import stands

LIMIT = 20 * 2**30
"""Bytes that the cache may take, unless told otherwise."""
_PRUNED_EVERY = 3600.0
_FORMAT = 1
_UNUSED = {"executor_output.json"}


@dataclass(frozen=True)
class _Size:
    """How many bytes the cache has, as far as is noted, and when it was last pruned, in seconds since 1970."""

    size: int
    at: float

    @classmethod
    def read(cls, text: str) -> _Size:
        try:
            size, at = json.loads(text)
            return cls(int(size), float(at))
        except (ValueError, TypeError):
            return cls(0, 0.0)


@dataclass(frozen=True)
class Entry:
    """A result in the cache."""

    key: str
    task: str
    """The task that made it."""
    size: int
    """Bytes of its files."""
    used: float
    """When it was last made use of, in seconds since 1970."""
    path: Path


class Claim:
    """The right to make a result; it ends with the process at the latest.

    Args:
        path: The file that is held.
        file: It, open and locked.
    """

    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path, self._file = path, file

    def release(self) -> None:
        """Let others make it."""
        self._path.unlink(missing_ok=True)
        self._file.close()


class Cache:
    """The cache under a root."""

    def __init__(self, root: Path) -> None:
        self.folder = root.absolute() / "cache"
        self.entries = self.folder / "entries"
        self.digests = Digests(self.folder / "digests")
        self._code, self._added = Code(), 0

    def code(self, source: str) -> str:
        """Return what stands for the code that a source leads to."""
        text = json.dumps(self._code.fingerprint(source))
        return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()

    def key(self, node: Node) -> str:
        """Return the key of a step that is about to run: everything that its result may depend on."""
        container = node.component.body
        assert isinstance(container, Container)
        program = program_of(container)
        parts = {
            "format": _FORMAT,
            "image": container.image,
            "command": [*container.command, *container.args],
            "env": dict(container.env),
            "code": self._code.fingerprint(program.source) if program else {},
            "cache_key": node.task.cache_key,
            "parameters": dict(node.inputs.parameters),
            "artifacts": {name: [*map(self._identity, many)] for name, many in node.inputs.artifacts.items()},
            "outputs": [sorted(node.component.out_parameters), sorted(node.component.out_artifacts)],
        }
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()

    def _identity(self, artifact: Artifact) -> list[Any]:
        content = self.digests.get(artifact.path) or artifact.uri
        return [artifact.title, content, dict(artifact.metadata)]

    def __contains__(self, key: str) -> bool:
        """Whether there is a result under a key, as far as can be said without looking at its files."""
        return (self.entries / key / "entry.json").exists()

    def claim(self, key: str) -> Claim | None:
        """Return the right to make the result under a key; None while another run makes it."""
        path = self.folder / "making" / key
        while True:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                return None
            if stands(path, os.fstat(file.fileno()).st_ino):
                return Claim(path, file)
            file.close()  # it was let go between our opening and our locking

    def get(self, key: str, folder: Path) -> Outputs | None:
        """Return the outputs under a key, their files in `folder`; None if there are none, or they were changed.

        Args:
            key: What the step's result depends on.
            folder: The empty folder of the task.
        """
        entry = self.entries / key
        try:
            told = json.loads((entry / "entry.json").read_text())
            if signature_of(entry / "files") != told["signature"]:
                self.remove(key)
                return None
            link_tree(entry / "files", folder)
            os.utime(entry / "entry.json")
            outputs = Outputs.from_dict(told["outputs"])
            return self._moved(outputs, Path(told["folder"]), folder, told["digests"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # not there, evicted a moment ago, or written by another version

    def _moved(self, outputs: Outputs, old: Path, new: Path, digests: dict[str, str]) -> Outputs | None:
        moved = move_outputs(outputs, old, new)
        for many in moved.artifacts.values():
            for artifact in many:
                known = digests.get(artifact.name)
                if artifact.path.is_relative_to(new):
                    if known and artifact.path.exists():
                        self.digests.put(artifact.path, signature_of(artifact.path), known)
                elif known is not None and known != self.digests.get(artifact.path):
                    return None  # it lies elsewhere, and is not what it was
        return moved

    def put(self, key: str, task: str, outputs: Outputs, folder: Path) -> None:
        """Keep the outputs of a step; the cache is only a help, so no failure here is one of the run.

        Args:
            key: What they depend on.
            task: The task that made them.
            outputs: What it gave.
            folder: Where its files are.
        """
        final, temporary = self.entries / key, self.entries / f".{key}.{secrets.token_hex(4)}"
        try:
            with room(self.folder):
                temporary.mkdir(parents=True)
                link_tree(folder, temporary / "files")
                signature = signature_of(temporary / "files")
                digests = {
                    artifact.name: self.digests.get(artifact.path)
                    for many in outputs.artifacts.values()
                    for artifact in many
                    if "://" not in artifact.uri
                }
                told = {
                    "task": task, "outputs": outputs.to_dict(), "folder": str(folder), "signature": signature,
                    "size": sum(int(each[1]) for each in signature), "digests": digests,
                }  # fmt: skip
                (temporary / "entry.json").write_text(json.dumps(told))
                temporary.rename(final)
                self._added += sum(int(each[1]) for each in signature)
        except (OSError, TypeError, ValueError):
            shutil.rmtree(temporary, ignore_errors=True)  # another run was first, or the disk is full

    def find(self) -> list[Entry]:
        """Return what is in the cache, least recently used first."""
        return sorted(self._read(), key=lambda entry: entry.used)

    def _read(self) -> Iterator[Entry]:
        for path in self.entries.glob("[!.]*/entry.json"):
            try:
                told = json.loads(path.read_text())
                yield Entry(path.parent.name, told["task"], told["size"], path.stat().st_mtime, path.parent)
            except (OSError, ValueError, KeyError):
                continue

    def remove(self, key: str) -> bool:
        """Forget a result; false if there is none."""
        gone = self.entries / f".{key}.{secrets.token_hex(4)}"
        try:
            (self.entries / key).rename(gone)
        except OSError:
            return False
        shutil.rmtree(gone, ignore_errors=True)
        return True

    def keep_to(self, limit: int = LIMIT) -> None:
        """Prune if it may have become larger than `limit`, and each hour; a cache of a year is not read for each run.

        What has come since it was last pruned is noted, by every process that adds to it.
        """
        noted = self.folder / "size"
        self.folder.mkdir(parents=True, exist_ok=True)
        with suppress(OSError), noted.open("a+") as file:  # a full disk; the next run looks again
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            told = _Size.read(file.read())
            size, self._added = told.size + self._added, 0
            if size > limit or not 0 <= time.time() - told.at < _PRUNED_EVERY:
                self.prune(limit)
                size, told = sum(entry.size for entry in self.find()), _Size(0, time.time())
            file.truncate(0)
            file.write(json.dumps([size, told.at]))

    def prune(self, limit: int = LIMIT) -> list[Entry]:
        """Remove what was used least recently until the rest takes no more than `limit` bytes; return what is gone."""
        self._sweep()
        entries = self.find()
        size = sum(entry.size for entry in entries)
        gone = []
        for entry in entries:
            if size <= limit and limit:  # nothing at all is asked for by 0, entries without files included
                break
            if self.remove(entry.key):
                size -= entry.size
                gone.append(entry)
        return gone

    def _sweep(self) -> None:
        """Remove what killed processes have left, and digests that were not asked for in a month."""
        now = time.time()
        for path in [*self.entries.glob(".*"), *self.digests.folder.glob("*.json")]:
            try:
                age = now - path.stat().st_mtime
            except OSError:
                continue
            if path.name.startswith(".") and age > 3600:
                shutil.rmtree(path, ignore_errors=True)
            elif age > 30 * 86400:
                path.unlink(missing_ok=True)


def link_tree(source: Path, target: Path) -> None:
    """Make `target` hold the same files as `source`: hard links where the disk allows, else copies."""
    target.mkdir(parents=True, exist_ok=True)
    for base, folders, files in os.walk(source):
        here = target / os.path.relpath(base, source)
        for name in folders:
            (here / name).mkdir(exist_ok=True)
        for name in files:
            if name in _UNUSED and base == str(source):
                continue
            _link(Path(base, name), here / name)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def move_outputs(outputs: Outputs, old: Path, new: Path) -> Outputs:
    """Return outputs whose artifacts lay in the folder `old` and lie in `new` now."""

    def moved(artifact: Artifact) -> Artifact:
        if not artifact.path.is_relative_to(old):
            return artifact
        return replace(artifact, uri=str(new / artifact.path.relative_to(old)))

    return Outputs(
        outputs.parameters, {name: tuple(moved(each) for each in many) for name, many in outputs.artifacts.items()}
    )
