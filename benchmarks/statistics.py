"""Cost of statistics: a year of flights beside TFDV's own pipeline, many small spans, memory for ten times the rows."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import Figure, figure
from flywheel.artifacts import Examples

FLIGHTS = Path(__file__).parents[1] / "examples" / "flights"
ROOT = Path(__file__).parents[1]
TIMES = 15
"""How much faster than TFDV on the DirectRunner the year must be."""
FLAT = 1.1
"""How much more memory ten times the rows may take."""
DAYS, DAYS_SECONDS = 42, 1.5

MEASURE = """
import json, resource, sys, time
import tensorflow_data_validation
from flywheel.artifacts import Examples
from flywheel.statistics import gather

folder, rounds, each = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "each"
examples, seconds, computing = Examples.open(folder), [], []
for _ in range(rounds):
    start, used = time.perf_counter(), time.process_time()
    found = gather(examples, examples.spans)
    rows = found.of(examples.spans, "all").datasets[0].num_examples
    for span in examples.spans if each else ():
        found.of([span])
    seconds.append(time.perf_counter() - start)
    computing.append(time.process_time() - used)
# Not ru_maxrss of this process: that begins with what its parent had.
own = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
memory = max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024
json.dump({"seconds": min(seconds), "computing": min(computing), "rows": rows, "memory": memory}, sys.stdout)
"""


def figures() -> list[Figure]:
    """Return every figure; with all the cores that this process may use."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = _flights(folder / "flights.duckdb")
        year = _examples(folder / "year", {"2013": table})
        decade = _examples(folder / "decade", {"2013": table}, times=10)
        rows = table.num_rows // 365
        days = {f"2013-{day:03}": table.slice(day * rows, rows) for day in range(DAYS)}
        return [_speed(year, folder), _memory(year, decade), _spans(_examples(folder / "days", days))]


def _speed(examples: Examples, folder: Path) -> Figure:
    ours, (peer, rows) = _measured(examples), _by_tfdv(examples, folder / "all.pb")
    assert ours["rows"] == rows
    name = f"TFDV statistics of {rows:,} flights, in process"
    found = figure(name, ours["seconds"], "s", peer="TFDV on DirectRunner", peer_value=peer)
    return {**found, "bar": f"ratio {1 / TIMES:.2g}", "ok": ours["seconds"] <= peer / TIMES}


def _memory(year: Examples, decade: Examples) -> Figure:
    one, ten = _measured(year, rounds=1), _measured(decade, rounds=1)
    name = f"peak memory of the statistics of {ten['rows']:,} flights"
    found = figure(name, ten["memory"], "MB", peer=f"{one['rows']:,} flights", peer_value=one["memory"])
    return {**found, "bar": f"ratio {FLAT:g}", "ok": ten["memory"] <= FLAT * one["memory"]}


def _spans(examples: Examples) -> Figure:
    ours = _measured(examples, each=True, cores=1)
    name = f"TFDV statistics of {DAYS} days, each and all together, {ours['rows']:,} flights, time of one core"
    return figure(name, ours["computing"], "s", at_most=DAYS_SECONDS)


def _measured(examples: Examples, rounds: int = 3, each: bool = False, cores: int | None = None) -> dict[str, Any]:
    """Return seconds, rows and memory of a process of its own that makes the statistics."""
    command = [sys.executable, "-c", MEASURE, str(examples.path), str(rounds), "each" if each else "all"]
    environment = os.environ | ({"OMP_NUM_THREADS": str(cores)} if cores else {})
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _by_tfdv(examples: Examples, target: Path) -> tuple[float, int]:
    """Return the seconds that TFDV's own pipeline takes for the same rows, and how many rows it counted."""
    import apache_beam as beam
    import tensorflow_data_validation as tfdv
    from tfx_bsl.arrow.table_util import CanonicalizeRecordBatch

    from flywheel.statistics.beam import RUNNER

    batches = [CanonicalizeRecordBatch(batch) for _, batch in examples.batches(rows=10_000)]
    start = time.perf_counter()
    with beam.Pipeline(runner=RUNNER) as pipeline:  # what DirectRunner runs without a download
        rows = pipeline | beam.Create(batches)
        rows | tfdv.GenerateStatistics() | tfdv.WriteStatisticsToBinaryFile(str(target))
    return time.perf_counter() - start, tfdv.load_stats_binary(str(target)).datasets[0].num_examples


def _flights(file: Path) -> Any:
    """Return all flights of the year; their one column of times as whole numbers, which TFDV's pipeline can take."""
    import duckdb

    example = runpy.run_path(str(FLIGHTS / "load.py"))
    example["fill"](file, example["source"]())
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.sql("SELECT * REPLACE (epoch_us(time_hour) AS time_hour) FROM flights").to_arrow_table()


def _examples(folder: Path, tables: dict[str, Any], times: int = 1) -> Examples:
    schema = next(iter(tables.values())).schema
    with Examples.writer(folder, schema, producer="extract") as writer:
        for span, table in tables.items():
            writer.write(span, (batch for _ in range(times) for batch in table.to_batches()))
    return Examples.open(folder)
