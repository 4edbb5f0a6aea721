"""The ledger of the runs to come, opened before their steps are forked: each would take a twentieth of a second for it.

MLflow keeps the stores that a process has opened, and its forks have them with it; no connection is among them. A step
that uses another ledger opens that.
"""

from __future__ import annotations

import os
from contextlib import suppress

from flywheel.errors import LedgerError
from flywheel.ledger import Ledger
from flywheel.ledger.migrate import is_current
from flywheel.ledger.store import OPENED, sqlite_file


def _open(uri: str) -> None:
    """Open a SQLite ledger that is there, and ask what steps ask: how that is written in SQL is found once, too."""
    with suppress(LedgerError):  # the first step that uses it says what is wrong
        if not is_current(sqlite_file(uri)):
            return
        book = Ledger(uri)
        book.champion("none")
        book.client.search_runs(["0"], "tags.`none` = ''", order_by=["attributes.start_time ASC"])
        book.row("none")


if os.environ.get(OPENED, "").startswith("sqlite:"):  # the client of a server would hold connections
    _open(os.environ[OPENED])
