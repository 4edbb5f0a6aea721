"""`flywheel transform`: what was learned of the features, and how it changes from span to span."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.app import App
from flywheel.cli.arguments import Folder, Profile

if TYPE_CHECKING:
    from flywheel.transform.state import State
    from flywheel.workspace import Workspace

app = App(help="What was learned of the features, and how it changes.")
_State = "a span, as 2013-06-01; or a state: state.json, its folder, or a model's."


@app.command("diff")
def diff(
    one: Annotated[str, typer.Argument(metavar="A", help=f"The former: {_State}")],
    other: Annotated[str, typer.Argument(metavar="B", help="The later one, in the same form.")],
    folder: Folder = Path(),
    profile: Profile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
) -> None:
    """Show what two states say differently: values gained and lost, boundaries and means that moved.

    Exit code 0 in any case: a vocabulary changes with the data.
    """
    import json

    from flywheel.transform.diff import diff as compare

    states = [_read(each, folder, profile) for each in (one, other)]
    changes = compare(*states)
    if as_json:
        rows = [state.rows for state in states]
        typer.echo(json.dumps({"a": one, "b": other, "rows": rows, "changes": [each.to_json() for each in changes]}))
        return
    typer.echo(f"{one}: learned from {states[0].rows:,} rows; {other}: from {states[1].rows:,}")
    name = ""
    for change in changes:
        if change.feature != name:
            name = change.feature
            typer.secho(f"\n{name}", bold=True)
        typer.echo(f"  {change}")
    if not changes:
        typer.echo("both transform alike")


def _read(asked: str, folder: Path, profile: str | None) -> State:
    """Return the state of a span or in a file or folder."""
    from flywheel.errors import ConfigError
    from flywheel.transform.state import State
    from flywheel.workspace import Workspace

    path = Path(asked)
    places = (path, path / "state.json", path / "data" / "flywheel" / "state.json")
    found = next((place for place in places if place.is_file()), None)
    if found is None and path.exists():
        raise ConfigError(f"{asked!r} holds no state.json", "give what `transform` wrote, or a model's folder.")
    return State.read(found or _of_span(asked, Workspace.open(folder, profile)))


def _of_span(span: str, workspace: Workspace) -> Path:
    """Return the file with the state of the last run for `span` on this machine that has one."""
    from flywheel.errors import ConfigError
    from flywheel.ledger import Ledger
    from flywheel.runner import list_runs, show

    name = workspace.project.name
    rows = [row for row in Ledger(workspace.ledger).rows(name) if row.span == span]
    runs = {folder.info().get("job"): folder.id for folder in list_runs(workspace.state)}
    for row in reversed(rows):
        if row.job not in runs:  # it ran elsewhere, or was removed
            continue
        for key, task in show(runs[row.job], root=workspace.state).tasks.items():
            made = task.artifacts.get("state")
            if key.rsplit("/", 1)[-1] == "transform" and made is not None and (made.path / "state.json").is_file():
                return made.path / "state.json"
    why = "has run, but its state is not on this machine" if rows else "has no run"
    raise ConfigError(
        f"span {span!r} of {name} {why}", "`flywheel status` lists spans; a path to a state.json will do, too."
    )
