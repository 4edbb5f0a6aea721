"""`flywheel compile`: the pipeline as YAML, for a Kubeflow cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli.arguments import Folder, Overrides, Profile


def compile(
    folder: Folder = Path(),
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path("pipeline.yaml"),
    profile: Profile = None,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    monitoring: Annotated[
        bool, typer.Option("--monitoring", help="The pipeline of `flywheel monitor`, for a schedule of its own.")
    ] = False,
    vertex: Annotated[
        bool, typer.Option("--vertex", help="Without Kubernetes' settings, which Vertex AI Pipelines does not take.")
    ] = False,
) -> None:
    """Write the pipeline that a cluster runs: the same compiled form that `flywheel run` runs here."""
    from flywheel.kubeflow.compile import compile_monitoring, compile_to, for_vertex
    from flywheel.workspace import Workspace

    workspace = Workspace.open(folder, profile, overrides)
    if monitoring:
        path = compile_monitoring(workspace.project, output, workspace.labels_query(), workspace.serving_query())
    else:
        workspace.check_trainer()
        path = compile_to(workspace.project, workspace.query(), output, workspace.serving_query())
    if vertex:
        for_vertex(path)
    typer.echo(f"compiled {'the monitoring of ' if monitoring else ''}{workspace.project.name} to {path}")
