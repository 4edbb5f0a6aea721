"""Parquet and CSV files as tables."""

import os

import duckdb
import pytest

from flywheel import warehouse as warehouses
from flywheel.errors import ConfigError, SQLError
from flywheel.spans import Span
from tests.warehouse.test_duckdb import rows

DAY = Span.parse("2024-03-02")
QUERY = "SELECT id FROM visits WHERE day >= @start AND day < @end ORDER BY id"
ROWS = "SELECT i AS id, DATE '2024-03-01' + (i // 10)::INTEGER AS day FROM range({0}, {1}) AS t(i)"


def write(file, text=None, start=0, stop=100, options=""):
    file.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({text or ROWS.format(start, stop)}) TO '{file}' {options}")


@pytest.mark.parametrize(
    ("files", "pattern"),
    [
        (["visits.parquet"], "*.parquet"),
        (["visits.parquet"], "visits.parquet"),
        (["visits.parquet"], ""),
        (["visits.csv"], "*.csv"),
        (["visits.csv.gz"], "**/*.csv.gz"),
        (["visits/a.parquet", "visits/b.parquet"], "**/*.parquet"),
        (["visits/a.parquet", "visits/b.parquet"], "*/*.parquet"),
        (["visits/2024/a.parquet", "visits/2024/b.parquet"], ""),
        (["visits/a.csv", "visits/b.csv"], "visits*/*.csv"),
    ],
)
def test_a_table_is_a_file_or_a_folder_of_that_name(tmp_path, files, pattern):
    for number, file in enumerate(files):
        write(tmp_path / "data" / file, start=number * 50, stop=100 if len(files) == 1 else number * 50 + 50)
    kind = "csv" if ".csv" in files[0] else "parquet"

    found = rows(f"{kind}:///{tmp_path}/data/{pattern}", QUERY, DAY)

    assert [row["id"] for row in found] == list(range(10, 20))


@pytest.mark.parametrize("pattern", ["**/*.parquet", "visits/day=*/*.parquet", ""])
def test_partitions_add_their_column_whether_the_pattern_begins_above_or_at_them(tmp_path, pattern):
    for day in ("2024-03-01", "2024-03-02", "2024-03-03"):
        write(tmp_path / "visits" / f"day={day}" / "part.parquet", f"SELECT '{day}' AS id")

    assert rows(f"parquet:///{tmp_path}/{pattern}", QUERY, DAY) == [{"id": "2024-03-02"}]


def test_files_of_one_table_may_have_got_a_column_in_the_meantime(tmp_path):
    write(tmp_path / "visits" / "1.parquet", "SELECT 1 AS id, DATE '2024-03-02' AS day")
    write(tmp_path / "visits" / "2.parquet", "SELECT 2 AS id, DATE '2024-03-02' AS day, 'phone' AS device")
    query = "SELECT id, device FROM visits WHERE day >= @start AND day < @end ORDER BY id"

    assert rows(f"parquet:///{tmp_path}", query, DAY) == [{"id": 1, "device": None}, {"id": 2, "device": "phone"}]


def test_tables_of_several_files_are_joined_and_datasets_before_their_names_left_out(tmp_path):
    write(tmp_path / "visits.parquet")
    write(tmp_path / "names" / "a.parquet", "SELECT i AS id, 'n' || i AS name FROM range(100) AS t(i)")
    query = "SELECT name FROM `p.web.visits` JOIN web.names USING (id) WHERE day >= @start AND day < @end ORDER BY name"

    assert len(rows(f"parquet:///{tmp_path}/**/*.parquet", query, DAY)) == 10


@pytest.mark.parametrize("url", ["parquet:///data", "parquet:///data/*.parquet"])
def test_a_folder_beside_the_project_has_a_state_that_says_when_its_files_changed(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data" / "visits.parquet")
    with warehouses.open(url) as source:
        before = source.state(QUERY)
        write(tmp_path / "data" / "visits.parquet", stop=50)
        assert source.state(QUERY) != before


def test_a_query_reads_the_tables_files_and_no_others(tmp_path):
    write(tmp_path / "tables" / "visits.parquet")
    write(tmp_path / "secret.parquet", "SELECT 'secret' AS word")
    write(tmp_path / "tables" / "_private.parquet", "SELECT 'secret' AS word")
    with warehouses.open(f"parquet:///{tmp_path}/tables/*.parquet") as source:
        for file in ("secret.parquet", "tables/_private.parquet"):
            query = f"SELECT word, @start AS s FROM read_parquet('{tmp_path / file}')"
            with pytest.raises(SQLError, match="disabled by configuration"):
                source.schema(query)
        assert source.count(QUERY, DAY) == 10


def test_the_state_is_that_of_the_files_that_the_query_reads(tmp_path):
    write(tmp_path / "visits" / "a.parquet")
    write(tmp_path / "other.parquet")
    url = f"parquet:///{tmp_path}/**/*.parquet"

    def state():
        with warehouses.open(url) as source:
            return source.state(QUERY)

    first = state()
    write(tmp_path / "other.parquet", stop=5)
    assert state() == first
    write(tmp_path / "visits" / "b.parquet", start=100, stop=101)
    added = state()
    assert added != first
    status = (tmp_path / "visits" / "a.parquet").stat()
    os.utime(tmp_path / "visits" / "a.parquet", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert state() not in (first, added)


@pytest.mark.parametrize(
    ("pattern", "said", "remedy"),
    [
        ("*.parquet", "no .parquet file matches", "fill the folder first"),
        ("nowhere/**/*.parquet", "no .parquet file matches", "a glob as data"),
        ("both/**/*.parquet", "table 'visits' would be both", "rename one"),
        ("broken/*.parquet", "does not open", "make it anew"),
    ],
)
def test_files_that_make_no_tables_are_refused(tmp_path, pattern, said, remedy):
    write(tmp_path / "both" / "visits.parquet")
    write(tmp_path / "both" / "visits" / "a.parquet")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "visits.parquet").write_text("no Parquet")

    with pytest.raises(ConfigError) as error:
        warehouses.open(f"parquet:///{tmp_path}/{pattern}").schema("SELECT 1 AS one, @start AS at")

    assert said in error.value.message
    assert remedy in error.value.remedy


def test_a_table_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    write(tmp_path / "visits.parquet")
    with warehouses.open(f"parquet:///{tmp_path}/*.parquet") as source, pytest.raises(SQLError) as error:
        source.schema(QUERY.replace("visits", "visit"))

    assert "no table 'visit', read at line 1" in error.value.message
    assert "did you mean 'visits'" in error.value.remedy


def test_a_csv_value_that_is_not_of_its_columns_type_is_an_error_with_its_line(tmp_path):
    lines = [f"{number},2024-03-02" for number in range(50_000)] + ["many,2024-03-02"]
    (tmp_path / "visits.csv").write_text("\n".join(["id,day", *lines]))

    with pytest.raises(SQLError, match=r"line 50002 of '.*visits\.csv'.*\"many\" to 'BIGINT'") as error:
        rows(f"csv:///{tmp_path}/*.csv", QUERY, DAY)

    assert "mend that line" in error.value.remedy
