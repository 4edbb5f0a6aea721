"""That memory stays flat: of a longer log more is sorted on disk."""

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from flywheel.errors import DataError
from flywheel.monitoring import database
from flywheel.monitoring.experiment import compare
from flywheel.monitoring.feedback import feed
from flywheel.monitoring.log import Log
from flywheel.monitoring.quality import measure
from flywheel.spans import Span

DAY = datetime(2024, 1, 1)
LOOK = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
from flywheel.monitoring.log import Log
from flywheel.monitoring.quality import measure
from flywheel.spans import Span
folder = Path(sys.argv[1])
labels = pq.ParquetFile(folder / "labels.parquet").iter_batches()
settings = {"id": ["flywheel_request"], "arrived": "known", "delay": 86_400.0}
with Log.of_folder(folder, Span.parse("2024-01-04").back(4)) as log:
    found = measure(log, labels, settings, "1", "binary", "bought")
peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
print(sum(each.labelled for each in found.spans), int(peak) // 1024)
"""


def log_in(folder, rows, days=4):
    """Write a request log of so many rows, ids as long as real ones, and a label to each."""
    connection = duckdb.connect(config={"threads": 2, "memory_limit": "1GB", "temp_directory": str(folder)})
    connection.execute(
        "CREATE VIEW asked AS SELECT md5(CAST(i AS VARCHAR)) AS flywheel_request, "
        f"TIMESTAMP '{DAY}' + to_microseconds(i * {86_400_000_000 * days} // {rows}) AS moment, "
        f"hash(i) % 1000 / 1e3 AS answer, CAST(1 + (i % 100 = 0)::INT AS VARCHAR) AS version FROM range({rows}) each(i)"
    )
    for index in range(days):
        start = DAY + timedelta(index)
        path = folder / f"day={start:%Y-%m-%d}"
        path.mkdir(parents=True)
        connection.execute(
            "COPY (SELECT flywheel_request, moment AS flywheel_time, version AS flywheel_version, "
            f"answer AS prediction FROM asked WHERE moment >= TIMESTAMP '{start}' "
            f"AND moment < TIMESTAMP '{start + timedelta(1)}') TO '{path}/part.parquet'"
        )
    connection.execute(
        "COPY (SELECT flywheel_request, moment + INTERVAL 1 MINUTE AS known, "
        f"CAST(answer > 0.5 AS INTEGER) AS bought FROM asked) TO '{folder}/labels.parquet'"
    )
    return folder


def looked_at(folder):
    """Return the labels that were joined in a process of its own, and the most memory that it took, in MB."""
    # DuckDB draws a bar of its progress before
    told = subprocess.run([sys.executable, "-c", LOOK, str(folder)], capture_output=True, text=True, check=True)
    return [int(each) for each in told.stdout.split()[-2:]]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_once_a_join_has_its_share_of_memory_twice_as_many_rows_take_hardly_more(tmp_path):
    """Without the share the larger log takes 1.4 times as much, and 10 million rows twice as much as one."""
    labelled, peak = looked_at(log_in(tmp_path / "some", 1_000_000))
    more, larger = looked_at(log_in(tmp_path / "more", 2_000_000))

    assert labelled > 0.98e6
    assert more > 1.97e6
    assert larger < 1.2 * peak


def looks(log, folder):
    """Return all that is done with a log and labels, by name."""
    known = pq.ParquetFile(folder / "log" / "labels.parquet").iter_batches()
    told = known, {"id": ["flywheel_request"], "arrived": "known", "delay": 86_400.0}
    return {
        "measure": lambda: measure(log, *told, "1", "binary", "bought"),
        "compare": lambda: compare(log, *told, "binary", "bought", ("1", "2")),
        "feed": lambda: feed(log, *told, "binary", "bought", f"duckdb:///{folder}/fed.duckdb", "fed"),
        "feed files": lambda: feed(log, *told, "binary", "bought", f"parquet:///{folder}/fed", "fed"),
        "batches": lambda: list(log.batches(log.spans[0], ["flywheel_request", "prediction"], 1000)),
    }


@pytest.fixture(params=["measure", "compare", "feed", "feed files", "batches"])
def look(request, tmp_path):
    """A look at a small log, and its log."""
    folder = log_in(tmp_path / "log", 2000)
    with Log.of_folder(folder, Span.parse("2024-01-04").back(4)) as log:
        yield looks(log, tmp_path)[request.param], log


def test_what_needs_more_memory_than_its_share_gets_that_and_gives_it_back(look, monkeypatch):
    look, log = look
    monkeypatch.setattr(database, "MEMORY", "100KB")
    log.run("SET memory_limit = '100KB'")

    look()

    assert log.ask("SELECT current_setting('memory_limit')") == [("97.6 KiB",)]


def test_what_needs_more_memory_than_there_is_says_so_and_nothing_is_lost(look, monkeypatch, tmp_path):
    look, log = look
    with duckdb.connect(f"{tmp_path}/fed.duckdb") as connection:
        connection.execute("CREATE TABLE fed AS SELECT '2024-01-01' AS flywheel_span, 1 AS bought")
    monkeypatch.setattr(database, "MEMORY", "100KB")
    monkeypatch.setattr(database, "MOST", "100KB")
    log.run("SET memory_limit = '100KB'")

    with pytest.raises(DataError, match=r"needs more memory than there is.*\n  .*fewer spans"):
        look()

    with duckdb.connect(f"{tmp_path}/fed.duckdb") as connection:
        assert connection.execute("SELECT bought FROM fed").fetchall() == [(1,)]
    assert not list(tmp_path.glob("fed/**/*.parquet*"))


def test_a_join_that_finds_no_room_to_spill_to_says_so(tmp_path, monkeypatch):
    folder = log_in(tmp_path / "log", 500_000)
    for name in ("MEMORY", "MOST"):
        monkeypatch.setattr(database, name, "64MB")
    with Log.of_folder(folder, Span.parse("2024-01-04").back(4)) as log:
        log.run("SET max_temp_directory_size = '1MB'")

        with pytest.raises(DataError, match=r"no room on the disk.*\n  .*TMPDIR"):
            looks(log, tmp_path)["measure"]()
