"""Find and call the trainer; whatever goes wrong in the user's own is said with its file and line."""

from __future__ import annotations

import importlib
import linecache
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flywheel.archive import unpacked
from flywheel.errors import FlywheelError, TrainerError, meant

COMES_ALONG = "flywheel.trainers"
"""The package whose trainers may be named too; a trainer of the user's own is in the archive."""


@contextmanager
def trainer(archive: Path, name: str) -> Iterator[Callable[[Any], Any]]:
    """Give the function `name`, as `module:function`, of an archive of code or of the trainers that come along.

    The archive's modules are forgotten afterwards.

    Raises:
        TrainerError: There is no such module or function, or importing it fails; or, from the call, whatever the
            trainer raises, with the line of the user's code that raised it.
    """
    if name.startswith(f"{COMES_ALONG}."):
        module, _, function = name.partition(":")
        yield _explaining(_function(_installed(module, name), function, name), Path(__file__).parent.parent, name)
        return
    with unpacked(archive) as folder:
        try:
            yield _explaining(_find(folder, name), folder, name)
        finally:
            for module in [
                key for key, value in sys.modules.items() if _is_in(getattr(value, "__file__", None), folder)
            ]:
                del sys.modules[module]


def _explaining(function: Callable[[Any], Any], folder: Path, name: str) -> Callable[[Any], Any]:
    def call(context: Any) -> Any:
        with _explained(folder, name, "failed"):
            return function(context)

    return call


def _find(folder: Path, name: str) -> Callable[[Any], Any]:
    module, _, function = name.partition(":")
    return _function(_import(folder, module, name), function, name)


def _installed(module: str, name: str) -> Any:
    """Return a module that comes along."""
    package = Path(__file__).parent.parent / "trainers"
    if not (package / module.removeprefix(f"{COMES_ALONG}.")).with_suffix(".py").is_file():
        there = ", ".join(sorted(file.stem for file in package.glob("[a-z]*.py")))
        raise TrainerError(f"trainer {name!r}: there is no such trainer in {COMES_ALONG}", f"those there: {there}.")
    with _explained(package.parent, name, "cannot be imported"):
        return importlib.import_module(module)


def _function(imported: Any, function: str, name: str) -> Callable[[Any], Any]:
    found = getattr(imported, function, None)
    if callable(found):
        return found  # type: ignore[no-any-return]
    functions = sorted(key for key, value in vars(imported).items() if callable(value) and not key.startswith("_"))
    raise TrainerError(
        f"trainer {name!r}: {name.partition(':')[0]}.py has no function {function!r}",
        meant(function, functions).rstrip() or f"define `def {function}(context: TrainContext):` there.",
    )


def _import(folder: Path, module: str, name: str) -> Any:
    top = module.split(".")[0]
    if not ((folder / f"{top}.py").is_file() or (folder / top).is_dir()):
        there = ", ".join(sorted(str(file.relative_to(folder)) for file in folder.rglob("*.py"))) or "none"
        raise TrainerError(
            f"trainer {name!r}: there is no {module.replace('.', '/')}.py in the project",
            f"set train.trainer in flywheel.yaml; Python files there: {there}.",
        )
    taken = sys.modules.get(top)
    if taken is not None:
        raise TrainerError(
            f"trainer {name!r}: the name {top!r} is taken by {getattr(taken, '__file__', None) or 'Python itself'}",
            f"give {top}.py another name.",
        )
    with _explained(folder, name, "cannot be imported"):
        return importlib.import_module(module)


@contextmanager
def _explained(folder: Path, name: str, what: str) -> Iterator[None]:
    """Raise what the user's code raises as a TrainerError that shows the user's line; our own errors pass."""
    try:
        yield
    except FlywheelError:
        raise
    except Exception as error:
        place, reason = _place(error, folder), f"{type(error).__name__}: {error}".rstrip(": ")
        if isinstance(error, ModuleNotFoundError):
            remedy = f"install {error.name!r} where this runs, or mend the import."
        elif place:
            remedy = "mend it there; the whole traceback is in the log of this step."
        else:
            remedy = f"define it as `def {name.partition(':')[2]}(context: TrainContext):`."
        raise TrainerError(f"trainer {name!r} {what}{place}: {reason}", remedy) from error


def _place(error: Exception, folder: Path) -> str:
    """Return ` at file.py:line: code` of the innermost line of the user's; nothing when the user's code has no part."""
    if isinstance(error, SyntaxError) and _is_in(error.filename, folder):
        file, line, code = str(error.filename), error.lineno or 0, (error.text or "").strip()
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_in(frame.filename, folder)]
        if not frames:
            return ""
        file, line = frames[-1].filename, frames[-1].lineno or 0
        # Read now: the folder is gone by the time that anyone looks at the traceback.
        code = linecache.getline(file, line).strip()
    return f" at {Path(file).relative_to(folder)}:{line} ({code})"


def _is_in(file: str | None, folder: Path) -> bool:
    # By its text: thousands of modules are asked, and each was found by this very path.
    return file is not None and file.startswith(f"{folder}{os.sep}")
