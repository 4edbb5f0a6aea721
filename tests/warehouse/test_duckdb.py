import datetime
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest

from flywheel import warehouse as warehouses
from flywheel.errors import ConfigError, SQLError
from flywheel.spans import Span

SPAN = Span.parse("2024-03-03")


def rows(url, query, span=SPAN):
    with warehouses.open(url) as source:
        return [row for batch in source.batches(query, span) for row in batch.to_pylist()]


def one(url, expression):
    return rows(url, f"SELECT {expression} AS x FROM visits WHERE seen >= @start AND seen < @end LIMIT 1")[0]["x"]


@pytest.mark.parametrize(
    "condition",
    [
        "seen >= @start AND seen < @end",
        "day >= @start AND day < @end",
        "DATE(seen) >= @start AND DATE(seen) < @end",
        "DATETIME(seen) BETWEEN @start AND DATETIME_SUB(@end, INTERVAL 1 SECOND)",
        "day = DATE(@start)",
    ],
)
def test_a_span_is_bound_to_timestamps_dates_and_datetimes_alike(warehouse, condition):
    found = rows(warehouse, f"SELECT id FROM visits WHERE {condition} ORDER BY id")

    assert [row["id"] for row in found] == list(range(20, 30))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("EXTRACT(DAYOFWEEK FROM DATE '2024-03-03')", 1),  # a Sunday is 1 in BigQuery, 0 in DuckDB
        ("EXTRACT(ISOWEEK FROM DATE '2024-03-03')", 9),
        ("TIMESTAMP_DIFF(TIMESTAMP '2024-03-03 01:00:00+00', TIMESTAMP '2024-03-03 00:10:00+00', HOUR)", 0),
        ("FORMAT('%03d', 7)", "007"),
        ("DATE(TIMESTAMP '2024-03-03 02:00:00+00', 'America/New_York')", datetime.date(2024, 3, 2)),
        ("SAFE_DIVIDE(1, 0)", None),
        ("IF(NULL, 1, 2)", 2),
        ("1 / 2", 0.5),
        ("CONCAT('a', NULL)", None),
    ],
)
def test_functions_mean_what_they_mean_in_bigquery(warehouse, expression, expected):
    assert one(warehouse, expression) == expected


def test_whole_numbers_are_int64_and_times_are_utc_as_in_bigquery(warehouse):
    query = """
        SELECT SUM(pages) AS total, COUNT(*) AS n, AVG(pages) AS mean, MAX(seen) AS last, CAST(1 AS NUMERIC) AS m
        FROM visits WHERE seen >= @start AND seen < @end
    """
    with warehouses.open(warehouse) as source:
        types = {field.name: field.type for field in source.schema(query)}

    assert types.pop("m") in (pa.decimal128(18, 3), pa.decimal128(38, 9))
    assert types == {
        "total": pa.int64(), "n": pa.int64(), "mean": pa.float64(), "last": pa.timestamp("us", "UTC"),
    }  # fmt: skip
    assert isinstance(rows(warehouse, query)[0]["m"], Decimal)


@pytest.mark.parametrize(
    ("query", "said", "remedy"),
    [
        ("SELECT IEEE_DIVIDE(1, 0) FROM visits\nWHERE seen > @start", "IEEE_DIVIDE at line 1", "both have"),
        ("SELECT id,\n  devise FROM visits WHERE seen > @start", "'devise' at line 2, column 3 in visits", "'device'"),
        ("SELECT v.devise FROM visits v WHERE seen > @start", "'devise'", "did you mean 'device'"),
        ("SELECT id FROM visit WHERE seen > @start", "no table 'visit', read at line 1", "'visits'"),
        ("SELECT id FROM `a.b.visits` WHERE seen > @start", "no table 'b.visits'", "'visits'"),
        ("SELECT id, pages AS id FROM visits WHERE seen > @start", "two columns named 'id'", "by AS"),
        ("SELECT * FROM 'secret.csv' WHERE seen > @start", "disabled by configuration", "mend it"),
    ],
)
def test_what_the_warehouse_does_not_have_is_named_with_the_nearest(warehouse, query, said, remedy):
    with warehouses.open(warehouse) as source, pytest.raises(SQLError) as error:
        source.schema(query)

    assert said in error.value.message
    assert remedy in error.value.remedy


def test_a_query_that_fails_while_it_runs_is_an_sql_error(warehouse):
    with pytest.raises(SQLError, match=r"'(desk|phone)'"):
        rows(warehouse, "SELECT CAST(device AS INT64) AS x FROM visits WHERE seen >= @start AND seen < @end")


def test_the_project_in_a_table_name_is_left_out(warehouse):
    assert len(rows(warehouse, "SELECT id FROM `my-project.main.visits` WHERE seen >= @start AND seen < @end")) == 10


def test_the_extent_of_the_data_is_told_for_a_plain_condition(warehouse):
    with warehouses.open(warehouse) as source:
        plain = source.extent("SELECT device, COUNT(*) FROM visits WHERE day >= @start AND day < @end GROUP BY device")
        nested = source.extent("SELECT * FROM (SELECT * FROM visits WHERE day >= @start)")

    assert plain == (datetime.datetime(2024, 3, 1), datetime.datetime(2024, 3, 10))
    assert nested is None


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("seen >= @start", "2024-03-01 to 2024-03-10"),
        ("UNIX_SECONDS(seen) >= UNIX_SECONDS(@start)", None),
        ("FORMAT_TIMESTAMP('%Y%m%d', seen) >= FORMAT_TIMESTAMP('%Y%m%d', @start)", None),
    ],
)
def test_the_extent_is_two_times_or_none_whatever_is_compared(warehouse, condition, expected):
    with warehouses.open(warehouse) as source:
        extent = source.extent(f"SELECT * FROM visits WHERE {condition}")

    assert (f"{extent[0]:%Y-%m-%d} to {extent[1]:%Y-%m-%d}" if extent else None) == expected
    assert extent is None or extent[0].tzinfo is None


def test_rows_are_streamed_in_batches(tmp_path):
    file = tmp_path / "large.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE many AS SELECT i, TIMESTAMP '2024-03-03' AS seen FROM range(500_000) AS t(i)")
    with warehouses.open(f"duckdb:///{file}") as source:
        batches = list(source.batches("SELECT i FROM many WHERE seen >= @start AND seen < @end", SPAN))

    assert sum(batch.num_rows for batch in batches) == 500_000
    assert max(batch.num_rows for batch in batches) <= 128 * 1024


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("snowflake://my-project", r"known here: duckdb://"),
        ("warehouse.duckdb", r"known here: duckdb://"),
        ("duckdb:///nowhere.duckdb", "fill it first"),
    ],
)
def test_a_warehouse_that_is_not_there_is_refused(url, remedy):
    with pytest.raises(ConfigError, match=remedy):
        warehouses.open(url)


def test_a_password_in_the_url_of_another_database_is_not_shown():
    with pytest.raises(ConfigError, match="postgres://…' is of no known kind") as error:
        warehouses.open("postgres://me:hush@host/shop")

    assert "hush" not in str(error.value)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no database " * 1000)

    with pytest.raises(ConfigError, match="make it anew"):
        warehouses.open(f"duckdb:///{tmp_path / 'notes.txt'}").schema("SELECT 1 AS one, @start AS at")


def test_a_query_that_needs_more_memory_than_a_stream_does_gets_it(tmp_path, monkeypatch):
    file = tmp_path / "large.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE many AS SELECT i, TIMESTAMP '2024-03-03' AS seen FROM range(500_000) AS t(i)")
    monkeypatch.setattr("flywheel.warehouse.duckdb._FILE_MEMORY", "3MB")
    query = "SELECT a.i, b.i AS j FROM many AS a JOIN many AS b USING (i) WHERE a.seen >= @start ORDER BY a.i DESC"

    assert rows(f"duckdb:///{file}", query)[0] == {"i": 499_999, "j": 499_999}


def test_a_count_is_that_of_the_rows(warehouse):
    query = "SELECT device, COUNT(*) AS n FROM visits WHERE day >= @start AND day < @end GROUP BY device;"
    with warehouses.open(warehouse) as source:
        assert source.count(query, SPAN) == 2
        assert source.count(query, Span.parse("2030-01-01")) == 0


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT MAX(seen) FROM visits", datetime.datetime(2024, 3, 10, 21)),
        ("SELECT MAX(day) FROM visits", datetime.datetime(2024, 3, 10)),
        ("SELECT TIMESTAMP '2024-03-01 00:00:00+02'", datetime.datetime(2024, 2, 29, 22)),
        ("SELECT MAX(day) FROM visits WHERE FALSE", None),
    ],
)
def test_a_watermark_is_a_time_in_utc(warehouse, query, expected):
    with warehouses.open(warehouse) as source:
        assert source.watermark(query) == expected


def test_nothing_is_left_behind_when_it_is_closed(warehouse, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted(tmp_path.iterdir())

    rows(warehouse, "SELECT id FROM visits WHERE seen >= @start ORDER BY id")

    assert sorted(tmp_path.iterdir()) == before
