"""`flywheel serve`: answer requests with the champions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flywheel.serving.root import ServingRoot

_Folders = Annotated[
    list[Path],
    typer.Argument(
        metavar="[FOLDER]...", help="Folders that hold flywheel.yaml, or serving folders.", show_default="this folder"
    ),
]


def serve(
    folders: _Folders = [Path()],  # noqa: B006 - typer copies it
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the REST protocol.", min=1, max=65535)] = 8080,
    grpc_port: Annotated[int, typer.Option(help="Port of the gRPC protocol; 0 for none.", min=0, max=65535)] = 8081,
    metrics_port: Annotated[
        int, typer.Option(help="Port of the Prometheus metrics, at /metrics; 0 for none.", min=0, max=65535)
    ] = 8082,
    background: Annotated[bool, typer.Option("--background", help="Return once it answers, and leave it running.")] = (
        False
    ),
    stop: Annotated[bool, typer.Option("--stop", help="Stop the one that runs in the background.")] = False,
) -> None:
    """Serve every champion in FOLDER... by the Open Inference Protocol; a new one takes over without a restart."""
    from flywheel.serving import background as server
    from flywheel.serving import local
    from flywheel.serving.ports import Ports
    from flywheel.serving.root import distinct

    found = [_root(folder) for folder in folders]
    state = found[0][1]
    if stop:
        stopped = server.stop(state)
        typer.echo("stopped." if stopped else "nothing was running.")
        return
    roots, ports = distinct(root for root, _ in found), Ports(host, port, grpc_port, metrics_port)
    if background:
        server.start(roots, state, ports)
    else:
        local.serve(roots, ports)


def _root(folder: Path) -> tuple[ServingRoot, Path]:
    """Return the serving folders of a project, or of a folder that is one itself, and where its server's pid stands."""
    from flywheel.config import FILE, Local
    from flywheel.serving.root import Logged, ServingRoot
    from flywheel.workspace import Workspace

    if not (folder / FILE).exists() and ServingRoot(folder).in_service():
        return ServingRoot(folder), folder.absolute()
    workspace = Workspace.open(folder)
    name, deploy = workspace.project.name, workspace.project.deploy
    log = deploy.log if isinstance(deploy, Local) else None
    logs = {name: Logged(workspace.requests / name, log)} if log else {}
    return ServingRoot(workspace.serving, logs), workspace.state
