"""The `flywheel` command: wires the subcommands together and turns errors into messages and exit codes."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from flywheel.cli import (
    backfill,
    backtest,
    batch,
    by_hand,
    cache,
    compare,
    compile,
    dashboard,
    doctor,
    export,
    feedback,
    history,
    image,
    lineage,
    monitor,
    run,
    schedule,
    schema,
    select,
    serve,
    show,
    status,
    submit,
    transform,
    trigger,
    waive,
)
from flywheel.errors import FlywheelError

app = typer.Typer(
    name="flywheel",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("run")(run.run)
app.command("backfill")(backfill.backfill)
app.command("backtest")(backtest.backtest)
app.command("doctor")(doctor.doctor)
app.command("status")(status.status)
app.command("batch")(batch.batch)
app.command("serve")(serve.serve)
app.command("feedback")(feedback.feedback)
app.command("compare")(compare.compare)
app.command("select")(select.select)
app.command("monitor")(monitor.monitor)
app.command("show")(show.show)
app.command("history")(history.history)
app.command("lineage")(lineage.lineage)
app.command("dashboard")(dashboard.dashboard)
app.command("export")(export.export)
app.command("waive")(waive.waive)
app.command("approve")(by_hand.approve)
app.command("promote")(by_hand.promote)
app.command("rollback")(by_hand.rollback)
app.command("freeze")(by_hand.freeze)
app.command("unfreeze")(by_hand.unfreeze)
app.command("compile")(compile.compile)
app.command("submit")(submit.submit)
app.command("trigger")(trigger.trigger)
app.add_typer(schedule.app, name="schedule")
app.add_typer(schema.app, name="schema")
app.add_typer(image.app, name="image")
app.add_typer(transform.app, name="transform")
app.add_typer(cache.app, name="cache")


def _print_version(asked: bool) -> None:
    if asked:
        from flywheel import __version__

        typer.echo(f"flywheel {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Continuous training: retrain, judge, promote, serve, and start again.

    Exit codes: 0 an outcome was reached, 1 a step failed, 2 wrong input, 3 the data of the span has not arrived: try
    later, 130 interrupted.
    """


def main() -> None:
    """Run the command line; every error that a user can mend is shown by its message alone."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Who waits at a terminal hears of a dead server in seconds; a step on a cluster gives it the time to come back
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    try:
        app()
    except FlywheelError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader, say `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        wrong_path = isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError | PermissionError)
        remedy = "give a path that can be used." if wrong_path else "mend that, then run the same command again."
        where = f": {error.filename!r}" if error.filename else ""
        typer.secho(f"error: {error.strerror or error}{where}\n  {remedy}", fg="red", err=True)
        sys.exit(2 if wrong_path else 1)


if __name__ == "__main__":
    main()
