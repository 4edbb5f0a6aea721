"""`flywheel serve`: answer requests with the champion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli.arguments import Folder


def serve(
    folder: Folder = Path(),
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the REST protocol.", min=1, max=65535)] = 8080,
    background: Annotated[bool, typer.Option("--background", help="Return once it answers, and leave it running.")] = (
        False
    ),
    stop: Annotated[bool, typer.Option("--stop", help="Stop the one that runs in the background.")] = False,
) -> None:
    """Serve the champion by the Open Inference Protocol; a newly promoted model takes over without a restart."""
    from flywheel.serving import local
    from flywheel.workspace import Workspace

    workspace = Workspace.open(folder)
    if stop:
        stopped = local.stop(workspace.state)
        typer.echo("stopped." if stopped else "nothing was running.")
    elif background:
        local.serve_in_background(workspace.serving, workspace.project.name, workspace.state, host, port)
    else:
        local.serve(workspace.serving, workspace.project.name, host, port)
