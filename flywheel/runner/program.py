"""What a container runs: is it a Python component, which function, which imports and which packages does it want?"""

from __future__ import annotations

import ast
import re
import shlex
import sys
from dataclasses import dataclass
from functools import cache

from flywheel.runner.spec import Container

_EXECUTOR = "kfp.dsl.executor_main"
_RUNNER = "ephemeral_component.py"
_PIP = re.compile(r"-m pip install(?P<arguments>[^&\n]*)")
_WITH_VALUE = ("--index-url", "--extra-index-url", "--trusted-host", "--find-links")
_OWN = re.compile(r"(kfp|kfp-pipeline-spec|typing-extensions)(?![\w-])")


@dataclass(frozen=True)
class Program:
    """The Python function of a component."""

    function: str
    source: str
    packages: tuple[str, ...] = ()
    """What its `packages_to_install` names, kfp itself left out."""
    pip_options: tuple[str, ...] = ()
    """Options for pip, such as `--index-url`."""
    own_venv: bool = False
    """Whether `use_venv` asks for an environment of its own."""


def program_of(container: Container) -> Program | None:
    """Return the Python function that a container runs, or None if it is some other command."""
    return _read(container.command, container.args)


@cache
def _read(command: tuple[str, ...], args: tuple[str, ...]) -> Program | None:
    scripts = [part for part in command if _EXECUTOR in part and _RUNNER in part]
    if not scripts or command[-1] in scripts or "--function_to_execute" not in args:
        return None
    function = args[args.index("--function_to_execute") + 1 :][:1]
    if not function:
        return None
    shell = "\n".join(part for part in command[:-1])
    packages, options = _installs(shell)
    own_venv = "-m venv" in shell
    return Program(function[0], command[-1], packages, options, own_venv)


def _installs(shell: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the packages and the options in the `pip install` commands that kfp has written."""
    packages: dict[str, None] = {}
    options: dict[tuple[str, ...], None] = {}
    for match in _PIP.finditer(shell):
        words = iter(shlex.split(match["arguments"]))
        for word in words:
            if word in _WITH_VALUE:
                options[word, next(words, "")] = None
            elif word.startswith(_WITH_VALUE):
                options[(word,)] = None
            elif not word.startswith("-") and not _OWN.match(word):
                packages[word] = None
    return tuple(packages), tuple(word for option in options for word in option)


@cache
def imports_of(source: str) -> tuple[str, ...]:
    """Return the modules that a step has to load, in order; the standard library and kfp are always there."""
    return tuple(name for name in imported_names(source, members=False) if name.split(".")[0] not in _LIGHT)


@cache
def imported_names(source: str, *, members: bool = True) -> tuple[str, ...]:
    """Return the names of the modules that a source imports, inside functions too; none if it does not parse.

    Args:
        source: Python code.
        members: Whether `from a import b` counts as `a.b` too, which may be a module.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return ()
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names if members and alias.name != "*"]
    return tuple(dict.fromkeys(names))


_LIGHT = {*sys.stdlib_module_names, "kfp", "typing_extensions"}
