"""The catalogue: each fault does what it says, on its days and on no other."""

import runpy
from collections import Counter
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from flywheel.warehouse import sql
from tests.faults.catalogue import FAULTS, named
from tests.faults.fault import ROWS

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
QUERY = sql.translate((EXAMPLE / "flights.sql").read_text()).duckdb
LAST = date(2013, 5, 28)  # a Tuesday with rain
SIZES = ["small", "medium", "large"]
DAY = "make_date(year, month, day)"


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    """The flights and their weather from a month before the day to the day after, and of half a year later."""
    file = tmp_path_factory.mktemp("faults") / "warehouse.duckdb"
    example = runpy.run_path(str(EXAMPLE / "load.py"))
    example["fill"](file, example["source"]())
    season = LAST + timedelta(182)
    near = " OR ".join(
        f"{DAY} BETWEEN DATE '{day - timedelta(before)}' AND DATE '{day + timedelta(1)}'"
        for day, before in ((LAST, 30), (season, 1))
    )
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = 'UTC'; SET threads = 1; ATTACH '{file}' AS year (READ_ONLY)")
        connection.execute("CREATE TABLE planes AS FROM year.planes")
        for table in ("flights", "weather"):
            connection.execute(f"CREATE TABLE {table} AS FROM year.{table} WHERE {near}")
        yield connection


@pytest.fixture(scope="module")
def clean(connection):
    return rows_of(connection), digests(connection)


def rows_of(connection):
    """Return the rows that the query gives for the last day."""
    return Counter(connection.execute(QUERY, {"start": LAST, "end": LAST + timedelta(1)}).fetchall())


def digests(connection):
    """Return number and digest of the rows that the query gives for each day."""
    query = QUERY.replace("SELECT", "SELECT MAKE_DATE(f.year, f.month, f.day) AS span,", 1)
    found = connection.execute(
        f"SELECT span, count(*), sum(md5_number_lower(CAST(q AS VARCHAR))::HUGEINT) FROM ({query}) AS q GROUP BY span",
        {"start": date(2013, 1, 1), "end": date(2014, 1, 1)},
    ).fetchall()
    return {day: tuple(rest) for day, *rest in found}


@contextmanager
def damaged(connection, fault, size):
    connection.execute("BEGIN")
    try:
        fault.apply(connection, LAST - timedelta(fault.days - 1), LAST, fault.sizes[size])
        yield
    finally:
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_changes_its_days_and_no_other_and_a_larger_size_no_fewer_rows(connection, clean, fault):
    before, before_by_day = clean
    changed = []
    for size in SIZES:
        with damaged(connection, fault, size):
            after = rows_of(connection)
            changed.append((before - after).total() + (after - before).total())
            if size == "large":
                after_by_day = digests(connection)

    touched = {day for day in before_by_day | after_by_day if before_by_day.get(day) != after_by_day.get(day)}
    assert LAST in touched
    assert all(LAST - timedelta(fault.days) < day <= LAST for day in touched), sorted(touched)
    assert changed[0] > 0
    assert changed == sorted(changed)


def test_what_is_rolled_back_leaves_nothing(connection, clean):
    with damaged(connection, named("distance_in_kilometres"), "large"):
        assert rows_of(connection) != clean[0]

    assert (rows_of(connection), digests(connection)) == clean


def test_the_same_fault_hits_the_same_rows_each_time(connection):
    seen = []
    for _ in range(2):
        with damaged(connection, named("temperature_noise"), "medium"):
            seen.append(rows_of(connection))

    assert seen[0] == seen[1]


def test_there_are_enough_faults_each_with_a_name_of_its_own_and_three_sizes():
    assert len(FAULTS) >= 45
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert all(list(fault.sizes) == SIZES for fault in FAULTS)


def test_every_fault_names_columns_that_the_query_gives(connection):
    columns = {column[0] for column in connection.execute(QUERY, {"start": LAST, "end": LAST}).description}

    for fault in FAULTS:
        assert set(fault.columns) - {ROWS} <= columns, fault.name
