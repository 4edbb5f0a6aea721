"""What a flywheel reads and keeps: its files, the warehouse, the ledger."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flywheel.doctor.finding import Finding
from flywheel.workspace import Workspace

_BRIEF = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
_SQLITE = "sqlite:///"


def check_files(workspace: Workspace) -> Iterator[Finding]:
    """Yield one finding: the files that flywheel.yaml names, without importing or running any."""
    workspace.query()
    workspace.labels_query()
    workspace.check_trainer()
    named = f"{workspace.project.source.query} and {workspace.project.train.trainer}"
    yield Finding("files", "ok", f"flywheel.yaml, {named} are there")


def check_warehouse(workspace: Workspace) -> Iterator[Finding]:
    """Yield one finding: the columns of the query, by a dry run at BigQuery, which is free, or a look at the files."""
    from flywheel import warehouse as warehouses

    source = workspace.project.source
    with warehouses.open(workspace.warehouse, warehouses.Options.of(source.for_steps())) as rows:
        given = rows.schema(workspace.query()).names
    missing = [name for name in workspace.project.columns if name not in given]
    if missing:
        found = f"{source.query} gives no column {', '.join(map(repr, missing))}; it gives {', '.join(given)}"
        yield Finding("warehouse", "fail", found, f"select it in {source.query}, or mend its name in flywheel.yaml.")
        return
    yield Finding("warehouse", "ok", f"{source.warehouse} gives the {len(given)} columns of {source.query}")


def check_ledger(workspace: Workspace) -> Iterator[Finding]:
    """Yield one finding: whether MLflow answers; a SQLite file that is not there is not made."""
    from flywheel.ledger import Ledger

    uri = workspace.ledger
    file = Path(uri.removeprefix(_SQLITE))
    if uri.startswith(_SQLITE) and not file.exists():
        above = next(folder for folder in file.parents if folder.exists())
        if not (above.is_dir() and os.access(above, os.W_OK)):
            yield Finding("ledger", "fail", f"{file} cannot be made: {str(above)!r} is no folder to write to",
                          "mend ledger.tracking_uri in flywheel.yaml, or make that folder.")  # fmt: skip
            return
        yield Finding("ledger", "ok", f"{file} is made by the first run")
        return
    with _briefly():
        ledger = Ledger(uri)
        runs = len(ledger.rows(workspace.project.name))
        champion = ledger.champion(workspace.project.name)
    serves = f"champion is version {champion.version}" if champion else "no champion yet"
    yield Finding("ledger", "ok", f"MLflow has {runs} run{'s' * (runs != 1)} of {workspace.project.name}, {serves}")


@contextmanager
def _briefly() -> Iterator[None]:
    """Let MLflow's client give up soon: whoever asks a doctor is waiting."""
    before = {name: os.environ.get(name) for name in _BRIEF}
    os.environ.update(_BRIEF)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
