"""Bring a SQLite ledger that an older MLflow made to the schema of this one, by MLflow's own migrations, on a copy.

MLflow itself migrates such a file in place as soon as it opens it, and keeps nothing; so this comes first.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from flywheel.errors import LedgerError
from flywheel.ledger.store import locked
from flywheel.say import say


def ensure_current(file: Path) -> None:
    """Migrate the store in `file` unless it is current; what it was stays beside it as `<file>.before-<revision>`.

    The migrations run on a copy that takes the place of the file when it is whole: a killed process leaves the old one.
    Of processes at once, one migrates and the others find it done. What MLflow takes for current takes it a while to
    find out, so that is noted beside the file; where it may not be written, nothing is migrated and MLflow has its say.

    Raises:
        LedgerError: It was made by a newer MLflow, or a migration failed; the file is as it was.
    """
    if is_current(file):
        return
    with suppress(PermissionError), locked(file.with_name(f".{file.name}.lock")):
        _migrate(file)
        noted = _note(file)
        partial = noted.with_name(f"{noted.name}.{os.getpid()}")
        partial.write_text(_current(file))
        partial.replace(noted)


def is_current(file: Path) -> bool:
    """Return whether there is a store in `file` that is noted to have the schema of this MLflow."""
    noted = _note(file)
    return noted.exists() and noted.read_text() == _current(file)


def _note(file: Path) -> Path:
    return file.with_name(f".{file.name}.schema")


def _current(file: Path) -> str:
    from mlflow.version import VERSION

    return f"{VERSION} {_revision(file)}"


def _migrate(file: Path) -> None:
    from mlflow.store.db.utils import _get_latest_schema_revision, _upgrade_db
    from sqlalchemy import create_engine

    found = _revision(file)
    if found == _get_latest_schema_revision():
        return
    kept, partial = file.with_name(f"{file.name}.before-{found}"), file.with_name(f".{file.name}.migrated")
    try:
        _copy(file, partial)
        engine = create_engine(f"sqlite:///{partial}")
        try:
            _upgrade_db(engine)
        finally:
            engine.dispose()
    except Exception as error:  # whatever alembic and SQLite raise
        partial.unlink(missing_ok=True)
        first = str(error).splitlines()[0]
        raise LedgerError(
            f"the ledger {str(file)!r} has schema {found}, which this MLflow cannot migrate: {first}",
            f"install the MLflow that made it, or `mlflow db upgrade sqlite:///{file}` on a copy; nothing was changed.",
        ) from error
    if not kept.exists():
        os.link(file, kept)
    partial.replace(file)
    say(f"the ledger was made by an older MLflow and is migrated; as it was it lies in {kept.name}")


def _revision(file: Path) -> str:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=20)) as connection:
        found = connection.execute("select version_num from alembic_version").fetchone()
    return str(found[0]) if found else ""


def _copy(file: Path, into: Path) -> None:
    """Copy a store with what others have committed until now."""
    into.unlink(missing_ok=True)
    with closing(sqlite3.connect(file, timeout=20)) as source, closing(sqlite3.connect(into)) as target:
        source.backup(target)
