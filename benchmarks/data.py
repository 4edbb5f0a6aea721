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
ROUNDS = 3
STATISTICS_DAYS = 14  # TFDV on Beam takes its time


def figures() -> list[dict[str, Any]]:
    """Return every figure as {name, value, unit, peer, peer_value, ratio, bar, ok}."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        example = runpy.run_path(str(FLIGHTS / "load.py"))
        example["fill"](folder / "flights.duckdb", example["source"]())
        days = [span.name for span in Span.parse("2013-06-01").back(STATISTICS_DAYS)]
        query, url = (FLIGHTS / "flights.sql").read_text(), f"duckdb:///{folder / 'flights.duckdb'}"
        extract(query, url, days, [], {"every": "day"}, "", folder / "examples")
        return [_statistics(folder)]


def _statistics(folder: Path) -> dict[str, Any]:
    """TFDV statistics streamed in process, beside TFDV's own pipeline on Beam's DirectRunner."""
    import apache_beam as beam
    import tensorflow_data_validation as tfdv
    from tfx_bsl.arrow.table_util import CanonicalizeRecordBatch

    from flywheel.statistics import summarize

    examples = Examples.open(folder / "examples")
    spans = examples.spans

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
