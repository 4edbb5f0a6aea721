"""A small shop in service: a champion in the ledger, requests in the log, labels that arrive later."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.artifacts import HISTORY, Verdict
from flywheel.config import Monitor
from flywheel.ledger import Ledger
from flywheel.ledger.registry import move_champion, register
from flywheel.steps.monitor import monitor
from tests.profiles.worlds import FIRST, day, gate_after, name_of
from tests.stores import ledger_in, model_in

NAME = "shop"
TRAINED = 28
SQL = """SELECT flywheel_request, bought, arrived FROM labels WHERE arrived >= @start AND arrived < @end"""


@dataclass
class Shop:
    """A flywheel whose champion was trained on the first 28 days and judged at an AUC of `judged`."""

    folder: Path
    judged: float = 0.75
    settings: dict = field(default_factory=dict)

    def __post_init__(self):
        self.ledger = Ledger(ledger_in(self.folder))
        tags = {"window": f"{name_of(0)} to {name_of(TRAINED - 1)}"}
        run = self.ledger.open(NAME, name_of(TRAINED), "job-0", tags)
        history = self.folder / HISTORY
        gate_after(TRAINED).history.save(history)
        self.ledger.keep(run, history)
        self.ledger.record(run, Verdict("model", (), {"metric": "auc", "candidate": self.judged}))
        model = model_in(self.folder / "model")
        version = register(
            self.ledger.client, NAME, str(model.path), run, {"span": name_of(TRAINED), "digest": model.digest}
        )
        move_champion(self.ledger.client, NAME, version)
        self.ledger.settle(run, "promoted", "it is the first")
        self.requests = self.folder / "requests"
        self.labels = self.folder / "labels"
        self.labels.mkdir()

    def serve(self, index, rows=300, delay=timedelta(hours=6), never=0.0, noise=0.0, **faults):
        """Log the requests of a day and the labels that come of them."""
        (batch,) = day(index, rows, **faults)
        chance = np.random.default_rng(1000 + index)
        table = pa.Table.from_batches([batch])
        at = np.array(table["at"].to_numpy(), "datetime64[us]")
        ids = [f"{index}-{place}" for place in range(rows)]
        pages = np.nan_to_num(np.array(table["pages"].to_numpy(), float), nan=8.0)
        score = 1 / (1 + np.exp(-(pages - 8) / 2))
        score = np.clip((1 - noise) * score + noise * chance.random(rows), 0, 1)
        logged = {
            "flywheel_request": pa.array(ids),
            "flywheel_row": pa.array(np.zeros(rows, np.int32)),
            "flywheel_time": pa.array(at).cast(pa.timestamp("us", "UTC")),
            "flywheel_version": pa.array(["1"] * rows),
            **{name: table[name] for name in ("device", "price", "pages")},
            "prediction": pa.array(score),
        }
        folder = self.requests / f"day={name_of(index)}"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(logged), folder / "part-0.parquet")
        waited = (chance.exponential(delay.total_seconds(), rows) * 1e6).astype("timedelta64[us]")
        came = chance.random(rows) >= never
        labels = {
            "flywheel_request": pa.array(np.array(ids)[came]),
            "bought": pa.array(np.array(table["bought"])[came]),
            "arrived": pa.array((at + waited)[came]),
        }
        pq.write_table(pa.table(labels), self.labels / f"{name_of(index)}.parquet")
        return folder

    def monitor(self, index, labels=True, **settings):
        """Look at a day; return the outcome, its row of the ledger and the report."""
        watched = Monitor.model_validate({"delay": "2d", **settings}).model_dump(mode="json", exclude_none=True)
        told = {"label": "bought", "task": "binary", "every": "day", "gate": {}, "monitor": watched, "source": {}}
        told |= {"labels": SQL if labels else "", "serving": ""}
        report, job = self.folder / "report.html", f"look-{index}"
        warehouse = f"parquet:///{self.folder}/labels*/*.parquet"
        outcome = monitor(
            NAME, name_of(index), str(self.requests), told, warehouse, self.ledger.tracking_uri, job, report
        )
        row = self.ledger.find(NAME, job, "monitor")
        return outcome, row, report.read_text()

    def verdict(self, index):
        return self.ledger.verdict(self.ledger.find(NAME, f"look-{index}", "monitor").run, "monitor")


def noon(index):
    return FIRST + timedelta(index, hours=12)


__all__ = ["NAME", "SQL", "TRAINED", "Shop", "datetime", "name_of", "noon"]
