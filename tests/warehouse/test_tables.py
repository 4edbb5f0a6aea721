"""Tables that Flywheel writes, alike in every warehouse: a span's rows take the place of those it had."""

from datetime import UTC

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel.errors import ConfigError, DataError
from flywheel.spans import Span
from flywheel.warehouse.tables import SPAN, VERSION, open_table
from tests.stand_ins.bigquery import StandIn

FIRST = Span.parse("2013-06-01")


def rows_in(folder, span, version, count=3, **columns):
    """Write a file of rows as scoring leaves one."""
    made = {"id": list(range(count)), "prediction": [0.5] * count} | columns
    table = pa.table(made).append_column(SPAN, pa.array([span.start.replace(tzinfo=UTC)] * count, _TIME))
    file = folder / "rows.parquet"
    pq.write_table(table.append_column(VERSION, pa.array([version] * count, pa.string())), file)
    return file


_TIME = pa.timestamp("us", tz="UTC")


@pytest.fixture
def bigquery(monkeypatch):
    with StandIn() as stand_in:
        for name, value in stand_in.environment.items():
            monkeypatch.setenv(name, value)
        yield stand_in
        assert stand_in.violations == []


@pytest.fixture(params=["parquet", "duckdb", "bigquery"])
def table(request, tmp_path):
    if request.param == "bigquery":
        request.getfixturevalue("bigquery")
        return open_table("bigquery://my-project/shop", "scores")
    return open_table(f"{request.param}:///{tmp_path}/{request.param}", "scores")


def test_a_table_that_is_not_there_has_no_rows(table):
    assert table.versions(FIRST) == {}
    assert table.newest() == ""


def test_a_span_takes_the_place_of_its_rows_and_leaves_the_others(table, tmp_path):
    table.replace(FIRST, rows_in(tmp_path, FIRST, "1"))
    table.replace(FIRST.shift(1), rows_in(tmp_path, FIRST.shift(1), "1", count=5))
    table.replace(FIRST, rows_in(tmp_path, FIRST, "2", count=4))

    assert table.versions(FIRST) == {"2": 4}
    assert table.versions(FIRST.shift(1)) == {"1": 5}
    assert table.newest() == "1"


def test_a_column_that_is_new_is_added(table, tmp_path):
    table.replace(FIRST, rows_in(tmp_path, FIRST, "1"))
    table.replace(FIRST.shift(1), rows_in(tmp_path, FIRST.shift(1), "2", carrier=["UA", "AA", "HA"]))

    assert table.versions(FIRST) == {"1": 3}
    assert table.versions(FIRST.shift(1)) == {"2": 3}


def test_no_rows_empty_a_span(table, tmp_path):
    table.replace(FIRST, rows_in(tmp_path, FIRST, "1"))
    table.replace(FIRST, rows_in(tmp_path, FIRST, "1", count=0, id=pa.array([], pa.int64()), prediction=[0.5] * 0))

    assert table.versions(FIRST) == {}


@pytest.mark.parametrize(
    ("every", "name", "partition", "kind"),
    [
        ("hour", "2013-06-01T09", "2013060109", "HOUR"),
        ("day", "2013-06-01", "20130601", "DAY"),
        ("week", "2013-06-03", "20130603", "DAY"),
        ("month", "2013-06", "201306", "MONTH"),
    ],
)
def test_bigquery_gets_one_load_job_for_the_partition_of_a_span(bigquery, tmp_path, every, name, partition, kind):
    span = Span.parse(name, every)
    open_table("bigquery://my-project/shop", "scores").replace(span, rows_in(tmp_path, span, "1"))

    (job,) = bigquery.submitted
    load = job["configuration"]["load"]
    assert load["destinationTable"]["tableId"] == f"scores${partition}"
    assert load["writeDisposition"] == "WRITE_TRUNCATE"
    assert load["timePartitioning"] == {"type": kind, "field": SPAN}
    assert job["configuration"]["labels"] == {"flywheel-span": name.lower()}


def test_what_bigquery_refuses_leaves_the_rows_as_they_were(bigquery, tmp_path):
    table = open_table("bigquery://my-project/shop", "scores")
    table.replace(FIRST, rows_in(tmp_path, FIRST, "1"))
    bigquery.fail("late_failure", with_="resourcesExceeded")

    with pytest.raises(DataError, match="resourcesExceeded"):
        table.replace(FIRST, rows_in(tmp_path, FIRST, "2"))

    assert table.versions(FIRST) == {"1": 3}


def test_what_bigquery_does_not_take_is_said_with_the_table(bigquery, tmp_path):
    table = open_table("bigquery://my-project/shop", "scores")

    with pytest.raises(ConfigError, match=r"does not take rows for my-project.shop.scores: Some rows belong to diff"):
        table.replace(FIRST.shift(1), rows_in(tmp_path, FIRST, "2"))


def test_an_upload_goes_on_when_bigquery_is_away_for_a_moment(bigquery, tmp_path):
    table = open_table("bigquery://my-project/shop", "scores")
    bigquery.fail("unavailable")
    table.replace(FIRST, rows_in(tmp_path, FIRST, "1"))

    assert table.versions(FIRST) == {"1": 3}


def test_a_duckdb_file_that_somebody_reads_is_named_with_what_to_do(tmp_path):
    table = open_table(f"duckdb:///{tmp_path}/x.duckdb", "scores")
    table.replace(FIRST, rows_in(tmp_path, FIRST, "1"))

    with duckdb.connect(f"{tmp_path}/x.duckdb", read_only=True), pytest.raises(ConfigError, match="cannot be written"):
        table.replace(FIRST, rows_in(tmp_path, FIRST, "2"))

    assert table.versions(FIRST) == {"1": 3}


@pytest.mark.parametrize("url", ["mysql://here", "csv:///x", "duckdb://x", "bigquery://my-project"])
def test_what_cannot_be_written_to_is_refused(url):
    with pytest.raises(ConfigError, match=r"cannot be written to|names no dataset"):
        open_table(url, "scores")
