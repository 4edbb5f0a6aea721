"""The `flywheel` command: wires the subcommands together and turns errors into messages and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
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
    init,
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
from flywheel.cli.app import App
from flywheel.errors import FlywheelError

_COMMANDS: Mapping[str, Mapping[str, Callable[..., None] | App]] = {
    "Train": {
        "init": init.init,
        "run": run.run,
        "backfill": backfill.backfill,
        "backtest": backtest.backtest,
        "doctor": doctor.doctor,
    },
    "Look": {
        "status": status.status,
        "show": show.show,
        "history": history.history,
        "lineage": lineage.lineage,
        "dashboard": dashboard.dashboard,
        "export": export.export,
    },
    "Decide by hand": {
        "waive": waive.waive,
        "approve": by_hand.approve,
        "promote": by_hand.promote,
        "rollback": by_hand.rollback,
        "freeze": by_hand.freeze,
        "unfreeze": by_hand.unfreeze,
    },
    "Serve, and watch what is served": {
        "serve": serve.serve,
        "batch": batch.batch,
        "monitor": monitor.monitor,
        "compare": compare.compare,
        "select": select.select,
        "feedback": feedback.feedback,
    },
    "On a cluster": {
        "compile": compile.compile,
        "submit": submit.submit,
        "trigger": trigger.trigger,
        "schedule": schedule.app,
        "image": image.app,
    },
    "Data, features and what is kept": {
        "schema": schema.app,
        "transform": transform.app,
        "cache": cache.app,
    },
}
app = App(name="flywheel", pretty_exceptions_enable=False, add_completion=False)
for _panel, _commands in _COMMANDS.items():
    for _name, _command in _commands.items():
        if isinstance(_command, App):
            app.add_typer(_command, name=_name, rich_help_panel=_panel)
        else:
            app.command(_name, rich_help_panel=_panel)(_command)


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

    Every command takes its folder by --in FOLDER; most also as their last argument.

    Exit codes: 0 an outcome was reached, 1 a step failed or something is not there yet, 2 wrong input, 3 the data of
    the span has not arrived: try later, 4 an alert of monitor, 130 interrupted.
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
