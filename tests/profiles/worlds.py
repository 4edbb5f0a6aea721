"""Spans of a small shop: ordinary days, and ones with a fault."""

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from flywheel.profiles import History, Settings
from flywheel.profiles.gate import SpanGate

FIRST = datetime(2024, 1, 1)
PRICES = {"phone": 500.0, "desk": 120.0, "lamp": 30.0}


def name_of(index):
    return (FIRST + timedelta(index)).strftime("%Y-%m-%d")


def day(index, rows=300, **faults):
    """Return the rows of a day; a fault is a function of a column's values."""
    chance = np.random.default_rng(index)
    device = chance.choice(list(PRICES), rows, p=[0.5, 0.3, 0.2])
    price = np.array([PRICES[each] for each in device]) * chance.normal(1.0, 0.05, rows)
    pages = chance.poisson(8, rows)
    bought = (chance.random(rows) < 1 / (1 + np.exp(-(pages - 8) / 2))).astype(int)
    seconds = np.sort(chance.integers(0, 86_400, rows))
    columns = {
        "bought": bought,
        "device": device.astype(object),
        "price": price,
        "pages": pages,
        "at": np.datetime64(FIRST + timedelta(index), "us") + seconds.astype("timedelta64[s]"),
    }
    for name, fault in faults.items():
        columns[name] = fault(columns[name])
    return [pa.RecordBatch.from_arrays([pa.array(values) for values in columns.values()], names=list(columns))]


def gate_after(days, every="day", **gate):
    """Return a gate that has seen so many ordinary days."""
    settings = Settings.of({"label": "bought", "every": every, "gate": gate})
    made = SpanGate(settings, History())
    for index in range(days):
        batches = day(index)
        made.take(made.judge(name_of(index), batches), batches)
    return made


def failed(judged):
    return {check.column for check in judged.failed}
