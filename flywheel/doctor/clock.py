"""Whether this machine's clock goes as those of the servers do: tokens expire, and spans begin, by it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime

from flywheel.doctor.finding import Finding
from flywheel.workspace import Workspace

_SECONDS = 60.0


def check(workspace: Workspace, now: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Yield one finding: how far the clock is from that of the first server that tells its own.

    Args:
        workspace: Says which servers there are.
        now: Gives seconds since 1970.
    """
    for url in servers(workspace):
        date = told_by(url)
        if date is None:
            continue
        ahead = now() - date
        if abs(ahead) <= _SECONDS:
            yield Finding("clock", "ok", f"within {max(1, round(abs(ahead)))} s of {url}")
        else:
            where = "ahead of" if ahead > 0 else "behind"
            found = f"this machine's clock is {abs(ahead):.0f} s {where} {url}"
            yield Finding("clock", "fail", found, "set it by NTP, as `timedatectl set-ntp true` does.")
        return
    yield Finding("clock", "skip", "no server to compare it with")


def servers(workspace: Workspace) -> Iterator[str]:
    """Yield the servers that a run talks to by HTTP."""
    if workspace.ledger.startswith(("http://", "https://")):
        yield workspace.ledger
    if workspace.project.kubeflow.endpoint:
        yield workspace.project.kubeflow.endpoint
    if workspace.warehouse.startswith("bigquery:"):
        yield os.environ.get("BIGQUERY_EMULATOR_HOST", "https://bigquery.googleapis.com")


def told_by(url: str) -> float | None:
    """Return the time that a server's answer bears, whatever it answers; None when there is none."""
    import urllib3

    try:
        answer = urllib3.PoolManager(retries=False, timeout=5.0).request("HEAD", url, redirect=False)
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (urllib3.exceptions.HTTPError, KeyError, ValueError):
        return None
