"""The flights year as a warehouse in memory: damaged, asked for a day by the project's own query, and whole again."""

from __future__ import annotations

import hashlib
import os
import runpy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from flywheel.warehouse import sql
from tests.faults.fault import Fault

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
CACHE = Path(tempfile.gettempdir()) / f"flywheel-faults-{os.getuid()}"
TABLES = ("flights", "planes", "weather")


class World:
    """The tables of the example, and what its query gives for a day of them."""

    def __init__(self) -> None:
        self.connection = duckdb.connect()
        self.connection.execute(f"SET TimeZone = 'UTC'; SET threads = 1; ATTACH '{year_file()}' AS year (READ_ONLY)")
        for table in TABLES:
            self.connection.execute(f"CREATE TABLE {table} AS FROM year.{table}")
        query = sql.translate((EXAMPLE / "flights.sql").read_text()).duckdb
        # As the warehouse gives it: BigQuery has one whole number only.
        self._query = f"SELECT * REPLACE (CAST(late AS BIGINT) AS late) FROM ({query})"

    def batches(self, day: date) -> list[pa.RecordBatch]:
        """Return the rows of a day."""
        relation = self.connection.sql(self._query, params=self._bounds(day))
        read = relation.to_arrow_reader if hasattr(type(relation), "to_arrow_reader") else relation.fetch_record_batch
        return list(read(128 * 1024))

    def digest(self, day: date) -> tuple[int, int]:
        """Return number and digest of the rows of a day, whatever their order."""
        ((rows, total),) = self.connection.execute(
            f"SELECT count(*), sum(CAST(md5_number_lower(CAST(q AS VARCHAR)) AS HUGEINT)) FROM ({self._query}) AS q",
            self._bounds(day),
        ).fetchall()
        return rows, int(total or 0)

    @contextmanager
    def damaged(self, fault: Fault, size: str, last: date) -> Iterator[list[date]]:
        """Give the days that a fault of a size takes, `last` the last of them, and mend the tables afterwards."""
        days = [last - timedelta(back) for back in reversed(range(fault.days))]
        self.connection.execute("BEGIN")
        try:
            fault.apply(self.connection, days[0], last, fault.sizes[size])
            yield days
        finally:
            self.connection.execute("ROLLBACK")

    @staticmethod
    def _bounds(day: date) -> dict[str, datetime]:
        start = datetime(day.year, day.month, day.day)
        return {"start": start, "end": start + timedelta(1)}


def year_file() -> Path:
    """Return the year's DuckDB file, made once a version of the example's loader and of DuckDB."""
    made_by = (EXAMPLE / "load.py").read_bytes() + duckdb.__version__.encode()
    file = CACHE / f"flights-{hashlib.sha256(made_by).hexdigest()[:12]}.duckdb"
    if not file.exists():
        CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
        example = runpy.run_path(str(EXAMPLE / "load.py"))
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            partial = Path(folder) / "flights.duckdb"
            example["fill"](partial, example["source"]())
            partial.replace(file)  # whoever makes it meanwhile makes the same
    return file
