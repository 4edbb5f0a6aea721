"""`flywheel compare`: two versions that were in service side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.arguments import Overrides, Profile

if TYPE_CHECKING:
    import pyarrow as pa


def compare(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="Version in service.")],
    second: Annotated[str, typer.Argument(metavar="SECOND", help="Version that is to be better.")],
    folder: Annotated[Path, typer.Option("--in", help="Folder of flywheel.yaml.", show_default="this")] = Path(),
    start: Annotated[str, typer.Option("--from", metavar="SPAN", help="First span of the experiment.")] = "",
    until: Annotated[
        str, typer.Option("--until", metavar="SPAN", help="Last span.", show_default="the newest with requests")
    ] = "",
    outcome: Annotated[
        str, typer.Option(help="error of the predictions (less is better), or label (more is better).")
    ] = "error",
    share: Annotated[
        float, typer.Option(help="Share of the requests that SECOND was meant to get.", min=0.01, max=0.99)
    ] = 0.5,
    planned: Annotated[
        int, typer.Option(help="Rows at which the interval is narrowest; choose it once, before looking.", min=100)
    ] = 10_000,
    alpha: Annotated[float, typer.Option(help="Chance to call no difference one.", min=0.0001, max=0.5)] = 0.05,
    profile: Profile = None,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
) -> None:
    """Hold the logged outcomes of two versions against each other: an A/B test that may be looked at every day.

    First come the shares of the requests: when they are not those that were meant, nothing else is to be believed. Then
    the difference with an interval that holds at all looks together, so one may stop when it is clear of zero.
    Rows are taken as independent: when a user asks often, let the request's id be the user's and log one row of each.
    """
    from flywheel.errors import ConfigError
    from flywheel.monitoring import log as logs
    from flywheel.monitoring.experiment import OUTCOMES, render
    from flywheel.monitoring.experiment import compare as held
    from flywheel.spans import Span
    from flywheel.warehouse import Options
    from flywheel.warehouse import open as open_warehouse
    from flywheel.workspace import Workspace

    here = Workspace.open(folder, profile, overrides)
    project, labels, requests = here.project, here.labels_query(), here.logged()
    if outcome not in OUTCOMES:
        raise ConfigError(f"--outcome {outcome!r} is unknown", f"use {' or '.join(OUTCOMES)}.")
    if not labels or not requests:
        raise ConfigError("outcomes need `monitor.labels` and `deploy.log`", "give both in flywheel.yaml.")
    every = project.source.every
    last = Span.parse(until, every) if until else logs.newest_span(Path(requests), every)
    began = Span.parse(start, every) if start else last.shift(1 - project.monitor.spans)
    if last < began:
        raise ConfigError(f"--from {began} is after {last}", "give the earlier span there.")
    spans = [began]
    while spans[-1] < last:
        spans.append(spans[-1].shift(1))
    source = project.source.for_steps()

    def arrived() -> Iterator[pa.RecordBatch]:
        with open_warehouse(here.warehouse, Options.of(source)) as warehouse:
            for span in spans:
                yield from warehouse.batches(labels, span)

    settings, versions = project.monitor.model_dump(mode="json"), (first, second)
    with logs.Log.of_folder(Path(requests), spans) as log:
        how = {"outcome": outcome, "share": share, "alpha": alpha, "planned": planned}
        found = held(log, arrived(), settings, project.task, project.label, versions, **how)  # type: ignore[arg-type]
    report = here.state / "reports" / "experiments" / f"{first}-{second}.html"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(render(found, project.name), encoding="utf-8")
    for check in found.verdict.checks:
        typer.secho(f"{check.name}: {check.reason or 'as meant'}", fg="red" if check.result == "fail" else None)
    typer.echo(f"report: {report}")
