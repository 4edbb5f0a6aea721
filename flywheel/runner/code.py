"""What code a component's source stands on, as a text that changes when that code does.

A cluster names it by the image. Here it is the versions of the packages that the source imports, and the contents of
the modules that are no installed package (a library under development, the user's own), with those that they import.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import stat
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

from flywheel.runner.digest import digest_of
from flywheel.runner.program import imported_names

_MOST = 2_000
"""Modules that are followed; beyond that something is odd, and what was found has to do."""
_LARGEST = 2**20
"""Bytes of a file that may be code, or belong to it."""
_KNOWN = 20_000
"""Files whose digests and imports a process remembers from run to run."""

_Signature = tuple[int, int, int]
"""Size, time of change in nanoseconds, and inode: what a process knows of a file holds as long as they stay."""
_Tree = dict[str, _Signature]
"""The files of a package by their paths in it."""


class _Known(NamedTuple):
    """A fingerprint, and the state of each top-level module that it was found by: it holds as long as that stays."""

    found: dict[str, str]
    stands_on: dict[str, object]


_known: dict[str, _Known] = {}
"""What this process has found for each source."""


class Code:
    """Fingerprints of sources, each module and folder looked at once: make a new one for each run."""

    def __init__(self) -> None:
        self._fingerprints: dict[str, dict[str, str]] = {}
        self._states: dict[str, object] = {}
        self._modules: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {}
        self._trees: dict[Path, _Tree] = {}
        self._digests: dict[Path, str] = {}
        self._loose: set[str] = set()
        self._search = _search()

    def fingerprint(self, source: str) -> dict[str, str]:
        """Return version or digest of each package and module that a source leads to."""
        if source not in self._fingerprints:
            known = _known.get(source)
            if known is None or any(self._state(top) != state for top, state in known.stands_on.items()):
                known = _known[source] = self._follow(source)
            self._fingerprints[source] = known.found
        return self._fingerprints[source]

    def _follow(self, source: str) -> _Known:
        found: dict[str, str] = {}
        waiting = list(imported_names(source))
        seen: set[str] = set()
        while waiting and len(seen) < _MOST:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            if name not in self._modules:
                self._modules[name] = self._look_at(name)
            marks, imported = self._modules[name]
            found |= marks
            waiting += imported
        stands_on = {top: object() if top in self._loose else self._state(top) for top in map(_top, seen)}
        return _Known(dict(sorted(found.items())), stands_on)

    def _state(self, top: str) -> object:
        """Return what changes when a top-level module, or anything in it, does."""
        if top not in self._states:
            place = _place(top, self._search)
            self._states[top] = place and (place, self._state_at(top, place))
        return self._states[top]

    def _state_at(self, top: str, place: Path) -> object:
        if _is_installed(place):
            return _version(top, place)
        if place.is_file():
            return _signature(place)
        if (place / "__init__.py").is_file():
            return self._tree(place)
        return object()  # a mere folder may hold anything: what leads there is followed anew in each run, as by a link

    def _look_at(self, name: str) -> tuple[dict[str, str], tuple[str, ...]]:
        """Return what a module adds to a fingerprint, and what it imports where it is no installed package."""
        top = _top(name)
        place = _place(top, self._search)
        if place is None:
            return {}, ()
        if _is_installed(place):
            return {top: _version(top, place)}, ()
        found: dict[str, str] = {}
        imported: tuple[str, ...] = ()
        if (place / "__init__.py").is_file():
            found[f"{top}/"] = self._digest_of_package(place)
        for path in _files(name, place):
            if path != place and os.path.relpath(path, place) not in self._trees.get(place, {}):
                self._loose.add(top)
            found[os.path.relpath(path, place.parent)] = _digest(path)
            imported += _imports(path)
        return found, imported

    def _digest_of_package(self, place: Path) -> str:
        """Return a digest of all that a package brings: modules may be loaded by name, and read files beside them."""
        if place not in self._digests:
            whole = hashlib.blake2b(digest_size=20)
            for name, signature in self._tree(place).items():
                whole.update(f"{name} {_digest_known(place / name, signature)}\n".encode(errors="surrogateescape"))
            self._digests[place] = whole.hexdigest()
        return self._digests[place]

    def _tree(self, place: Path) -> _Tree:
        if place not in self._trees:
            self._trees[place] = dict(_small_files(place))
        return self._trees[place]


def _top(name: str) -> str:
    return name.partition(".")[0]


def _digest(path: Path) -> str:
    return _digest_known(path, _signature(path))


def _imports(path: Path) -> tuple[str, ...]:
    return _imports_known(path, _signature(path))


def _signature(path: Path) -> _Signature:
    try:
        return _signature_of(path.stat())
    except OSError:
        return 0, 0, 0


def _signature_of(status: os.stat_result) -> _Signature:
    return status.st_size, status.st_mtime_ns, status.st_ino


@lru_cache(_KNOWN)
def _digest_known(path: Path, signature: _Signature) -> str:
    return digest_of(path)


@lru_cache(_KNOWN)
def _imports_known(path: Path, signature: _Signature) -> tuple[str, ...]:
    try:
        return imported_names(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return ()


def _small_files(folder: Path) -> Iterator[tuple[str, _Signature]]:
    """Yield the files of a package in order, without caches, hidden ones, and what is too large to be code."""
    above = len(os.path.join(folder, ""))
    for base, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
        for name in sorted(name for name in files if not name.startswith(".")):
            path = os.path.join(base, name)
            with suppress(OSError):  # a link to nothing, or gone since
                status = os.stat(path)
                if stat.S_ISREG(status.st_mode) and status.st_size < _LARGEST:
                    yield path[above:], _signature_of(status)


_Search = tuple[tuple[str, int], ...]
"""Where modules are looked for, and when something came or went there."""


def _search() -> _Search:
    places = (os.getcwd(), *sys.path)  # a step has the working folder first on its path
    return tuple((place, _signature(Path(place))[1]) for place in places)


@lru_cache(_KNOWN)
def _place(top: str, search: _Search) -> Path | None:
    """Return the file or folder of a top-level module without importing it; None for what is built in."""
    if top in sys.stdlib_module_names:
        return None
    try:
        spec = PathFinder.find_spec(top, [place for place, _ in search]) or importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return next((Path(place) for place in spec.submodule_search_locations), None)
    return Path(spec.origin) if spec.origin and os.path.exists(spec.origin) else None


def _files(name: str, place: Path) -> Iterator[Path]:
    """Yield the files that importing a module reads: its own and those of the packages around it."""
    if place.is_file():
        yield place
        return
    here = place
    parts = name.split(".")[1:]
    if (here / "__init__.py").is_file():
        yield here / "__init__.py"
    for part in parts:
        if (here / f"{part}.py").is_file():
            yield here / f"{part}.py"
            return
        here = here / part
        if (here / "__init__.py").is_file():
            yield here / "__init__.py"
    if not here.exists():
        yield from _elsewhere(name)


def _elsewhere(name: str) -> Iterator[Path]:
    """Yield the file of a module whose package is put together from several folders."""
    try:
        spec = importlib.util.find_spec(name)
    except Exception:  # finding imports the packages around it, and they may do anything
        return
    if spec and spec.origin and Path(spec.origin).is_file():
        yield Path(spec.origin)


@cache
def _installed_roots() -> tuple[str, ...]:
    names = ("purelib", "platlib", "stdlib", "platstdlib")
    return tuple({os.path.realpath(sysconfig.get_paths()[name]) + os.sep for name in names})


@lru_cache(_KNOWN)
def _is_installed(place: Path) -> bool:
    return os.path.realpath(place).startswith(_installed_roots())


@cache
def _versions() -> dict[str, str]:
    """Return the versions in the names of the `.dist-info` folders: no file has to be read."""
    versions = {}
    for root in _installed_roots():
        for entry in os.listdir(root) if os.path.isdir(root) else ():
            if entry.endswith(".dist-info"):
                name, _, version = entry.removesuffix(".dist-info").partition("-")
                versions[name.lower().replace("-", "_").replace(".", "_")] = version
    return versions


def _version(top: str, place: Path) -> str:
    """Return the version of an installed package; where its name says nothing, when it was installed."""
    known = _versions().get(top.lower())
    if known:
        return known
    file = place / "__init__.py" if place.is_dir() else place
    status = (file if file.exists() else place).stat()
    return f"{status.st_size}-{status.st_mtime_ns}"
