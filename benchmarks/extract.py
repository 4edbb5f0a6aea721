"""What the claims about extraction rest on: as fast as DuckDB's own COPY to Parquet, and memory that does not grow.

Both make files of the same rows with zstd. `COPY` uses every core for one query after another; `extract` reads a span
by one thread, so that rows come in one order, several spans side by side, and writes shards on every core. It also
takes the digest of every file.
"""

from __future__ import annotations

import os
import resource
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb

from benchmarks import Figure, figure
from flywheel.spans import Every, Span
from flywheel.steps.extract import extract
from flywheel.warehouse.sql import translate

FLIGHTS = Path(__file__).parents[1] / "examples" / "flights"
ROUNDS = 3
FEW, MANY = 3_000_000, 30_000_000
DAY = "2024-03-01"
VISITS = "SELECT * FROM visits WHERE seen >= @start AND seen < @end"
AS_FAST, AS_FLAT = 1.5, 1.3

Source = tuple[str, Path, Every, Sequence[str]]


def figures() -> list[Figure]:
    """Return every figure of this module."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        flights, few, many = folder / "flights.duckdb", folder / "few.duckdb", folder / "many.duckdb"
        example = runpy.run_path(str(FLIGHTS / "load.py"))
        example["fill"](flights, example["source"]())
        fill(few, FEW)
        fill(many, MANY)
        query = (FLIGHTS / "flights.sql").read_text()
        months = [f"2013-{month:02d}" for month in range(1, 13)]
        days = [span.name for span in Span.parse("2013-06-01").back(42)]
        hours = [span.name for span in Span.parse(f"{DAY}T23", "hour").back(24)]
        return [
            throughput("12 months of flights, joined", (query, flights, "month", months), folder),
            throughput("42 days of flights, joined", (query, flights, "day", days), folder),
            throughput(f"{MANY:,} rows in 24 spans", (VISITS, many, "hour", hours), folder),
            throughput(f"{MANY:,} rows in one span", (VISITS, many, "day", [DAY]), folder),
            memory(few, many),
        ]


def throughput(what: str, source: Source, folder: Path) -> Figure:
    """Seconds to extract, beside DuckDB's COPY of the same queries."""
    (value, found), (peer, expected) = fastest(lambda: ours(source, folder)), fastest(lambda: theirs(source, folder))
    assert found == expected, f"{found} rows are not {expected}"
    bar = round(AS_FAST * peer, 3)
    return figure(f"extract {what}", value, "s", at_most=bar, peer="DuckDB COPY, all cores", peer_value=peer)


def memory(few: Path, many: Path) -> Figure:
    """Peak memory of a process that extracts ten times as many rows in one span, beside that of one with fewer."""
    peer, value = (peak(file) for file in (few, many))
    name = f"peak memory of extracting {MANY:,} rows"
    return figure(name, value, "MiB", at_most=round(AS_FLAT * peer, 3), peer=f"{FEW:,} rows", peer_value=peer)


def ours(source: Source, folder: Path) -> int:
    """Extract and return the number of rows."""
    query, file, every, names = source
    return extract(query, f"duckdb:///{file}", names, [], {"every": every}, "", folder / "examples").rows


def theirs(source: Source, folder: Path) -> int:
    """COPY each span and return the number of rows."""
    query, file, every, names = source
    rows, target = 0, folder / "copy.parquet"
    with duckdb.connect(str(file), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        for span in (Span.parse(name, every) for name in names):
            copy = f"COPY ({translate(query).duckdb}) TO '{target}' (COMPRESSION zstd)"
            rows += connection.execute(copy, {"start": span.start, "end": span.end}).fetchall()[0][0]
    return rows


def fill(file: Path, rows: int) -> None:
    """Make a table of visits on one day: numbers, times, and texts that recur."""
    with duckdb.connect(str(file), config={"memory_limit": "2GB"}) as connection:
        connection.execute(
            f"""
            CREATE TABLE visits AS
            SELECT
              i AS id, TIMESTAMPTZ '{DAY} 00:00:00+00' + to_microseconds(i * 86_400_000_000 // {rows}) AS seen,
              (hash(i) % 100_000)::BIGINT AS visitor, ['phone', 'desk', 'tablet'][1 + (hash(i + 1) % 3)::INT] AS device,
              'page-' || (hash(i * 7) % 5_000) AS page, (hash(i * 3) % 1_000_000) / 1000.0::DOUBLE AS seconds,
              (hash(i * 5) % 100)::INTEGER AS clicks, (hash(i * 11) % 2)::INTEGER AS bought
            FROM range({rows}) AS t(i)
            """
        )


def peak(file: Path) -> float:
    """Return the most memory, in MiB, that a process of its own held while it extracted `file`."""
    command = [sys.executable, __file__, str(file)]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": paths})
    return float(done.stdout.split()[-1])


def most_memory() -> float:
    """Return the most memory that this program held, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage gives on Linux counts what stood there before exec, too
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def fastest(call: Callable[[], int]) -> tuple[float, int]:
    """Return the shortest of some calls in seconds, and what the last one gave."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        found = call()
        seconds.append(time.perf_counter() - start)
    return min(seconds), found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        ours((VISITS, Path(sys.argv[1]), "day", [DAY]), Path(name))
    print(most_memory())
