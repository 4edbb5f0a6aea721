"""`flywheel compile`: the pipeline as YAML, for a Kubeflow cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli.arguments import Folder, Overrides, Profile


def compile(
    folder: Folder = Path(),
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; with --kubernetes a folder.", show_default="pipeline.yaml"),
    ] = None,
    profile: Profile = None,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    monitoring: Annotated[
        bool, typer.Option("--monitoring", help="The pipeline of `flywheel monitor`, for a schedule of its own.")
    ] = False,
    vertex: Annotated[
        bool, typer.Option("--vertex", help="Without Kubernetes' settings, which Vertex AI Pipelines does not take.")
    ] = False,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Manifests for GitOps instead: pipeline, version, rights, trigger.")
    ] = False,
    namespace: Annotated[
        str, typer.Option("--namespace", help="Of the manifests.", show_default="kubeflow.namespace")
    ] = "",
    put_code: Annotated[
        bool, typer.Option("--put-code", help="With --kubernetes: put the code where the runs fetch it.")
    ] = False,
) -> None:
    """Write the pipeline that a cluster runs: the same compiled form that `flywheel run` runs here.

    With --kubernetes, write a folder of manifests instead, for Argo CD, Flux or `kubectl apply -k`: Pipeline and
    PipelineVersion for a Kubeflow Pipelines in its Kubernetes-native API mode, the service account of the steps with no
    more rights than they need, and the CronJob of `trigger`, if flywheel.yaml has one. A run of the version needs its
    parameter `code`, which is told. Schedules stay with `flywheel schedule apply`.
    """
    from flywheel.errors import ConfigError
    from flywheel.kubeflow.code import put
    from flywheel.kubeflow.compile import compile_monitoring, compile_to, for_vertex
    from flywheel.kubeflow.manifests import manifests, write
    from flywheel.kubeflow.versions import Package
    from flywheel.workspace import Workspace

    if kubernetes and (monitoring or vertex):
        raise ConfigError("--kubernetes goes with neither --monitoring nor --vertex", "give one of them.")
    if not kubernetes and (namespace or put_code):
        raise ConfigError("--namespace and --put-code are for --kubernetes", "give that too.")
    workspace = Workspace.open(folder, profile, overrides)
    if kubernetes:
        package = Package.of(workspace)
        made = manifests(package, namespace, profile or "", overrides)
        sent = put(package.archive, package.code) if put_code else False
        for path in write(made, output or Path("kubernetes")):
            kinds = ", ".join(f"{each['kind']} {each['metadata']['name']}" for each in made.get(path.name, ()))
            typer.echo(f"{path}{f': {kinds}' if kinds else ''}")
        state = ("put there" if sent else "there already") if put_code else "--put-code puts it there"
        typer.echo(f"code of the runs: {package.code} ({state})")
        return
    to = output or Path("pipeline.yaml")
    if monitoring:
        path = compile_monitoring(workspace.project, to, workspace.labels_query(), workspace.serving_query())
    else:
        workspace.check_trainer()
        path = compile_to(workspace.project, workspace.query(), to, workspace.serving_query())
    if vertex:
        for_vertex(path)
    typer.echo(f"compiled {'the monitoring of ' if monitoring else ''}{workspace.project.name} to {path}")
