"""`flywheel show`: what became of a run, task by task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def show(
    run: Annotated[str, typer.Argument(help="Id of the run, or latest.")] = "latest",
    folder: Annotated[Path, typer.Option("--in", help="Folder whose .flywheel holds the run.")] = Path(),
    task: Annotated[str, typer.Option("--log", metavar="TASK", help="Print the whole log of this task.")] = "",
) -> None:
    """Show each task of a run: its state, how long it took, and why it failed."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from flywheel.errors import ConfigError
    from flywheel.runner import show as look
    from flywheel.runner.progress import is_branch, shown

    result = look(run, root=folder / ".flywheel")
    if task:
        try:
            log = result.tasks[task].log
        except KeyError as error:
            raise ConfigError(f"run {result.id} has no task {task!r}", str(error.args[0])) from None
        typer.echo(log.read_text(errors="replace") if log else "", nl=False)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("task", "state", "seconds", "why"):
        table.add_column(title, justify="right" if title == "seconds" else "left", overflow="fold")
    for name, found in result.tasks.items():
        if not is_branch(name):
            seconds = f"{found.seconds:.1f}" if found.seconds else ""
            table.add_row(shown(name), found.state, seconds, escape(str(found.error or "")))
    console = Console(highlight=False)
    console.print(table)
    console.print(f"\nrun {result.id}: {result.status} in {result.seconds:.1f} s\n{result.folder}", soft_wrap=True)
