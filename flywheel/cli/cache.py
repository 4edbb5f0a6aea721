"""`flywheel cache`: what is kept of earlier steps, and how to let it go."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli.app import App
from flywheel.errors import ConfigError

app = App(help="Results of earlier steps: list them, remove some, or keep to a size.")
Folder = Annotated[Path, typer.Argument(help="Folder whose .flywheel holds the cache.", show_default="this folder")]


@app.command("ls")
def ls(folder: Folder = Path()) -> None:
    """List the entries, the one used last on top."""
    from rich.console import Console
    from rich.table import Table

    from flywheel.runner import Cache
    from flywheel.runner.progress import shown

    entries = sorted(Cache(folder / ".flywheel").find(), key=lambda entry: -entry.used)
    table = Table("key", "task", "MiB", "last used", box=None, pad_edge=False, header_style="bold")
    for entry in entries:
        used = datetime.fromtimestamp(entry.used).strftime("%Y-%m-%d %H:%M")
        table.add_row(entry.key[:12], shown(entry.task), f"{entry.size / 2**20:.1f}", used)
    Console(highlight=False).print(table)
    typer.echo(f"{len(entries)} entries, {sum(entry.size for entry in entries) / 2**20:.1f} MiB")


@app.command("rm")
def rm(key: Annotated[str, typer.Argument(help="Key, or how it begins.")], folder: Folder = Path()) -> None:
    """Remove one entry."""
    from flywheel.runner import Cache

    cache = Cache(folder / ".flywheel")
    found = [entry.key for entry in cache.find() if entry.key.startswith(key)]
    if len(found) != 1:
        raise ConfigError(f"{key!r} begins {len(found)} keys", "give a key that `flywheel cache ls` shows.")
    cache.remove(found[0])
    typer.echo(f"removed {found[0][:12]}")


@app.command("prune")
def prune(
    folder: Folder = Path(),
    keep: Annotated[str, typer.Option("--keep", help="Size to keep to, as 5GB; used least recently goes first.")] = "0",
    runs: Annotated[int | None, typer.Option("--runs", min=0, help="Keep this many of the newest runs, too.")] = None,
) -> None:
    """Remove what was used least recently until the rest is no larger than --keep; and old runs, if asked to."""
    from pydantic import ByteSize, TypeAdapter, ValidationError

    from flywheel.runner import Cache, remove_runs

    try:
        limit = TypeAdapter(ByteSize).validate_python(keep)
    except ValidationError:
        raise ConfigError(f"--keep {keep!r} is no size", "write it as 500MB or 5GB.") from None
    gone = Cache(folder / ".flywheel").prune(int(limit))
    typer.echo(f"removed {len(gone)} entries, {sum(entry.size for entry in gone) / 2**20:.1f} MiB")
    if runs is not None:
        typer.echo(f"removed {len(remove_runs(folder / '.flywheel', runs))} runs")
