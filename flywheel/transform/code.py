"""The user's modules out of an archive, kept apart: two versions of one module name live side by side in a process.

Modules of an archive are imported under a package of their own, named by the archive's digest. What they import of each
other is found there as well, whenever they do so; everything else is imported as usual. `sys.path` is left alone.
"""

from __future__ import annotations

import atexit
import builtins
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import os
import shutil
import sys
import tempfile
import threading
import types
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flywheel.errors import DataError, meant

_PREFIX = "_flywheel_code_"
_LOADED: dict[str, Code] = {}
_LOADING = threading.Lock()


class Code:
    """The modules of one archive.

    Attributes:
        archive: The archive, as `flywheel.archive.pack` writes it.
        folder: Where its files stand as long as this process lives: a model that is replaced takes nothing away.
    """

    def __init__(self, archive: Path, digest: str) -> None:
        self.archive, self._package = archive, _PREFIX + digest
        self.folder = Path(tempfile.mkdtemp(prefix="flywheel-features-"))
        atexit.register(_remove, self.folder, os.getpid())
        with zipfile.ZipFile(archive) as source:
            source.extractall(self.folder)
        package = types.ModuleType(self._package)
        package.__path__ = [str(self.folder)]
        sys.modules[self._package] = package
        sys.meta_path.insert(0, _Finder(self._package, self._import))

    @classmethod
    def of(cls, archive: Path) -> Code:
        """Return the code of `archive`; equal archives give one and the same."""
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()[:32]
        with _LOADING:
            if digest not in _LOADED:
                _LOADED[digest] = cls(archive, digest)
            return _LOADED[digest]

    def find(self, name: str, what: str = "feature function") -> Callable[..., Any]:
        """Return the function `name`, as `module:function`; `what` it is, for messages.

        Raises:
            DataError: There is no such module or function, or its module cannot be imported.
        """
        module, _, function = name.partition(":")
        if not self._has(module):
            there = ", ".join(sorted(file.name for file in self.folder.glob("*.py"))) or "none"
            raise DataError(
                f"{what} {name!r}: there is no {module.replace('.', '/')}.py in the project",
                f"mend `function` in flywheel.yaml; Python files there: {there}.",
            )
        try:
            imported = importlib.import_module(f"{self._package}.{module}")
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".replace(f"{self._package}.", "")
            raise DataError(
                f"{what} {name!r}: {module}.py cannot be imported{self.place(error)}: {reason}",
                f"a {what} may import what the model server has: numpy, pandas and pyarrow, and own modules.",
            ) from error
        found = getattr(imported, function, None)
        if callable(found):
            return found  # type: ignore[no-any-return]
        known = sorted(key for key, value in vars(imported).items() if isinstance(value, types.FunctionType))
        raise DataError(
            f"{what} {name!r}: {module}.py has no function {function!r}",
            meant(function, known).rstrip() or f"define `def {function}(batch: pa.RecordBatch) -> pa.Array:` there.",
        )

    def place(self, error: BaseException) -> str:
        """Return ` at file.py:line` of the user's innermost line in an error; nothing when there is none."""
        if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_relative_to(self.folder):
            return f" at {Path(error.filename).relative_to(self.folder)}:{error.lineno}"
        place, trace = "", error.__traceback__
        while trace is not None:
            file = Path(trace.tb_frame.f_code.co_filename)
            if file.is_relative_to(self.folder):
                place = f" at {file.relative_to(self.folder)}:{trace.tb_lineno}"
            trace = trace.tb_next
        return place

    def _has(self, module: str) -> bool:
        path = self.folder.joinpath(*module.split("."))
        return path.with_suffix(".py").is_file() or path.is_dir()

    def _import(
        self,
        name: str,
        globals: dict[str, Any] | None = None,
        locals: dict[str, Any] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> Any:
        """Do what `import` does, with the archive's own modules before all others."""
        top = name.partition(".")[0]
        if level or not self._has(top):
            return builtins.__import__(name, globals, locals, fromlist, level)
        module = importlib.import_module(f"{self._package}.{name}")
        if not fromlist:
            return sys.modules[f"{self._package}.{top}"]
        for each in fromlist:
            if not hasattr(module, each) and self._has(f"{name}.{each}"):
                importlib.import_module(f"{module.__name__}.{each}")
        return module


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of one archive, and gives them its way to import."""

    def __init__(self, package: str, importer: Callable[..., Any]) -> None:
        self._package, self._import = package, importer

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return where the module is, if it is one of the archive's."""
        if not name.startswith(f"{self._package}."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path, self._import)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module whose `import` statements go another way."""

    def __init__(self, name: str, path: str, importer: Callable[..., Any]) -> None:
        super().__init__(name, path)
        self._import = importer

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the module's code."""
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._import}
        super().exec_module(module)


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child leaves what its parent still needs
        shutil.rmtree(folder, ignore_errors=True)
