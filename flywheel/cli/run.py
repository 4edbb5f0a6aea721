"""`flywheel run`: a flywheel, or any compiled pipeline, on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.arguments import Overrides, Profile
from flywheel.errors import ConfigError

if TYPE_CHECKING:
    from flywheel.cli.running import Options


def run(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|PIPELINE.yaml",
            help="Folder that holds flywheel.yaml, or a pipeline that kfp compiled.",
            show_default="this folder",
        ),
    ] = Path(),
    spans: Annotated[
        list[str],
        typer.Option("--span", metavar="SPAN", help="Span to run for, as 2013-06-01; again for more, in that order."),
    ] = [],  # noqa: B006 - typer copies it
    parameters: Annotated[
        list[str], typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="Argument of a compiled pipeline.")
    ] = [],  # noqa: B006
    overrides: Overrides = [],  # noqa: B006
    profile: Profile = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Cores that steps may take.", show_default="all")
    ] = None,
    cache: Annotated[bool, typer.Option(help="Take results of earlier, equal steps.")] = True,
    resume: Annotated[
        str,
        typer.Option("--resume", metavar="RUN", help="Go on with a run as it began: its id, or latest."),
    ] = "",
    start: Annotated[str, typer.Option("--from", metavar="TASK", help="Rerun the latest run from this task on.")] = "",
    only: Annotated[str, typer.Option("--only", metavar="TASK", help="Rerun this task of the latest run alone.")] = "",
    debug: Annotated[
        str, typer.Option("--debug", metavar="TASK", help="Run this task in this process, with pdb when it fails.")
    ] = "",
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live tree.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One event a line, as JSON.")] = False,
    fail_unless_promoted: Annotated[
        bool, typer.Option("--fail-unless-promoted", help="Exit with 1 unless every run promoted its model.")
    ] = False,
) -> None:
    """Run the flywheel for one or more spans: retrain, judge, and promote what is no worse.

    Without --span it runs for the last span whose data has arrived: complete by the clock and `source.grace`, and
    before `source.watermark`. A span that is done is not done again; one whose data has not arrived gives exit code 3.
    Reports are kept under .flywheel/reports, everything else that a run made under .flywheel/runs.
    """
    from flywheel.cli.interrupts import interruptible
    from flywheel.cli.running import Options

    options = Options(jobs, cache, resume, start, only, debug, plain, as_json)
    with interruptible(options.goes_on):
        code = _run(target, spans, parameters, overrides, profile, options, fail_unless_promoted)
    if code:
        raise typer.Exit(code)


def _run(
    target: Path,
    spans: list[str],
    parameters: list[str],
    overrides: list[str],
    profile: str | None,
    options: Options,
    fail_unless_promoted: bool,
) -> int:
    """Run what `target` is; return the exit code."""
    from flywheel.cli.running import run_flywheel, run_pipeline

    if target.is_file():
        _refuse("a compiled pipeline", {"--span": spans, "--set": overrides, "--profile": profile})
        _refuse("a compiled pipeline", {"--fail-unless-promoted": fail_unless_promoted})
        return int(not run_pipeline(target, parameters, options))
    _refuse("a flywheel", {"--parameter": parameters})
    return run_flywheel(target, spans, overrides, profile, options, fail_unless_promoted=fail_unless_promoted)


def _refuse(what: str, options: Mapping[str, object]) -> None:
    """Refuse options that mean nothing for what is run, rather than overlook them."""
    for name, value in options.items():
        if value:
            raise ConfigError(f"{name} means nothing for {what}", "leave it out; `flywheel run --help` says what does.")
