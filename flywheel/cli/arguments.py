"""Arguments that several subcommands share, so that one name means one thing everywhere."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(help="Folder that holds flywheel.yaml.", show_default="this folder")]
Profile = Annotated[str | None, typer.Option("--profile", help="Profile of flywheel.yaml to lay over it.")]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Overrule a key, as --set source.window=7.")
]


def who() -> str:
    """Return the user's name for the ledger, as FLYWHEEL_USER or the system says it."""
    try:
        return os.environ.get("FLYWHEEL_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"
