"""`flywheel schema`: what the data is expected to look like, and how people change their mind about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.app import App
from flywheel.cli.arguments import Folder, Profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flywheel.cli.looking import Found
    from flywheel.invariants import Proposal
    from flywheel.schemas import Change
    from flywheel.workspace import Workspace

app = App(
    help="What the data is expected to look like: schema.pbtxt and invariants.yaml, reviewed files of the project."
)
_Span = Annotated[str, typer.Argument(metavar="SPAN", help="Newest span to look at, as 2013-06-01.")]
_Back = Annotated[
    int | None, typer.Option("--spans", min=1, help="How many spans up to SPAN to look at.", show_default="window")
]


@app.command("show")
def show(folder: Folder = Path(), profile: Profile = None) -> None:
    """Show the schema as a table, and the invariants under it."""
    from rich.console import Console

    from flywheel import invariants, schemas
    from flywheel.workspace import Workspace

    workspace = Workspace.open(folder, profile)
    schema = schemas.load(workspace.folder)
    console = Console(highlight=False)
    if schema is None:
        typer.echo(
            f"no {workspace.schema.name} yet: the first `flywheel run` infers one, as does `flywheel schema accept`"
        )
    else:
        console.print(schemas.table(schema, workspace.project.label))
    rules = invariants.load(workspace.folder)
    typer.echo(f"\n{len(rules) or 'no'} invariants" + (":" if rules else f"; {invariants.FILE} would hold them"))
    for rule in rules:
        tolerance = f" (in all but {rule.tolerance:.2%} of the rows)" if rule.tolerance else ""
        typer.echo(f"  {rule}{tolerance}" + (f": {rule.why}" if rule.why else ""))


@app.command("diff")
def diff(span: _Span, folder: Folder = Path(), spans: _Back = None, profile: Profile = None) -> None:
    """Show what the schema would have to say for SPAN to pass, with the evidence; nothing is written.

    Reads SPAN and the spans before it, as many as `source.window`, and proposes: new and vanished columns, types, new
    values and how many rows have them, shares of missing values, ranges of numbers, and invariants. What is needed for
    the data to pass stands apart from what is offered, as ranges to tighten. A proposal is not advice: when the data
    is wrong, mend the data.
    """
    _, found = _find(folder, span, spans, profile)
    _tell(found)
    if found.changes:
        typer.echo(f"\ntake what is needed: flywheel schema accept {span} {folder}")


@app.command("accept")
def accept(
    span: _Span,
    folder: Folder = Path(),
    features: Annotated[
        list[str],
        typer.Option("--feature", metavar="COLUMN", help="Take all that is about this column alone; again for more."),
    ] = [],  # noqa: B006 - typer copies it
    rules: Annotated[
        list[str],
        typer.Option(
            "--invariant", metavar="TEXT", help="Take this invariant, as diff shows it; again for more, or all."
        ),
    ] = [],  # noqa: B006
    tighten: Annotated[bool, typer.Option("--tighten", help="Take what is offered too, as ranges of numbers.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    spans: _Back = None,
    profile: Profile = None,
) -> None:
    """Show what diff shows, ask, and write it to schema.pbtxt (and invariants.yaml), for you to review and commit.

    By default what is needed for the data of SPAN to pass; only what is about COLUMN with --feature. Invariants are
    taken by name alone. schema.pbtxt is text that TFDV reads; comments in it are lost, the order of its columns is not.
    """
    from flywheel import schemas

    workspace, found = _find(folder, span, spans, profile)
    _tell(found)
    chosen = _chosen(found.changes, features, tighten=tighten, only=bool(features or rules))
    taken = _taken(found.proposals, rules)
    if not chosen and not taken:
        typer.echo("\nnothing to accept")
        return
    typer.echo(f"\nto be written: {len(chosen)} of {len(found.changes)} changes, {len(taken)} invariants")
    if chosen and workspace.schema.exists() and schemas.has_comments(workspace.schema.read_text("utf-8")):
        typer.echo(f"the comments in {workspace.schema.name} will be lost")
    if not yes:
        typer.confirm("accept?", abort=True)
    _write(workspace, found, chosen, taken)


@app.command("check")
def check(
    folder: Folder = Path(),
    span: Annotated[
        str | None, typer.Option("--span", metavar="SPAN", help="Span to look at.", show_default="newest with data")
    ] = None,
    data: Annotated[bool, typer.Option(help="Look at the rows of a span, too.")] = True,
    profile: Profile = None,
) -> None:
    """Hold schema.pbtxt and invariants.yaml against the project, the query and the newest data.

    Exit code 0 when they hold, 1 when they do not, 2 when a file cannot be read; so it can stand in CI, with --no-data
    where rows cost money. Bars from history are the data gate's, in `flywheel run`.
    """
    from flywheel import invariants, schemas
    from flywheel.cli.looking import checks_of, latest
    from flywheel.errors import ConfigError
    from flywheel.spans import Span
    from flywheel.workspace import Workspace

    workspace = Workspace.open(folder, profile)
    project = workspace.project
    chosen = Span.parse(span, project.source.every) if span else None
    schema = schemas.load(workspace.folder)
    if schema is None:
        raise ConfigError(
            f"there is no {workspace.schema.name} in {str(folder)!r}",
            "make one: flywheel schema accept SPAN, or let the first `flywheel run` infer it.",
        )
    newest, given = latest(workspace)
    rules = invariants.load(workspace.folder)
    wrong = schemas.problems(schema, project.label, project.columns, given, rules)
    for problem in wrong:
        typer.secho(str(problem), fg="red" if problem.blocks else "yellow")
    holds, looked = not any(problem.blocks for problem in wrong), "no data looked at"
    if data and holds:
        at = chosen or newest
        checks, broken, rows = checks_of(workspace, schema, at)
        looked = f"span {at}, {rows:,} rows"
        for found in checks:
            if found.result != "pass":
                typer.secho(f"{found.reason}\n  {found.remedy}", fg="red" if found.result == "fail" else "yellow")
        for violation in broken:
            typer.secho(f"{violation}\n  look at its source; if it need not hold, take it out.", fg="red")
        holds = not broken and all(found.result != "fail" for found in checks)
    elif data:
        looked = "the data was not looked at"
    typer.echo(
        f"{workspace.schema.name} {'holds' if holds else 'does not hold'}: "
        f"{len(schema.feature)} columns, {len(rules)} invariants, {looked}"
    )
    if not holds:
        raise typer.Exit(1)


def _find(folder: Path, span: str, spans: int | None, profile: str | None) -> tuple[Workspace, Found]:
    from flywheel.cli.looking import find
    from flywheel.spans import Span
    from flywheel.workspace import Workspace

    workspace = Workspace.open(folder, profile)
    source = workspace.project.source
    return workspace, find(workspace, Span.parse(span, source.every), spans or source.window)


def _tell(found: Found) -> None:
    """Print what was found."""
    typer.echo(f"schema.pbtxt against {found.rows:,} rows of {found.spans} spans up to {found.span}")
    _list("needed for the data to pass", [str(change) for change in found.changes if change.needed])
    _list("offered, with --tighten or --feature", [str(change) for change in found.changes if not change.needed])
    if not found.changes:
        typer.echo("  nothing to change")
    _list(f"invariants that do not hold in {found.span}", [str(violation) for violation in found.broken])
    proposed = [f"{each.invariant}  ({each.evidence})" for each in found.proposals]
    _list("invariants that these rows suggest, with --invariant", proposed)


def _list(title: str, lines: Sequence[str]) -> None:
    if lines:
        typer.echo("\n".join([f"\n{title}:", *(f"  {line}" for line in lines)]))


def _chosen(changes: Sequence[Change], features: Sequence[str], *, tighten: bool, only: bool) -> list[Change]:
    """Return the changes that were asked for.

    Raises:
        ConfigError: There is none about a column that was named.
    """
    from flywheel.errors import ConfigError

    known = {change.feature for change in changes}
    for feature in features:
        if feature not in known:
            raise ConfigError(
                f"there is nothing to change about {feature!r}",
                f"there is about {', '.join(sorted(known)) or 'no column'}.",
            )
    if only:
        return [change for change in changes if change.feature in features]
    return [change for change in changes if change.needed or tighten]


def _taken(proposals: Sequence[Proposal], rules: Sequence[str]) -> list[Proposal]:
    """Return the proposed invariants that were asked for.

    Raises:
        ConfigError: One was not proposed.
    """
    from flywheel.errors import ConfigError

    if rules == ["all"]:
        return list(proposals)
    known = {str(each.invariant): each for each in proposals}
    for rule in rules:
        if rule not in known:
            shown = "; ".join(known) or "none"
            raise ConfigError(f"the invariant {rule!r} was not proposed", f"proposed were: {shown}.")
    return [known[rule] for rule in dict.fromkeys(rules)]


def _write(workspace: Workspace, found: Found, chosen: Sequence[Change], taken: Sequence[Proposal]) -> None:
    from flywheel import invariants, schemas

    if chosen:
        schemas.write(workspace.folder, schemas.dump(schemas.apply(found.given, chosen)))
        typer.echo(f"wrote {workspace.schema}: read it, commit it")
    if taken:
        file = workspace.folder / invariants.FILE
        before = file.read_text("utf-8").rstrip("\n") + "\n" if file.exists() else ""
        text = before + invariants.dump(each.invariant for each in taken)
        invariants.parse(text)  # what is written is read back, or nothing is written
        schemas.write(workspace.folder, text, invariants.FILE)
        typer.echo(f"wrote {file}: say why each is true, commit it")
