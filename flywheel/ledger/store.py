"""Reach MLflow: make a fresh SQLite store once, and turn whatever goes wrong into one clear error."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from flywheel.errors import LedgerError

OPENED = "FLYWHEEL_LEDGER"
"""Environment variable with the tracking URI of a ledger that is opened before steps are forked: see `opened`."""
_SQLITE = "sqlite:///"
_ATTEMPTS = 3
_CAUSE = re.compile(r"\(Caused by \w+\([\"'](?:[^\"']*\): )?(.*)[\"']\)\)$")
_FULL = ("disk is full", *(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)))


class Missing(LedgerError):
    """MLflow knows no such run, model, version or alias."""


class Exists(LedgerError):
    """MLflow has one of that name already."""


class Client:
    """MLflow's client for one tracking URI; every call either works or raises a LedgerError.

    Args:
        tracking_uri: MLflow server, or `sqlite:///file.db`; a SQLite store that is not there is made.
        sleep: Called with seconds between attempts.

    Raises:
        LedgerError: There is no ledger at `tracking_uri`, or none that can be used.
    """

    def __init__(self, tracking_uri: str, sleep: Callable[[float], object] = time.sleep) -> None:
        self.uri, self.artifacts, self._sleep = tracking_uri, None, sleep
        if tracking_uri.startswith("sqlite:"):
            file = sqlite_file(tracking_uri)
            ensure_sqlite(file)
            self.uri, self.artifacts = f"{_SQLITE}{file}", artifacts_beside(file)
        from flywheel.ledger.engine import MlflowClient
        from flywheel.ledger.migrate import ensure_current

        if tracking_uri.startswith("sqlite:"):
            ensure_current(file)
        with reported(tracking_uri):
            self._client = MlflowClient(self.uri, self.uri)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self._client, name)

        def call(*args: Any, **options: Any) -> Any:
            return self._call(method, *args, **options)

        return call

    def download(self, artifact_uri: str, into: Path | None = None) -> Path:
        """Copy a folder of artifacts below `into` and return where; without it, copy only what is not local already.

        Raises:
            OSError: The disk of `into` is full.
            LedgerError: The artifacts cannot be had.
        """
        from flywheel.ledger.engine import mlflow

        if artifact_uri.startswith("models:/"):  # MLflow would look for it in a registry that it knows from elsewhere
            name, version = artifact_uri.removeprefix("models:/").split("/")
            artifact_uri = self._call(self._client.get_model_version_download_uri, name, version)
        options = {"artifact_uri": artifact_uri, "tracking_uri": self.uri}
        if into is not None:
            options["dst_path"] = str(into)
        try:
            return Path(self._call(mlflow.artifacts.download_artifacts, **options))
        except _Full as error:  # it is not the ledger's disk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(into)) from error

    def _call(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with reported(self.uri):
                    return method(*args, **options)
            except _Busy:
                if attempt == _ATTEMPTS:
                    raise
                self._sleep(0.5 * attempt)
        raise AssertionError("the last attempt returns or raises")


class _Busy(LedgerError):
    """The store was locked for longer than it waits."""


class _Full(LedgerError):
    """A disk is full."""


@contextmanager
def reported(uri: str) -> Iterator[None]:
    """Raise what MLflow raises in the block as a LedgerError that says what to do.

    Raises:
        LedgerError: Always instead of MLflow's, SQLite's and the network's own exceptions.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from flywheel.ledger.engine import MlflowException

    try:
        yield
    except MlflowException as error:
        raise _translate(without_secrets(uri), error.error_code, str(error)) from error
    except (OSError, ImportError, SQLAlchemyError) as error:  # no network, no driver for the database, no database
        raise _translate(without_secrets(uri), "", str(error)) from error


def _translate(uri: str, code: str, text: str) -> LedgerError:
    first = text.strip().splitlines()[0] if text.strip() else code
    if cause := _CAUSE.search(first):  # of what requests and urllib3 wrap in each other
        first = cause[1]
    if code == "RESOURCE_DOES_NOT_EXIST" or ("alias" in first and "not found" in first):
        return Missing(first, f"look into the ledger at {uri}: was it removed there?")
    if code == "RESOURCE_ALREADY_EXISTS":
        return Exists(first, f"look into the ledger at {uri}.")
    if "database is locked" in text:
        return _Busy(f"the ledger at {uri} stayed locked", "wait until other runs are done, and run again.")
    if any(sign in text for sign in _FULL):
        return _Full(f"the disk of the ledger at {uri} is full", "free some space and run again.")
    if "readonly database" in text or "Permission denied" in text:
        return LedgerError(f"the ledger at {uri} may not be written to", "give yourself write access to its folder.")
    if "out-of-date database schema" in text:
        return LedgerError(
            f"the ledger at {uri} was made by another version of MLflow",
            f"make a copy of it, then run `mlflow db upgrade {uri}`.",
        )
    return LedgerError(
        f"the ledger at {uri} does not answer as it should: {first}",
        "check `ledger.tracking_uri` in flywheel.yaml, and that the MLflow server is up.",
    )


def without_secrets(uri: str) -> str:
    """Return `uri` without the user and password that may stand in it."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if not uri.startswith("sqlite:") else uri


def sqlite_file(uri: str) -> Path:
    """Return the absolute path of the file that a `sqlite:` URI names.

    Raises:
        LedgerError: It names none, as `sqlite://` or `:memory:`, or one that MLflow cannot open.
    """
    name = uri.removeprefix(_SQLITE)
    if name == uri or name in ("", ":memory:"):
        raise LedgerError(f"{uri!r} names no SQLite file", "write it as sqlite:////folder/mlflow.db.")
    if set(name) & set("%?"):  # SQLAlchemy reads them as escapes and options, MLflow as they stand
        raise LedgerError(
            f"MLflow cannot open {name!r}: its path has a % or ?",
            "rename the folder, or name another file in `ledger.tracking_uri`.",
        )
    return Path(name).absolute()


def artifacts_beside(file: Path) -> str:
    """Return the URI of the folder that holds the artifacts of the SQLite store `file`."""
    return file.with_name("mlartifacts").as_uri()


def ensure_sqlite(file: Path) -> None:
    """Make an MLflow store in `file` unless there is one; of processes at once, one makes it and the others wait.

    It is made under another name and renamed when it is whole: a killed process leaves none that is half made.

    Raises:
        LedgerError: `file` is something else, or cannot be written.
    """
    try:
        if not _is_store(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            with locked(file.with_name(f".{file.name}.lock")):
                if not _is_store(file):
                    _make(file)
    except OSError as error:
        raise LedgerError(
            f"no ledger can be made in {str(file)!r}: {error.strerror}", "give a file that you may write to."
        ) from error


def _is_store(file: Path) -> bool:
    if not file.exists() or file.stat().st_size == 0:
        return False
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=20)) as connection:
            tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
    except sqlite3.Error as error:
        raise LedgerError(
            f"{str(file)!r} is no ledger: {error}", "name another file in `ledger.tracking_uri`, or move this one away."
        ) from None
    if tables and "alembic_version" not in tables:
        raise LedgerError(
            f"{str(file)!r} is no ledger: it holds other tables, as {min(tables)!r}",
            "name another file in `ledger.tracking_uri`.",
        )
    return bool(tables)


def _make(file: Path) -> None:
    """Run MLflow's migrations on a file of our own, without waiting for the disk at each of them."""
    import sqlalchemy

    from flywheel.ledger.engine import SqlAlchemyStore

    def unhurried(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("pragma synchronous = off")
        connection.execute("pragma journal_mode = memory")

    partial = file.with_name(f".{file.name}.partial")
    partial.unlink(missing_ok=True)
    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "connect", unhurried)
    try:
        with reported(f"{_SQLITE}{file}"):
            SqlAlchemyStore(f"{_SQLITE}{partial}", artifacts_beside(file)).engine.dispose()
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(file)
    finally:
        sqlalchemy.event.remove(sqlalchemy.engine.Engine, "connect", unhurried)
        partial.unlink(missing_ok=True)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock `file` for the block; it is the file's, so it ends with the process that holds it."""
    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
