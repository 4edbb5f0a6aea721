"""What every subcommand's help has in common: paragraphs fill the terminal, and a flag does not ask for a value."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from flywheel.errors import ConfigError

_IN, _FOLDERS = "--in", ("folder", "folders", "target")
_Function = TypeVar("_Function", bound=Callable[..., Any])


class App(typer.Typer):
    """A command with subcommands, or a group of them."""

    def __init__(self, **settings: Any) -> None:
        names = {"help_option_names": ["-h", "--help"]}
        super().__init__(cls=_Group, no_args_is_help=True, context_settings=names, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[_Function], _Function]:
        """Return a decorator that makes a function a subcommand; its docstring is the help."""
        return super().command(name, **{"cls": _Command, **settings})


class _Plain:
    """A command whose help is laid out anew, as it is not wrapped where the docstring is."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self.help: str | None = filled(self.help) if self.help else None
        for option in self.params:  # type: ignore[attr-defined]
            _without_value(option)

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)  # type: ignore[misc]
        _without_value(option)
        return option


class _Command(_Plain, TyperCommand):
    """A subcommand; `--in FOLDER` names its folder, also where that is an argument."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        last = next((each for each in reversed(self.params) if each.param_type_name == "argument"), None)
        if last is not None and last.name in _FOLDERS:
            args = folder_last(args)
        return super().parse_args(ctx, args)


class _Group(_Plain, TyperGroup):
    pass


def folder_last(args: Sequence[str]) -> list[str]:
    """Return arguments with what `--in` names at their end, where a command takes its folder.

    >>> folder_last(["--in", "demo", "2013-06-01", "--json"])
    ['2013-06-01', '--json', 'demo']

    Raises:
        ConfigError: `--in` names nothing.
    """
    rest, folders, left = list[str](), list[str](), iter(args)
    for each in left:
        if each == "--":
            return [*rest, each, *left, *folders]
        name, given, value = each.partition("=")
        if name != _IN:
            rest.append(each)
        elif folder := value if given else next(left, ""):
            folders.append(folder)
        else:
            raise ConfigError(f"{_IN} names no folder", f"write it as {_IN} FOLDER.")
    return [*rest, *folders]


def filled(text: str) -> str:
    r"""Return a docstring with each paragraph on one line, but for those that are indented.

    >>> filled("One\nthing.\n\n    kept\n    as it is")
    'One thing.\n\n    kept\n    as it is'
    """
    parts = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(part if part.startswith(" ") else " ".join(part.split()) for part in parts)


def _without_value(option: Any) -> None:
    """Take the type away that the help would show behind a flag."""
    if getattr(option, "is_flag", False):
        option.metavar = ""
