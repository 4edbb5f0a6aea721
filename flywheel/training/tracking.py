"""A training run in MLflow: of the flywheel's experiment, apart from the ledger's rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flywheel.ledger import Ledger
from flywheel.ledger.store import Client


@dataclass(frozen=True)
class Tracker:
    """One open training run.

    Attributes:
        client: MLflow's client.
        run: Its run id.
        clock: Gives the seconds since 1970.
    """

    client: Client
    run: str
    clock: Callable[[], float]

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Log parameters."""
        from mlflow.entities import Param

        self.client.log_batch(self.run, params=[Param(key, str(value)[:6000]) for key, value in values.items()])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics of one step."""
        from mlflow.entities import Metric

        now = int(self.clock() * 1000)
        self.client.log_batch(self.run, metrics=[Metric(key, float(v), now, step) for key, v in values.items()])


@contextmanager
def training_run(
    ledger: str, name: str, tags: Mapping[str, str], clock: Callable[[], float] = time.time
) -> Iterator[Tracker]:
    """Give a new training run of flywheel `name`; it ends as `FINISHED` when the block ends well, else as `FAILED`.

    Raises:
        LedgerError: The ledger cannot be used.
    """
    book = Ledger(ledger)
    client = book.client
    run = client.create_run(book.experiment(name), start_time=int(clock() * 1000), run_name="training", tags=tags)
    tracker, status = Tracker(client, str(run.info.run_id), clock), "FAILED"
    try:
        yield tracker
        status = "FINISHED"
    finally:
        client.set_terminated(tracker.run, status, int(clock() * 1000))
