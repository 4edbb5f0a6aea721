import os
import time
from typing import ClassVar

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel import warehouse as warehouses
from flywheel.artifacts import VALIDATION, Examples
from flywheel.errors import ConfigError, DataError, SQLError
from flywheel.kept import KEPT, Kept
from flywheel.spans import Span
from flywheel.statistics.units import units
from flywheel.steps import extract as step
from flywheel.steps.extract import check, extract
from flywheel.steps.ready import Data
from flywheel.warehouse import ReadAgain
from flywheel.warehouse.duckdb import DuckDB

QUERY = "SELECT id, device, clicked FROM visits WHERE day >= @start AND day < @end"
DAYS = [span.name for span in Span.parse("2024-03-10").back(10)]


@pytest.fixture
def warehouse(tmp_path):
    """URL of a warehouse with ten visits a day for ten days, none on the fifth."""
    file = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            """
            CREATE TABLE visits AS
            SELECT
              i AS id, DATE '2024-03-01' + (i // 10)::INTEGER AS day, 'phone' AS device, (i % 3 = 0)::INT AS clicked
            FROM range(100) AS t(i) WHERE i // 10 <> 4
            """
        )
    return f"duckdb:///{file}"


def run(warehouse, path, spans=DAYS, query=QUERY, columns=("clicked",)):
    return extract(query, warehouse, spans, list(columns), {"every": "day"}, "", path)


def test_each_row_stands_in_its_span(warehouse, tmp_path):
    examples = run(warehouse, tmp_path / "examples")

    assert examples.spans == tuple(DAYS)
    assert examples.table(["2024-03-03"]).column("id").to_pylist() == list(range(20, 30))
    assert examples.rows == 90


def test_a_span_without_rows_between_others_is_kept_and_said(warehouse, tmp_path, capsys):
    examples = run(warehouse, tmp_path / "examples")

    assert examples.rows_of(["2024-03-05"]) == 0
    assert "none in 2024-03-05" in capsys.readouterr().out


def test_equal_rows_give_equal_digests(warehouse, tmp_path):
    assert run(warehouse, tmp_path / "a").digest == run(warehouse, tmp_path / "b").digest


def test_joined_rows_come_in_the_same_order_each_time(tmp_path):
    file = tmp_path / "joined.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE many AS SELECT i, DATE '2024-03-01' AS day FROM range(600_000) AS t(i)")
        connection.execute("CREATE TABLE few AS SELECT i * 3 AS i, i % 7 AS kind FROM range(50_000) AS t(i)")
    query = "SELECT m.i, f.kind FROM many AS m LEFT JOIN few AS f USING (i) WHERE m.day >= @start AND m.day < @end"

    digests = {run(f"duckdb:///{file}", tmp_path / f"{i}", DAYS[:1], query, ["kind"]).digest for i in range(3)}

    assert len(digests) == 1


def test_a_window_without_rows_names_the_time_there_is(warehouse, tmp_path):
    spans = [span.name for span in Span.parse("2025-01-10").back(3)]

    with pytest.raises(DataError, match="from 2024-03-01 00:00 to 2024-03-10 00:00: choose a span within the data"):
        run(warehouse, tmp_path / "examples", spans)
    assert not (tmp_path / "examples").exists()


def test_a_newest_span_without_rows_is_refused(warehouse, tmp_path):
    spans = [span.name for span in Span.parse("2024-03-12").back(4)]

    with pytest.raises(DataError, match="without rows are 2024-03-11, 2024-03-12") as error:
        run(warehouse, tmp_path / "examples", spans)
    assert "run again when its data has arrived" in error.value.remedy


def test_a_column_that_the_query_does_not_give_is_named_with_those_it_does(warehouse, tmp_path):
    with pytest.raises(ConfigError, match="'clickd'") as error:
        run(warehouse, tmp_path / "examples", columns=["id", "clickd"])

    assert "did you mean 'clicked'? it gives id, device, clicked" in error.value.remedy


def test_a_query_that_fails_half_way_leaves_nothing_behind(warehouse, tmp_path):
    query = "SELECT CAST(IF(id > 60, device, '1') AS INT64) AS x FROM visits WHERE day >= @start AND day < @end"

    with pytest.raises(SQLError, match="'phone'"):
        run(warehouse, tmp_path / "examples", query=query, columns=[])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["warehouse.duckdb"]


@pytest.mark.parametrize(
    ("every", "newest", "minutes"),
    [
        ("hour", "2024-03-10T09", [60, 60, 60, 60]),  # New York moves its clocks at 07:00 UTC of that day
        ("day", "2024-03-31", [1440, 1440, 1440, 1440]),  # Paris does on this one
        ("week", "2024-03-18", [4 * 1440 - 1440, 7 * 1440, 7 * 1440, 7 * 1440]),  # from Monday to Sunday
        ("month", "2024-04", [0, 0, 31 * 1440, 30 * 1440]),
    ],
)
@pytest.mark.parametrize("type", ["TIMESTAMPTZ", "TIMESTAMP"])
def test_spans_are_cut_in_utc_at_their_first_instant(tmp_path, every, newest, minutes, type):
    file = tmp_path / "ticks.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            f"CREATE TABLE ticks AS SELECT (TIMESTAMP '2024-03-01' + to_minutes(i::INT))::{type} AS seen "
            f"FROM range({61 * 1440}) AS t(i)"
        )
    spans = [span.name for span in Span.parse(newest, every).back(4)]
    query = "SELECT seen FROM ticks WHERE seen >= @start AND seen < @end"

    examples = extract(query, f"duckdb:///{file}", spans, [], {"every": every}, "", tmp_path / "examples")

    assert [examples.rows_of([span]) for span in spans] == minutes
    for span in (Span.parse(name, every) for name in spans if examples.rows_of([name])):
        seen = [at.replace(tzinfo=None) for at in examples.table([span.name]).column("seen").to_pylist()]
        assert span.start <= min(seen) <= max(seen) < span.end


def test_a_large_span_is_cut_into_shards_in_the_order_of_its_rows(tmp_path, monkeypatch):
    file = tmp_path / "many.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE many AS SELECT i, DATE '2024-03-01' AS day FROM range(900_000) AS t(i)")
    query = "SELECT i FROM many WHERE day >= @start AND day < @end"
    monkeypatch.setattr("flywheel.steps.extract.SHARD", 2**20)

    examples = run(f"duckdb:///{file}", tmp_path / "a", DAYS[:1], query, ["i"])
    again = run(f"duckdb:///{file}", tmp_path / "b", DAYS[:1], query, ["i"])

    assert [shard.name for _, shard in examples.shards()] == [f"part-{part:05d}.parquet" for part in range(7)]
    assert examples.table().column("i").to_pylist() == list(range(900_000))
    assert examples.rows_of(DAYS[:1]) == 900_000
    assert examples.digest == again.digest


def test_row_groups_have_one_size_however_the_warehouse_cuts_its_batches(tmp_path):
    schema = pa.schema([("i", pa.int64())])
    sizes = [1, 100_000, 300_000, 7, 50_000]
    with Examples.writer(tmp_path / "examples", schema, producer="extract") as writer:
        first = [sum(sizes[:place]) for place in range(len(sizes))]
        columns = [pa.array(range(start, start + size)) for start, size in zip(first, sizes, strict=True)]
        writer.write("2024-03-01", [pa.RecordBatch.from_arrays([column], schema=schema) for column in columns])
    examples = Examples.open(tmp_path / "examples")
    (shard,) = [file for _, file in examples.shards()]
    groups = pq.ParquetFile(shard).metadata

    found = [groups.row_group(place).num_rows for place in range(groups.num_row_groups)]
    assert found == [131072, 131072, 131072, sum(sizes) - 3 * 131072]
    assert examples.table().column("i").to_pylist() == list(range(sum(sizes)))


class Breaking(DuckDB):
    """A warehouse whose first reading of each span breaks off after its first batch."""

    broken: ClassVar[set[Span]] = set()

    def batches(self, query, span, state=""):
        for batch in super().batches(query, span, state):
            yield batch
            if span not in self.broken:
                self.broken.add(span)
                raise ReadAgain("the stream broke", "read the span again.")


def connect(url, options):
    path = url.removeprefix("breaking:///")
    return Breaking(path, lambda _: "")


def test_a_span_whose_reading_broke_off_is_read_again_from_its_first_row(warehouse, tmp_path, monkeypatch):
    monkeypatch.setitem(warehouses._MODULES, "breaking", __name__)
    Breaking.broken.clear()

    examples = run(warehouse.replace("duckdb://", "breaking://"), tmp_path / "broken")

    assert len(Breaking.broken) == 9
    assert examples.digest == run(warehouse, tmp_path / "whole").digest


class _LongAndBroken:
    """A warehouse whose first span has rows for a minute, and whose second one fails."""

    def __init__(self):
        self.asked = []

    def batches(self, query, span, state=""):
        self.asked.append(span.name)
        if span.name != "2024-03-01":
            raise SQLError("the query fails")
        until = time.monotonic() + 60
        while time.monotonic() < until:
            yield pa.record_batch([pa.array(range(1000), pa.int64())], ["id"])


def test_what_is_being_read_is_given_up_when_another_span_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(step, "SHARD", 1)
    monkeypatch.setattr(step, "ROW_GROUP", 1)
    source, begun = _LongAndBroken(), time.monotonic()
    spans = [Span.parse(f"2024-03-{day:02d}") for day in range(1, 29)]

    with (
        pytest.raises(SQLError, match="the query fails"),
        Examples.writer(tmp_path / "x", pa.schema([("id", pa.int64())]), producer="extract") as writer,
    ):
        step._Copy(source, "", "", writer, Kept(), {}).all(spans)

    assert time.monotonic() - begun < 30
    assert not (tmp_path / "x").exists()


def test_a_key_that_the_query_does_not_give_is_told_before_anything_runs(warehouse):
    check(QUERY, warehouse, ["clicked"], {"sample": {"key": ["device"], "share": 0.5}})

    with pytest.raises(ConfigError, match=r"source\.split\.key names 'devise'"):
        check(QUERY, warehouse, ["clicked"], {"split": {"key": ["devise"], "validation": 0.1}})


def test_sample_and_split_decide_which_rows_are_written_and_which_held_back(warehouse, tmp_path):
    source = {"every": "day", "sample": {"key": ["id"], "share": 0.5}, "split": {"key": ["id"], "validation": 0.5}}
    days = [day for day in DAYS if day != "2024-03-05"]

    examples = extract(QUERY, warehouse, days, ["clicked"], source, "", tmp_path / "examples")
    table = examples.table(columns=["id", VALIDATION])

    assert examples.columns == ("id", "device", "clicked")
    assert examples.table().schema.names == ["id", "device", "clicked"]
    assert next(examples.batches())[1].schema.names == ["id", "device", "clicked"]
    assert 20 < table.num_rows < 70
    assert 0.2 < sum(table.column(VALIDATION).to_pylist()) / table.num_rows < 0.8


def test_statistics_do_not_count_which_rows_are_held_back(warehouse, tmp_path):
    source = {"every": "day", "split": {"key": ["id"], "validation": 0.5}}
    examples = extract(QUERY, warehouse, DAYS[:1], [], source, "", tmp_path / "examples")
    (unit,) = units(examples, examples.spans)

    with open(unit.path, "rb") as file:
        assert next(unit.read(file)).schema.names == ["id", "device", "clicked"]


def test_rows_that_were_extracted_before_are_taken_again_while_the_warehouse_says_they_are_the_same(
    warehouse, tmp_path, monkeypatch
):
    fresh = run(warehouse, tmp_path / "fresh", DAYS[1:])
    monkeypatch.setenv(KEPT, f"code:{tmp_path / 'root'}")

    def at(state, name, spans):
        return extract(QUERY, warehouse, spans, ["clicked"], {"every": "day"}, state, tmp_path / name)

    at("monday", "first", DAYS[:-1])
    with duckdb.connect(warehouse.removeprefix("duckdb:///")) as connection:
        connection.execute("DELETE FROM visits WHERE day < DATE '2024-03-10'")
    same, other = at("monday", "same", DAYS[1:]), at("tuesday", "other", DAYS[1:])
    unknown = run(warehouse, tmp_path / "unknown", DAYS[1:])

    assert (same.rows, same.digest) == (fresh.rows, fresh.digest)
    assert other.rows == unknown.rows == 10


def test_a_span_whose_rows_were_extracted_is_ready_without_a_look_at_the_rows(warehouse, tmp_path, monkeypatch):
    monkeypatch.setenv(KEPT, f"code:{tmp_path / 'root'}")
    file, source = tmp_path / "warehouse.duckdb", {"every": "day"}
    last, before = Span.parse(DAYS[-1]), Span.parse(DAYS[-2])
    with Data(warehouse, QUERY, source) as data:
        state = data.state
    extract(QUERY, warehouse, DAYS, ["clicked"], source, state, tmp_path / "examples")

    when = file.stat().st_mtime_ns
    file.write_bytes(bytes(file.stat().st_size))  # it is no database any more, and looks as if nothing had happened
    os.utime(file, ns=(when, when))
    with Data(warehouse, QUERY, source) as data:
        assert data.state == state
        assert data.lacks(last) == ""
        with pytest.raises(ConfigError, match="does not open"):
            data.lacks(before)

    os.utime(file, ns=(when + 1, when + 1))
    with Data(warehouse, QUERY, source) as data, pytest.raises(ConfigError, match="does not open"):
        data.lacks(last)
