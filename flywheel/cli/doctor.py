"""`flywheel doctor`: is all there that a run needs, and what to do where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli.arguments import Folder, Overrides, Profile

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "skip": None}


def doctor(
    folder: Folder = Path(),
    profile: Profile = None,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of text.")] = False,
) -> None:
    """Check what a run needs, and say what to do where it is not there; nothing is changed.

    Versions that go together, files, the warehouse by a dry run, MLflow, buckets written and read, and, where the
    profile uses them, the Kubernetes cluster with namespaces and rights, and the images. The rights are those of
    whoever asks. Exit code 1 if a check fails; warnings do not count.
    """
    import json
    from dataclasses import asdict

    from flywheel.doctor import examine
    from flywheel.workspace import Workspace

    workspace = Workspace.open(folder, profile, overrides)
    failed = 0
    for finding in examine(workspace):
        failed += finding.state == "fail"
        if as_json:
            typer.echo(json.dumps(asdict(finding)))
            continue
        state = typer.style(f"{finding.state:4}", fg=_COLOURS[finding.state])
        typer.echo(f"{state}  {finding.check:11}  {finding.found}")
        if finding.remedy:
            typer.echo(f"      {'':11}  {finding.remedy}")
    if not as_json:
        verdict = f"{failed} check{'s' * (failed != 1)} failed" if failed else "all that is needed is there"
        typer.echo(f"{workspace.project.name}{f' ({profile})' if profile else ''}: {verdict}")
    if failed:
        raise typer.Exit(1)
