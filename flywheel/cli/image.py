"""`flywheel image`: images with a team's own dependencies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.app import App
from flywheel.cli.arguments import Folder, Profile

if TYPE_CHECKING:
    from flywheel.workspace import Workspace

app = App(help="Images with a team's own dependencies, on top of those that the steps run in.")
Requirements = Annotated[
    Path | None,
    typer.Option("--requirements", "-r", help="File as pip reads it.", show_default="requirements.txt of the project"),
]
Base = Annotated[str | None, typer.Option("--base", help="Image to begin with.", show_default="by train.resources.gpu")]


@app.command("build")
def build(
    folder: Folder = Path(),
    profile: Profile = None,
    requirements: Requirements = None,
    base: Base = None,
    options: Annotated[
        list[str], typer.Option("--option", metavar="TEXT", help="For `docker build`, as --option=--network=host.")
    ] = [],  # noqa: B006 - typer copies it
) -> None:
    """Build an image of requirements.txt on top of the steps' image, and print its name.

    Needs Docker or Podman. A library that would change a version that the steps need is refused. The image is called by
    its content, so building again what is built already is quick; FLYWHEEL_IMAGES says in which registry and folder.
    """
    from flywheel.kubeflow import image
    from flywheel.workspace import Workspace

    workspace = Workspace.open(folder, profile)
    file = requirements or workspace.folder / "requirements.txt"
    tag = image.build(workspace.project.name, file, base or _base(workspace), options)
    typer.echo(
        f"built {tag}\n  `flywheel image push` pushes it; name it in flywheel.yaml as train.resources.image, or as "
        "resources.all.image for every step."
    )


@app.command("push")
def push(
    folder: Folder = Path(), profile: Profile = None, requirements: Requirements = None, base: Base = None
) -> None:
    """Push the image that `flywheel image build` built of the same file."""
    from flywheel.kubeflow import image
    from flywheel.workspace import Workspace

    workspace = Workspace.open(folder, profile)
    text = image.read(requirements or workspace.folder / "requirements.txt")
    tag = image.name_of(workspace.project.name, text, base or _base(workspace))
    image.push(tag)
    typer.echo(f"pushed {tag}\n  name it in flywheel.yaml as train.resources.image, or as resources.all.image.")


def _base(workspace: Workspace) -> str:
    from flywheel import images

    return images.GPU if workspace.project.train.resources.gpu else images.CPU
