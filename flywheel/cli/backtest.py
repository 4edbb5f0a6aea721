"""`flywheel backtest`: which retraining policy is worth its trainings, replayed on the project's own history."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.arguments import Folder, Overrides, Profile

if TYPE_CHECKING:
    from flywheel.backtest import Comparison, Line
    from flywheel.config import Retrain

_DEFAULT = ("always", "every=7d", "every=28d", "on_decay,cooldown=7d,max_age=28d", "never")
_SECONDS = 20.0
_HELP_POLICY = (
    "NAME[=VALUE][,SETTING=VALUE…]: always, never, every=7d, on_drift, on_decay=0.01, cost_aware=0.02,max_age=28d, "
    "function=module:name. May be given again; the first is what others are compared with."
)


def backtest(
    folder: Folder = Path(),
    first: Annotated[str, typer.Option("--from", metavar="SPAN", help="First span, as 2013-03-01.")] = "",
    last: Annotated[str, typer.Option("--to", metavar="SPAN", help="Last span.")] = "",
    policies: Annotated[list[str], typer.Option("--policy", metavar="POLICY", help=_HELP_POLICY)] = [],  # noqa: B006
    ungated: Annotated[
        list[str], typer.Option("--ungated", metavar="POLICY", help="A policy without gates; may be given again.")
    ] = [],  # noqa: B006
    windows: Annotated[
        list[int], typer.Option("--window", metavar="N", help="Spans to train on; may be given again.")
    ] = [],  # noqa: B006
    truth: Annotated[
        str,
        typer.Option(
            help="Warehouse with the rows that models in service met, where the project's has others: faults that "
            "were injected, or rows that were lost."
        ),
    ] = "",
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Cores that steps may take.", show_default="all")
    ] = None,
    out: Annotated[Path, typer.Option(help="HTML report.")] = Path("backtest.html"),
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    profile: Profile = None,
    as_json: Annotated[bool, typer.Option("--json", help="The lines as JSON.")] = False,
) -> None:
    """Replay history under several retraining policies: quality of the model in service against trainings spent.

    The data gate looks at each span once, models are trained and asked by the project's own steps, each span and window
    once, and all is kept in .flywheel/backtest: stop it by Ctrl-C, and the same command goes on. By default it compares
    always, every=7d, every=28d, on_decay with a cooldown and a max_age, cost_aware as flywheel.yaml has it, and never,
    with the window of flywheel.yaml.
    """
    import functools

    from flywheel.backfill import spans_between
    from flywheel.backtest import Bench, Replayed, compared, replay
    from flywheel.backtest.bench import spans_needed
    from flywheel.backtest.data import judged
    from flywheel.backtest.report import render
    from flywheel.cli.looking import import_tfdv
    from flywheel.cli.running import Options
    from flywheel.config.metrics import HEADLINE, better
    from flywheel.errors import ConfigError
    from flywheel.local import Flywheel
    from flywheel.spans import Span
    from flywheel.steps.weigh import decide
    from flywheel.workspace import Workspace

    if not first or not last:
        raise ConfigError("a backtest needs --from and --to", "flywheel backtest --from 2013-03-01 --to 2013-12-31")
    workspace = Workspace.open(folder, profile, overrides)
    project = workspace.project
    if project.train.warm_start:
        raise ConfigError(
            "a backtest starts every model cold, since policies share them; flywheel.yaml has `train.warm_start: true`",
            "replay cold models: --set train.warm_start=false",
        )
    every, metric = project.source.every, HEADLINE[project.task]
    lines = _lines(policies, ungated, windows or [project.source.window], project.retrain)
    start, end = Span.parse(first, every), Span.parse(last, every)
    spans = spans_between(start, end)
    needed = spans_needed(start, end, max(line.window for line in lines), project.source.judge)
    Flywheel(workspace).check([spans[0], spans[-1]])
    there = workspace.resolve(truth) if truth else ""
    began, say = time.monotonic(), functools.partial(typer.echo, err=True)
    bench = Bench(workspace, needed, there, launch=Options(jobs=jobs, quiet=True).launch)
    data = None
    if any(line.gated or line.retrain.policy in ("on_drift", "function") for line in lines):
        say(f"the data gate looks at {len(needed)} spans, {needed[0]} to {needed[-1]}")
        with redirect_stdout(sys.stderr):  # what a step says in its log is not what this command answers
            data = judged(workspace, needed, bench.root, import_tfdv)
        say(f"it would have kept out {len(data.bad)}: {', '.join(sorted(data.bad)) or 'none'}")
    asked = functools.partial(decide, code=Path(workspace.pack()))
    found: list[Replayed] = []
    for number, line in enumerate(lines, 1):
        say(f"[{number}/{len(lines)}] {line}")
        found.append(replay(line, spans, bench, data, asked, _Told(say, len(spans))))
        rejected = f", {len(found[-1].rejected)} rejected" if found[-1].rejected else ""
        say(
            f"    {len(found[-1].trained)} trainings, {len(found[-1].promoted)} promotions{rejected}; "
            f"{bench.trained} models so far, {time.monotonic() - began:.0f} s"
        )
    rows = compared(found, every, better(metric, project.task))
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    partial.write_text(render(project.name, metric, found, rows), encoding="utf-8")
    partial.replace(out)
    _show(rows, metric, as_json)
    say(f"report: {out}")


def _lines(policies: list[str], ungated: list[str], windows: list[int], own: Retrain) -> list[Line]:
    """Return every policy with every window.

    Raises:
        ConfigError: One is none.
    """
    from pydantic import ValidationError

    from flywheel.backtest import Line
    from flywheel.config import Retrain
    from flywheel.errors import ConfigError

    if min(windows) < 1:
        raise ConfigError(f"--window {min(windows)} is no window", "give a number of spans, 1 or more.")
    texts = policies or ([] if ungated else [*_DEFAULT, _cost_aware(own)])
    found = []
    for gated, asked in ((True, texts), (False, ungated)):
        for text in asked:
            try:
                retrain = Retrain.parse(text)
            except ValueError as error:
                why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
                raise ConfigError(
                    f"--policy {text!r}: {why}", "write it as every=7d or cost_aware=0.02,max_age=28d."
                ) from None
            found += [Line(retrain, window, gated) for window in windows]
    return found


def _cost_aware(own: Retrain) -> str:
    return str(own) if own.policy == "cost_aware" else "cost_aware=0.02"


class _Told:
    """Says how far a line is, now and then."""

    def __init__(self, say: Callable[[str], None], total: int) -> None:
        self._say, self._total, self._done, self._last = say, total, 0, time.monotonic()

    def __call__(self, span: str, what: str) -> None:
        self._done += 1
        if time.monotonic() - self._last > _SECONDS:
            self._last = time.monotonic()
            self._say(f"    {self._done} of {self._total}: {span} {what}")


def _show(rows: list[Comparison], metric: str, as_json: bool) -> None:
    from rich.table import Table

    from flywheel.backtest.report import as_row
    from flywheel.cli.table import show_whole

    if as_json:
        known = [{**asdict(row), "line": str(row.line)} for row in rows]
        typer.echo(json.dumps([{key: _finite(value) for key, value in row.items()} for row in known]))
        return
    told = [as_row(row, metric) for row in rows]
    table = Table(box=None, pad_edge=False)
    for name in told[0]:
        table.add_column(name, justify="left" if name in ("line", "dominated by") else "right")
    for row in told:
        table.add_row(*(str(value) for value in row.values()))
    show_whole(table)


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
