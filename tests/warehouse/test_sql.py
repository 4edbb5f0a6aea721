import pytest

from flywheel.errors import SQLError
from flywheel.warehouse.sql import translate

WHERE = "FROM t WHERE x >= @start AND x < @end"


@pytest.mark.parametrize(
    ("query", "said", "remedy"),
    [
        (f"SELECT a,, b\n{WHERE} AND (", "line 2", "mend it there"),
        (f"SELECT a\n{WHERE} AND b = 'abc\n", "line 2", "close every quote"),
        ("SELECT a FROM t", "neither @start nor @end", "WHERE time >= @start"),
        ("SELECT a FROM t WHERE x > @begin", "@begin", "only @start and @end"),
        ("DELETE FROM t WHERE x > @start", "one SELECT, found delete", "single SELECT"),
        (f"SELECT a {WHERE}; SELECT b {WHERE}", "found select, select", "single SELECT"),
        ("-- nothing\n", "found nothing", "single SELECT"),
        (f"SELECT EXTRACT(WEEK FROM d) {WHERE}", "EXTRACT(WEEK", "ISOWEEK"),
    ],
)
def test_what_cannot_be_translated_is_named(query, said, remedy):
    with pytest.raises(SQLError) as error:
        translate(query)

    assert said in error.value.message
    assert remedy in error.value.remedy


def test_parameters_are_found_whatever_their_case():
    query = translate("SELECT a FROM t WHERE x >= @START AND y > @start")

    assert query.parameters == {"start"}
    assert query.duckdb.count("$start") == 2


def test_tables_made_by_with_are_not_the_warehouse_s():
    query = translate(f"WITH u AS (SELECT * {WHERE}) SELECT * FROM u JOIN v USING (a)")

    assert {table.name for table in query.tables()} == {"t", "v"}


def test_repairs_reach_constructs_within_one_another():
    query = translate(f"SELECT TIMESTAMP_DIFF(a, b, HOUR) + EXTRACT(DAYOFWEEK FROM DATE(FORMAT('%s', c))) {WHERE}")

    assert "DATE_SUB('HOUR', b, a)" in query.duckdb
    assert "PRINTF('%s', c)" in query.duckdb
    assert "+ 1)" in query.duckdb
