"""`flywheel lineage`: which rows, SQL, code, parents and decisions made a version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.arguments import Profile

if TYPE_CHECKING:
    from flywheel.ledger.lineage import Lineage


def lineage(
    version: Annotated[
        str, typer.Argument(metavar="[VERSION]", help="Registered version, as 7.", show_default="the champion")
    ] = "",
    folder: Annotated[Path, typer.Option("--in", help="Folder that holds flywheel.yaml.")] = Path(),
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a picture of it: one HTML file, no network.")
    ] = None,
    profile: Profile = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
) -> None:
    """Show what made VERSION: rows, SQL, code, training, the champions before it, and what gates and people decided."""
    import json

    from flywheel.ledger import Ledger
    from flywheel.ledger.lineage import lineage as trace
    from flywheel.workspace import Workspace

    workspace = Workspace.open(folder, profile)
    number = version.removeprefix("v")
    found = trace(Ledger(workspace.ledger), workspace.project.name, number, workspace.state / "code")
    if html is not None:
        from flywheel.reports.lineage import lineage_page
        from flywheel.runner.folder import write_atomically

        html.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(html, lineage_page(found))
        typer.echo(f"wrote {html}", err=as_json)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
    elif html is None:
        typer.echo("\n".join(_lines(found)))


def _lines(found: Lineage) -> list[str]:
    lines = [f"version {found.version} of {found.model}, span {found.span or 'not known'}", f"  digest {found.digest}"]
    lines += _part("rows", {"trained on": found.window, "judged on": found.judge, **found.data})
    lines += _part("code", {"archive": found.code})
    told = {key: value for key, value in found.training.items() if not isinstance(value, dict)}
    lines += _part("training", told)
    for key in ("parameters", "environment"):
        if values := found.training.get(key):
            lines.append(f"  {key}: " + ", ".join(f"{name}={value}" for name, value in values.items()))
    lines.append("decisions")
    for said in found.decisions:
        lines.append(f"  {said['gate']}: {'passed' if said['ok'] else 'kept back'}: {said['why']}")
    lines += [f"  by hand: {act}" for act in found.by_hand]
    lines += [f"  waived by {waiver}" for waiver in found.waivers]
    lines.append("parents")
    lines += [f"  version {each['version']} of {each['span'] or 'an unknown span'}" for each in found.parents]
    if not found.parents:
        lines.append("  none: it was the first")
    lines.append("SQL")
    lines += [f"  {line}" for line in found.query.splitlines()] or ["  not known: its archive of code is not here"]
    return lines


def _part(title: str, values: dict[str, object]) -> list[str]:
    return [title, *(f"  {name}: {value}" for name, value in values.items() if value not in ("", None))]
