"""That memory stays flat: of a longer log more is sorted on disk."""

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from flywheel.monitoring.quality import measure
from tests.monitoring.test_quality import SETTINGS, hours, labels_of, log_of

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
settings = {"id": ["id"], "arrived": "known", "delay": 86_400.0}
with Log.of_folder(folder, Span.parse("2024-01-04").back(4)) as log:
    found = measure(log, labels, settings, "1", "binary", "bought")
peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
print(sum(each.labelled for each in found.spans), int(peak) // 1024)
"""


def log_in(folder, rows, days=4):
    """Write a request log of so many rows, ids as long as real ones, and a label to each."""
    connection = duckdb.connect(config={"threads": 2, "memory_limit": "1GB", "temp_directory": str(folder)})
    connection.execute(
        "CREATE VIEW asked AS SELECT md5(CAST(i AS VARCHAR)) AS id, "
        f"TIMESTAMP '{DAY}' + to_microseconds(i * {86_400_000_000 * days} // {rows}) AS moment, "
        f"hash(i) % 1000 / 1e3 AS answer FROM range({rows}) each(i)"
    )
    for index in range(days):
        start = DAY + timedelta(index)
        path = folder / f"day={start:%Y-%m-%d}"
        path.mkdir(parents=True)
        connection.execute(
            "COPY (SELECT id, moment AS flywheel_time, '1' AS flywheel_version, answer AS prediction FROM asked "
            f"WHERE moment >= TIMESTAMP '{start}' AND moment < TIMESTAMP '{start + timedelta(1)}') "
            f"TO '{path}/part.parquet'"
        )
    connection.execute(
        "COPY (SELECT id, moment + INTERVAL 1 MINUTE AS known, CAST(answer > 0.5 AS INTEGER) AS bought FROM asked) "
        f"TO '{folder}/labels.parquet'"
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

    assert labelled > 0.999e6
    assert more > 1.999e6
    assert larger < 1.2 * peak


def test_where_a_join_needs_more_memory_than_its_share_it_gets_that(tmp_path, monkeypatch):
    ids, at = np.arange(1000), hours(np.arange(1000) / 50)
    monkeypatch.setattr("flywheel.monitoring.quality.TIGHT", "100KB")

    with log_of(tmp_path, at, ids, np.ones(1000)) as log:
        found = measure(log, labels_of(ids, np.ones(1000), at + 1), SETTINGS, "1", "regression", "y")
        limit = log.ask("SELECT current_setting('memory_limit')")[0][0]

    assert found.spans[0].labelled == 1000
    assert limit == "732.4 MiB"
