"""What every subcommand's help has in common: paragraphs fill the terminal, and a flag does not ask for a value."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

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
    pass


class _Group(_Plain, TyperGroup):
    pass


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
