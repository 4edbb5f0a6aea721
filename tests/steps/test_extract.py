import duckdb
import pytest

from flywheel.artifacts import Examples
from flywheel.errors import ConfigError, DataError, SQLError
from flywheel.spans import Span
from flywheel.steps.extract import extract

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


def test_hours_are_cut_at_the_hour(tmp_path):
    file = tmp_path / "hours.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            "CREATE TABLE ticks AS SELECT TIMESTAMP '2024-03-01' + to_minutes(i::INT) AS seen FROM range(300) AS t(i)"
        )
    spans = [span.name for span in Span.parse("2024-03-01T04", "hour").back(5)]
    query = "SELECT seen FROM ticks WHERE seen >= @start AND seen < @end"

    examples = extract(query, f"duckdb:///{file}", spans, [], {"every": "hour"}, "", tmp_path / "examples")

    assert [examples.rows_of([span]) for span in spans] == [60] * 5
    assert Examples.open(tmp_path / "examples").digest == examples.digest
