"""Start a run when new data has arrived, or when monitoring asks for a training: at most once a span."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from flywheel import archive
from flywheel.bucket import reach
from flywheel.errors import ClusterError, ConfigError, FlywheelError, LedgerError
from flywheel.kubeflow.cluster import Cluster
from flywheel.kubeflow.submit import reachable, start
from flywheel.kubeflow.versions import Package
from flywheel.spans import Span
from flywheel.steps.ready import Data
from flywheel.workspace import Workspace

_ARCHIVE = re.compile(r"[0-9a-f]{32}\.zip")


@dataclass(frozen=True)
class Look:
    """What was found, and what came of it.

    Attributes:
        name: Of the flywheel.
        span: The newest span that is over, and up to which all rows have arrived as far as `watermark` tells.
        started: Whether this look started a run for it.
        why: Why not, in a sentence; empty when it did.
        link: Page of the span's run on the cluster; empty when there is none.
    """

    name: str
    span: str
    started: bool
    why: str
    link: str = ""


def trigger(
    folder: Path | str = ".",
    *,
    profile: str | None = None,
    overrides: Iterable[str] = (),
    when: Literal["data", "retrain"] | None = None,
    environment: Mapping[str, str] | None = None,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Look:
    """Look for the newest span whose data has arrived, and start its run unless there has been one.

    Safe to call at any time, and by two at once. A span whose run failed, or was stopped by a person, is not started
    again: `flywheel submit` does. One whose run found that data was missing after all is.

    Args:
        folder: Holds flywheel.yaml; or the address of an archive of it, as gs://bucket/path/code/….zip.
        profile: Profile of flywheel.yaml to lay over it.
        overrides: `key.sub=value` to lay over that.
        when: `data`, for each new span; `retrain`, only when monitoring asks for a training of the model in service and
            none has answered. By default as `trigger` in flywheel.yaml says, else `data`.
        environment: Where tokens are; `os.environ` by default.
        sleep: Waits for so many seconds.
        clock: Gives the time, with its zone.

    Raises:
        ConfigError: The declaration is wrong, or only this machine could run it.
        SQLError: The query or that of the watermark fails.
        ClusterError: The cluster cannot be reached, or refuses.
        LedgerError: What monitoring says cannot be read.
    """
    with _folder(folder) as here:
        workspace = Workspace.open(here, profile, overrides)
        project = workspace.project
        package = Package.of(workspace)
        span, lacking = _newest(workspace, clock())
        when = when or (project.trigger.when if project.trigger else "data")
        lacking = lacking or _known(workspace, span)
        if lacking := lacking or (_unasked(workspace) if when == "retrain" else ""):
            return Look(project.name, span.name, False, lacking)
        cluster = Cluster(project.kubeflow, sleep=sleep, environment=environment)
        run = start(cluster, package, span.name, once=True)
        why = "" if run.started else f"its run {'ended' if run.over else 'goes on'}: {run.state.lower()}"
        return Look(project.name, span.name, run.started, why, run.link)


def _newest(workspace: Workspace, now: datetime) -> tuple[Span, str]:
    """Return the newest span, and why its run would find nothing; empty when its rows are there."""
    with Data(workspace.warehouse, workspace.query(), workspace.project.source.for_steps()) as data:
        span = data.newest(now)
        return span, data.lacks(span)


def _known(workspace: Workspace, span: Span) -> str:
    """Return why nothing is to be done for a span, as far as the ledger knows; a schedule may have run it."""
    from flywheel.ledger import Ledger

    if not reachable(workspace.ledger):
        return ""
    try:
        ledger, name = Ledger(workspace.ledger), workspace.project.name
        rows = ledger.rows(name, span=span.name)
        champion = ledger.champion(name)
    except (FlywheelError, ImportError):
        return ""  # the cluster knows what has been started
    if done := next((row for row in reversed(rows) if row.done), None):
        return f"it is done: {done.outcome}"
    if any(row.status == "running" for row in rows):
        return "a run for it goes on"
    if champion and champion.span > span.name:
        return f"it is older than the champion's, {champion.span}"
    return ""


def _unasked(workspace: Workspace) -> str:
    """Return that monitoring asks for no training; empty when it does.

    Raises:
        LedgerError: What it says cannot be read.
    """
    from flywheel.ledger import MONITOR, Ledger
    from flywheel.retraining.asked import asked_for

    if not reachable(workspace.ledger):
        raise LedgerError(
            f"what monitoring says is not known: the ledger {workspace.ledger} cannot be reached from here",
            "name one that can by ledger.tracking_uri, or start a run for each new span: --when data.",
        )
    ledger, name = Ledger(workspace.ledger), workspace.project.name
    champion = ledger.champion(name)
    if champion is None:
        return ""  # the first model needs no reason
    asked = asked_for(champion.version, ledger.rows(name, MONITOR), ledger.rows(name))
    return "" if asked else f"monitoring asks for no training of version {champion.version}"


@contextmanager
def _folder(folder: Path | str) -> Iterator[Path]:
    """Give the folder, or that of an archive's files.

    Raises:
        ConfigError: There is no such archive, or it holds other files than it is named by.
        MissingExtra: The library for such addresses is not installed.
    """
    if "://" not in str(folder):
        yield Path(folder)
        return
    uri, name = str(folder), str(folder).rpartition("/")[2]
    if not _ARCHIVE.fullmatch(name):
        raise ConfigError(f"{uri!r} is no archive of code", "give what `flywheel compile --kubernetes` tells, ….zip.")
    with tempfile.TemporaryDirectory(prefix="flywheel-trigger-") as place:
        file = Path(place, name)
        _fetch(uri, file)
        with archive.unpacked(file) as here:
            if (found := archive.pack(here, Path(place, "packed")).name) != name:
                raise ConfigError(f"{uri} holds other files than it is named by: {found}", "put the code there anew.")
            yield here


def _fetch(uri: str, to: Path) -> None:
    try:
        files, path = reach(uri)
        files.get_file(path, str(to))
    except FileNotFoundError:
        raise ConfigError(f"there is no {uri}", "`flywheel compile --kubernetes --put-code` puts it there.") from None
    except (OSError, ValueError) as error:
        raise ClusterError(f"{uri} cannot be read: {error}", "see to your rights there, then try again.") from None
