"""`flywheel run`: the whole way of the data on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli.arguments import Folder, Overrides, Profile


def run(
    folder: Folder = Path(),
    spans: Annotated[
        list[str],
        typer.Option("--span", metavar="SPAN", help="Span to run for, as 2013-06-01; again for more, in that order."),
    ] = [],  # noqa: B006 - typer copies it
    overrides: Overrides = [],  # noqa: B006
    profile: Profile = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Steps at the same time.", show_default="cores")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live tree.")] = False,
    fail_unless_promoted: Annotated[
        bool, typer.Option("--fail-unless-promoted", help="Exit with 1 unless every run promoted its model.")
    ] = False,
) -> None:
    """Run the flywheel for one or more spans: retrain, judge, and promote what is no worse.

    Without --span it runs for the last span that is complete by the clock. A span that is done is not done again.
    Reports are kept under .flywheel/reports, everything else that a run made under .flywheel/runs.
    """
    from flywheel.cli.table import show
    from flywheel.local import Flywheel
    from flywheel.runner.progress import choose
    from flywheel.workspace import Workspace

    flywheel = Flywheel(Workspace.open(folder, profile, overrides), events=choose(plain=plain), jobs=jobs)
    flywheel.check(spans)
    rows = []
    for span in spans or [""]:
        rows.append(flywheel.run(span))
        if rows[-1].outcome == "failed":
            break
    show(rows)
    typer.echo(f"reports: {flywheel.reports}")
    failed = any(row.outcome == "failed" for row in rows)
    if failed or (fail_unless_promoted and any(row.outcome != "promoted" for row in rows)):
        raise typer.Exit(1)
