"""What the data steps' speed claims rest on; `figures()` measures each beside its peer in the same run."""

from __future__ import annotations

import runpy
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from flywheel.artifacts import Examples
from flywheel.spans import Span
from flywheel.steps.extract import extract

FLIGHTS = Path(__file__).parents[1] / "examples" / "flights"
DAYS, ROUNDS = 42, 3
STATISTICS_DAYS = 14  # TFDV on Beam takes its time


def figures() -> list[dict[str, Any]]:
    """Return every figure as {name, value, unit, peer, peer_value, ratio, bar, ok}."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        example = runpy.run_path(str(FLIGHTS / "load.py"))
        example["fill"](folder / "flights.duckdb", example["source"]())
        return [
            _extract(folder, "month", [f"2013-{month:02d}" for month in range(1, 13)]),
            _extract(folder, "day", [span.name for span in Span.parse("2013-06-01").back(DAYS)]),
            _statistics(folder),
        ]


def _extract(folder: Path, every: Any, names: list[str]) -> dict[str, Any]:
    """Extraction of flights joined with planes and weather, beside DuckDB's COPY of the same queries to Parquet."""
    import duckdb

    from flywheel.warehouse.sql import translate

    query, file = (FLIGHTS / "flights.sql").read_text(), folder / "flights.duckdb"
    spans = [Span.parse(name, every) for name in names]

    def ours() -> int:
        return extract(query, f"duckdb:///{file}", names, every, [], None, folder / "examples").rows

    def theirs() -> int:
        rows = 0
        with duckdb.connect(str(file), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            for span in spans:
                given = {"start": span.start, "end": span.end}
                copy = f"COPY ({translate(query).duckdb}) TO '{folder / span.name}.parquet' (COMPRESSION zstd)"
                rows += connection.execute(copy, given).fetchall()[0][0]
        return rows

    (value, found), (peer, expected) = _fastest(ours), _fastest(theirs)
    assert found == expected
    return _figure(f"extract {len(names)} {every} spans, {found:,} flights", value, "DuckDB COPY", peer, 1 / 1.5)


def _statistics(folder: Path) -> dict[str, Any]:
    """TFDV statistics streamed in process, beside TFDV's own pipeline on Beam's DirectRunner."""
    import apache_beam as beam
    import tensorflow_data_validation as tfdv
    from tfx_bsl.arrow.table_util import CanonicalizeRecordBatch

    from flywheel.statistics import summarize

    examples = Examples.open(folder / "examples")
    spans = examples.spans[-STATISTICS_DAYS:]

    def batches() -> Iterable[Any]:
        return (batch for _, batch in examples.batches(spans))

    def theirs() -> int:
        target = folder / "statistics.pb"
        with beam.Pipeline(runner="DirectRunner") as pipeline:
            rows = pipeline | beam.Create([CanonicalizeRecordBatch(batch) for batch in batches()])
            rows | tfdv.GenerateStatistics() | tfdv.WriteStatisticsToBinaryFile(str(target))
        return int(tfdv.load_stats_binary(str(target)).datasets[0].num_examples)

    value, found = _fastest(lambda: int(summarize(batches()).datasets[0].num_examples))
    peer, expected = _fastest(theirs, rounds=1)
    assert found == expected
    return _figure(f"TFDV statistics of {found:,} flights, in process", value, "TFDV on DirectRunner", peer, 15)


def _fastest(call: Callable[[], int], rounds: int = ROUNDS) -> tuple[float, int]:
    """Return the shortest of some calls in seconds, and what the last one gave."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        found = call()
        seconds.append(time.perf_counter() - start)
    return min(seconds), found


def _figure(name: str, value: float, peer: str, peer_value: float, bar: float) -> dict[str, Any]:
    """Return a figure in seconds that is to be at least `bar` times as fast as its peer."""
    ratio = value / peer_value
    figure = {"name": name, "value": round(value, 3), "unit": "s", "peer": peer, "peer_value": round(peer_value, 3)}
    return figure | {"ratio": round(ratio, 3), "bar": f"ratio {1 / bar:.2g}", "ok": ratio <= 1 / bar}
