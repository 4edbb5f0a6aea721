"""Rows with a column of every kind that a query can give, the same at every call."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal

import pyarrow as pa

from flywheel.artifacts import Examples

SPANS = ("2024-03-01", "2024-03-02", "2024-03-03")
ROWS = 240


def table(seed=0, rows=ROWS):
    """Return rows of a day; about a tenth of each value is null, save in `weight` and `origin`."""
    chance = random.Random(seed)

    def column(kind, value, nulls=0.1):
        return pa.array([None if chance.random() < nulls else value() for _ in range(rows)], kind)

    def number():
        return chance.randint(-50, 50)

    def word():
        return chance.choice(["", "a", "ä", "long " * 3, "x" * 1500])

    def moment():
        return dt.datetime(2024, 3, 1) + dt.timedelta(seconds=chance.randint(0, 86400))

    def few(value, most=3):
        return lambda: [None if chance.random() < 0.1 else value() for _ in range(chance.randint(0, most))]

    columns = {
        "weight": column(pa.float64(), lambda: chance.choice([0.0, 0.5, 1.0, 2.5]), nulls=0),
        "origin": column(pa.string(), lambda: chance.choice(["EWR", "JFK", "LGA"]), nulls=0),
        "int8": column(pa.int8(), number),
        "int64": column(pa.int64(), lambda: number() * 10**15),
        "uint64": column(pa.uint64(), lambda: 2**64 - 1 - chance.randint(0, 5)),
        "float32": column(pa.float32(), lambda: chance.choice([float("nan"), 0.0, chance.gauss(0, 1)])),
        "float64": column(pa.float64(), lambda: chance.choice([float("inf"), float("-inf"), chance.gauss(5, 2)])),
        "constant": column(pa.float64(), lambda: 3.5, nulls=0),
        "bool": column(pa.bool_(), lambda: chance.random() < 0.3),
        "text": column(pa.string(), word),
        "large_text": column(pa.large_string(), lambda: f"name {chance.randint(0, 10**6)}"),
        "bytes": column(pa.binary(), lambda: chance.choice([b"", b"\xff\xfe", b"ok"])),
        "category": column(pa.string(), lambda: chance.choice("abc")).dictionary_encode(),
        "decimal": column(pa.decimal128(12, 2), lambda: Decimal(number()) / 4),
        "wide_decimal": column(pa.decimal256(60, 2), lambda: Decimal(number()) / 4),
        "date": column(pa.date32(), lambda: moment().date()),
        "time": column(pa.time64("us"), lambda: moment().time()),
        "timestamp": column(pa.timestamp("us", "UTC"), moment),
        "local_time": column(pa.timestamp("ms"), moment),
        "all_null": pa.nulls(rows),
        "null_numbers": pa.nulls(rows, pa.float64()),
        "sparse": column(pa.int64(), number, nulls=0.98),
        "numbers": column(pa.list_(pa.float64()), few(number)),
        "words": column(pa.list_(pa.string()), few(word)),
        "lists": column(pa.list_(pa.list_(pa.int64())), lambda: [[number()] * 2, []]),
        "vector": column(pa.list_(pa.float32(), 2), lambda: [0.5, number()], nulls=0),
        "address": column(pa.struct({"city": pa.string(), "floor": pa.int32()}), lambda: {"city": "A", "floor": 3}),
        "items": column(
            pa.list_(pa.struct({"price": pa.decimal128(9, 2), "tags": pa.list_(pa.string())})),
            lambda: [{"price": Decimal(number()), "tags": ["x"] * chance.randint(0, 2)}, None],
        ),
        "pairs": column(pa.map_(pa.string(), pa.int64()), lambda: [("one", 1), ("two", None)][: chance.randint(0, 2)]),
    }
    return pa.table(columns)


def examples(folder, tables=None, part=100):
    """Write Examples of three spans, in shards of `part` rows; of `tables` by span where they are given."""
    found = tables or {span: table(seed) for seed, span in enumerate(SPANS)}
    schema = next(iter(found.values())).schema
    with Examples.writer(folder, schema, producer="extract") as writer:
        for span, rows in found.items():
            for number, start in enumerate(range(0, max(rows.num_rows, 1), part)):
                writer.write(span, rows.slice(start, part).to_batches(), number)
    return Examples.open(folder)
