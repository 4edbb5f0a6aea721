"""`flywheel backfill`: one span after another, with the champion handed on."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.arguments import Folder, Overrides, Profile

if TYPE_CHECKING:
    from flywheel.backfill import Progress
    from flywheel.ledger import Row


def backfill(
    folder: Folder = Path(),
    first: Annotated[str, typer.Option("--from", metavar="SPAN", help="First span, as 2013-03-01.")] = "",
    last: Annotated[str, typer.Option("--to", metavar="SPAN", help="Last span.")] = "",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=1, help="Cores that a span's steps may take.", show_default="all but one, if --ahead"
        ),
    ] = None,
    ahead: Annotated[int, typer.Option("--ahead", min=0, help="Spans that are prepared before their turn.")] = 4,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    profile: Profile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One outcome a line, as JSON.")] = False,
) -> None:
    """Run every span from --from to --to in order, each against the champion that those before it left.

    The ledger is the same as if each had been run by `flywheel run`. Stop it by Ctrl-C; the same command goes on where
    it stopped, and leaves out what is done. The first span that fails ends it. While one span is judged, the models of
    the next are trained. A ledger that does not answer is waited for, ten minutes at most.
    """
    from flywheel.ahead import Ahead
    from flywheel.backfill import backfill as run_all
    from flywheel.backfill import spans_between
    from flywheel.cli.interrupts import interruptible
    from flywheel.cli.running import NOT_READY, Options
    from flywheel.errors import ConfigError
    from flywheel.ledger import Ledger
    from flywheel.local import Flywheel
    from flywheel.spans import Span
    from flywheel.workspace import Workspace

    if not first or not last:
        raise ConfigError("a backfill needs --from and --to", "flywheel backfill --from 2013-03-01 --to 2013-12-31")
    workspace = Workspace.open(folder, profile, overrides)
    every = workspace.project.source.every
    spans = spans_between(Span.parse(first, every), Span.parse(last, every))
    flywheel = Flywheel(workspace, Options(jobs=jobs or _left(ahead), quiet=True).launch)
    flywheel.check([spans[0], spans[-1]])
    began = time.monotonic()
    said = _Said(as_json, began)
    helper = Ahead(workspace, (profile, overrides), spans, ahead)
    with interruptible("the same command goes on from here."):
        progress = run_all(flywheel, Ledger(workspace.ledger), spans, helper, said)
    _summary(progress, time.monotonic() - began, as_json)
    if any(row.failed for row in progress.rows):
        raise typer.Exit(1)
    if any(row.outcome == "not-ready" for row in progress.rows):
        raise typer.Exit(NOT_READY)


def _left(ahead: int) -> int | None:
    """Return the cores that what is done ahead leaves to a span's own steps; none, and they take all."""
    from flywheel.runner.machine import find_machine

    return max(1, find_machine(None, gpus_asked=False).cores - 1) if ahead else None


class _Said:
    """Tells of each span as it ends, and how long the rest takes."""

    def __init__(self, as_json: bool, began: float) -> None:
        self._json, self._began = as_json, began

    def __call__(self, progress: Progress, row: Row | None, why: str) -> None:
        if row is None:
            typer.echo(why, err=True)
            return
        if self._json:
            typer.echo(json.dumps({"event": "Outcome", **row.to_dict(), "took": progress.seconds[-1]}))
        done = progress.total - progress.left
        left = "" if not progress.left else f"  {_clock(progress.remaining or 0)} left"
        figure = row.figures["candidate"]
        judged = "" if figure is None else f"  {row.metric} {figure:.4f}"
        version = f" v{row.version}" if row.version else ""
        line = (
            f"[{done}/{progress.total}] {row.span}  {row.outcome}{version}{judged}  {progress.seconds[-1]:.1f} s{left}"
        )
        typer.echo(line, err=True)
        if row.failed or row.outcome == "not-ready":
            typer.echo(f"  {row.unfinished or row.why}", err=True)
        sys.stderr.flush()


def _summary(progress: Progress, seconds: float, as_json: bool) -> None:
    from flywheel.cli.table import show

    if not as_json and progress.rows:
        show(progress.rows)
    counts = Counter(row.outcome or row.status for row in progress.rows)
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()) or "nothing to do"
    each = f", {seconds / len(progress.rows):.1f} s a span" if progress.rows else ""
    typer.echo(f"\n{len(progress.rows)} spans in {_clock(seconds)}{each}: {told}", err=as_json)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
