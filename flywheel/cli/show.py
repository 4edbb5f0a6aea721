"""`flywheel show`: what became of a span, or of a pipeline run, task by task."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.arguments import Profile

if TYPE_CHECKING:
    from flywheel.ledger import Ledger, Row
    from flywheel.runner import Result
    from flywheel.spans import Every


def show(
    what: Annotated[
        str, typer.Argument(metavar="[SPAN|RUN]", help="Span of the folder's flywheel, id of a run, or latest.")
    ] = "latest",
    folder: Annotated[Path, typer.Option("--in", help="Folder that holds flywheel.yaml, or .flywheel.")] = Path(),
    task: Annotated[str, typer.Option("--log", metavar="TASK", help="Print the whole log of this task.")] = "",
    profile: Profile = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
) -> None:
    """Show a span: each run for it, what every gate said and which checks did not pass; or a run, task by task.

    A run shows the state of each task, how long it took, and why it failed; --log prints what a task wrote. With a
    span, --log takes the task of its last run here.
    """
    from flywheel.config import FILE
    from flywheel.runner import list_runs

    runs = {run.id for run in list_runs(folder / ".flywheel")}
    if what == "latest" or what in runs or not (folder / FILE).exists():
        _show_run(what, folder, task, as_json)
    else:
        _show_span(what, folder, task, profile, as_json)


def _show_run(run: str, folder: Path, task: str, as_json: bool) -> None:
    import json

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from flywheel.runner import show as look
    from flywheel.runner.progress import is_branch, shown

    result = look(run, root=folder / ".flywheel")
    if task:
        _print_log(result, task)
        return
    steps = {name: found for name, found in result.tasks.items() if not is_branch(name)}
    if as_json:
        told = [
            {
                "task": shown(name, result.titles),
                "state": step.state,
                "seconds": step.seconds,
                "cpu": step.cpu,
                "error": str(step.error or "") or None,
            }
            for name, step in steps.items()
        ]
        typer.echo(json.dumps({"run": result.id, "status": result.status, "seconds": result.seconds, "tasks": told}))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("task", "state", "seconds", "why"):
        table.add_column(title, justify="right" if title == "seconds" else "left", overflow="fold")
    for name, step in steps.items():
        seconds = f"{step.seconds:.1f}" if step.seconds else ""
        table.add_row(shown(name, result.titles), step.state, seconds, escape(str(step.error or "")))
    console = Console(highlight=False)
    console.print(table)
    console.print(f"\nrun {result.id}: {result.status} in {result.seconds:.1f} s\n{result.folder}", soft_wrap=True)


def _print_log(result: Result, task: str) -> None:
    from flywheel.errors import ConfigError, meant
    from flywheel.runner.progress import is_branch, shown

    named = {title: name for name, title in result.titles.items()}
    try:
        log = result.tasks[named.get(task, task)].log
    except KeyError:
        found = [shown(name, result.titles) for name in result.tasks if not is_branch(name)]
        raise ConfigError(
            f"run {result.id} has no one task {task!r}", f"{meant(task, found)}there are {', '.join(found)}."
        ) from None
    typer.echo(log.read_text(errors="replace") if log else "", nl=False)


def _show_span(what: str, folder: Path, task: str, profile: str | None, as_json: bool) -> None:
    import json

    from flywheel.errors import ConfigError
    from flywheel.ledger import Ledger
    from flywheel.spans import Span
    from flywheel.workspace import Workspace

    workspace = Workspace.open(folder, profile)
    name = workspace.project.name
    try:
        span = Span.parse(what, workspace.project.source.every).name
    except ConfigError as error:
        raise ConfigError(f"{what!r} is no run of this folder, and no span: {error.message}", error.remedy) from None
    ledger = Ledger(workspace.ledger)
    rows = ledger.rows(name, span=span)
    if not rows:
        known = sorted({row.span for row in ledger.rows(name)})
        there = f"it ran for {known[0]} to {known[-1]}" if known else "it never ran"
        raise ConfigError(f"{name} has no run for span {span}: {there}", f"flywheel run {folder} --span {span}")
    here = _runs_here(workspace.state)
    if task:
        found = [here[row.job] for row in rows if row.job in here]
        if not found:
            raise ConfigError(f"no run for span {span} was made in this folder", "its logs are where it ran.")
        _show_run(found[-1], folder, task, as_json=False)
    elif as_json:
        for row in rows:
            verdicts = {gate: ledger.verdict(row.run, gate).to_dict() for gate in row.decisions}
            typer.echo(json.dumps(row.to_dict() | {"verdicts": verdicts, "pipeline_run": here.get(row.job)}))
    else:
        for row in rows:
            _print_row(ledger, row, here.get(row.job, ""), workspace.project.source.every)
        reports = workspace.state / "reports" / span
        if reports.is_dir():
            typer.echo("reports: " + " ".join(str(path) for path in sorted(reports.glob("*.html"))))


def _runs_here(state: Path) -> dict[str, str]:
    """Return the ids of this folder's pipeline runs by the job that the ledger knows them by."""
    from flywheel.runner import list_runs

    return {str(run.info().get("job", "")): run.id for run in list_runs(state)}


def _print_row(ledger: Ledger, row: Row, run: str, every: Every) -> None:
    from rich.console import Console

    bad = ledger.verdict(row.run, "data").facts.get("left_out", {}) if "data" in row.decisions else {}
    console = Console(highlight=False, soft_wrap=True)
    taken = "" if row.seconds is None else f", {row.seconds:.1f} s"
    version = f" v{row.version}" if row.version else ""
    console.print(f"[bold]{row.span}[/]  {row.outcome or row.status}{version}  {row.started:%Y-%m-%d %H:%M} UTC{taken}")
    console.print(f"  {row.why}" + (f"\n  unfinished: {row.unfinished}" if row.unfinished else ""), markup=False)
    facts = {
        "trained on": _spans(row, "window", bad, every),
        "judged on": _spans(row, "judge", bad, every),
        "against": f"version {number}" if (number := row.tags.get("flywheel.champion", "")) else "no champion",
        "challenger": f"version {number}" if (number := row.tags.get("flywheel.challenger", "")) else "",
        "code": row.tags.get("flywheel.code", ""),
        "pipeline run": run,
        "MLflow run": row.run,
    }
    for name, value in facts.items():
        if value:
            console.print(f"  {name}: {value}", markup=False, style="dim")
    for gate, said in row.decisions.items():
        console.print(f"  gate {gate}: {'passed' if said.ok else 'kept back'}: {said.why}", markup=False)
        for check in ledger.verdict(row.run, gate).checks:
            if check.result != "pass":
                where = f" [{check.slice}]" if check.slice else ""
                console.print(f"    {check.result}: {check.name}{where}: {check.reason}", markup=False)
    if row.metric:
        given = [f"{name} {value:.4f}" for name, value in row.figures.items() if value is not None]
        console.print(f"  {row.metric}: " + ", ".join(given), markup=False)


def _spans(row: Row, part: str, bad: Collection[str], every: Every) -> str:
    """Return how many spans a row's window or judge has, from which to which, and which in between are bad."""
    from flywheel.backfill import spans_between
    from flywheel.spans import Span, counted, listed

    first, _, last = row.tags.get(f"flywheel.{part}", "").partition(" to ")
    if not first:
        return ""
    spans = spans_between(Span.parse(first, every), Span.parse(last or first, every))
    over = [span for span in spans if span in bad]
    without = f"; without {len(over)} bad in between, {listed(over)}" if over else ""
    return counted([span for span in spans if span not in bad]) + without
