"""States of tables, and their rows as they were."""

import datetime
import threading
import time

import pytest
from google.cloud.bigquery import TableReference

from flywheel import warehouse as warehouses
from flywheel.artifacts import Examples
from flywheel.errors import DataError
from flywheel.steps.extract import extract
from flywheel.warehouse import sql
from flywheel.warehouse.bigquery import requests
from tests.warehouse.bigquery.conftest import QUERY, SPAN, URL, VISITS

LATER = "SELECT id * 10 AS id, seen, local, day, device FROM v1 WHERE id % 3 = 0"
NOW = datetime.datetime.now(datetime.UTC)


def state(query=QUERY):
    with warehouses.open(URL) as source:
        return source.state(query)


def bytes_of(path, state):
    extract(QUERY, URL, [SPAN.name], ["id"], {"every": "day"}, state, path)
    return [file.read_bytes() for _, file in Examples.open(path).shards()]


def test_a_span_is_extracted_again_byte_for_byte_after_its_table_changed(bigquery, tmp_path):
    then = state()
    first = bytes_of(tmp_path / "first", then)
    bigquery.put("my-project.shop.visits", LATER)
    bigquery.expire_results()

    assert bytes_of(tmp_path / "again", then) == first
    assert bytes_of(tmp_path / "now", state()) != first
    assert len(bigquery.submitted) == 3


def test_a_state_is_another_one_when_a_table_changed_and_only_then(bigquery):
    bigquery.put("my-project.shop.other", "SELECT 1 AS id")
    before = state()

    assert state() == before
    bigquery.put("my-project.shop.other", "SELECT 2 AS id")
    assert state() == before
    bigquery.put("my-project.shop.visits", LATER)
    assert state() != before


def test_an_array_in_a_struct_is_not_taken_for_a_table_of_another_project(bigquery):
    query = "SELECT 1 FROM visits AS v WHERE day >= @start AND EXISTS (SELECT 1 FROM v.basket.goods)"
    with warehouses.open(URL) as source:
        visits = TableReference.from_string("my-project.shop.visits")

        assert source._snapshots.state(query, [visits]).digest


def test_what_is_read_twice_is_read_as_of_one_time(bigquery, rows):
    joined = (
        "SELECT a.id FROM visits AS a JOIN `my-project.shop.visits` b USING (id) WHERE a.day >= @start AND a.day < @end"
    )

    assert len(rows(joined)) == 720
    assert bigquery.submitted[0]["configuration"]["query"]["query"].count("FOR SYSTEM_TIME AS OF") == 2


def test_a_with_may_have_the_name_of_the_table_that_it_reads(bigquery, rows):
    phones = "SELECT * FROM visits WHERE device = 'phone'"
    query = f"WITH visits AS ({phones}) SELECT id FROM visits WHERE day >= @start AND day < @end"
    then = state(query)
    bigquery.put("my-project.shop.visits", LATER)

    assert len(rows(query, state=then)) == 360


def test_a_view_that_changes_while_the_query_runs_is_noticed(bigquery, rows):
    bigquery.engine.put_view("my-project.shop.phones", "SELECT * FROM `my-project.shop.visits` WHERE device = 'phone'")
    query = "SELECT id FROM phones WHERE seen >= @start AND seen < @end"
    then = state(query)
    bigquery.fail("slow_job", with_=1)

    def load():
        while not bigquery.submitted:
            time.sleep(0.01)
        bigquery.put("my-project.shop.visits", LATER)

    threading.Thread(target=load, daemon=True).start()
    with pytest.raises(DataError, match="has changed since"):
        rows(query, state=then)

    assert len(bigquery.submitted) == 1


def test_rows_of_a_table_that_did_not_change_for_long_are_still_there(bigquery, rows):
    bigquery.put("my-project.shop.old", VISITS, at=NOW - datetime.timedelta(days=30))
    old = QUERY.replace("visits", "old")

    assert len(rows(old, state=state(old))) == 720


def test_rows_that_are_no_longer_kept_are_an_error_with_a_remedy(bigquery, rows):
    bigquery.put("my-project.shop.old", VISITS, at=NOW - datetime.timedelta(days=30))
    old = QUERY.replace("visits", "old")
    then = state(old)
    bigquery.put("my-project.shop.old", LATER)

    with pytest.raises(DataError, match="no longer keeps the rows of that time") as error:
        rows(old, state=then)

    assert "run again" in error.value.remedy


def test_a_view_is_read_while_what_is_behind_it_stays_the_same(bigquery, rows):
    bigquery.engine.put_view("my-project.shop.phones", "SELECT * FROM `my-project.shop.visits` WHERE device = 'phone'")
    query = "SELECT id FROM phones WHERE seen >= @start AND seen < @end"
    then = state(query)

    assert then.startswith("seen ")
    assert len(rows(query, state=then)) == 360
    bigquery.put("my-project.shop.visits", LATER)
    assert state(query) != then
    with pytest.raises(DataError, match="keeps no past of views") as error:
        rows(query, state=then)
    assert "name base tables" in error.value.remedy


def test_a_table_that_is_streamed_to_is_never_the_same_twice(bigquery, rows):
    bigquery.put("my-project.shop.visits", LATER, at=NOW - datetime.timedelta(minutes=5), streaming=True)

    assert state() != state()
    assert len(rows(state=state())) == 240


def test_a_table_that_may_be_read_but_not_looked_at_is_taken_as_it_is(bigquery, rows):
    bigquery.fail("table_hidden", times=9)

    assert state().startswith("live ")
    assert len(rows()) == 720
    assert "SYSTEM_TIME" not in bigquery.submitted[0]["configuration"]["query"]["query"]


def test_a_state_of_another_warehouse_is_refused(bigquery, rows):
    with pytest.raises(DataError, match="not one of a BigQuery warehouse") as error:
        rows(state="4096-1700000000000000000")

    assert "run again" in error.value.remedy


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("SELECT * FROM t WHERE d >= @start", "SELECT * FROM t{} WHERE d >= @start"),
        ("SELECT * FROM t AS x", "SELECT * FROM t AS x{}"),
        ("SELECT * FROM `p-q.d.t` x", "SELECT * FROM `p-q.d.t` x{}"),
        ("SELECT * FROM p-q.d.t -- all\nWHERE TRUE", "SELECT * FROM p-q.d.t{} -- all\nWHERE TRUE"),
        ("SELECT * FROM a, b JOIN c USING (i)", "SELECT * FROM a{}, b{} JOIN c{} USING (i)"),
        ("WITH w AS (SELECT * FROM t) SELECT * FROM w", "WITH w AS (SELECT * FROM t{}) SELECT * FROM w"),
        ("WITH t AS (SELECT * FROM t) SELECT * FROM t", "WITH t AS (SELECT * FROM t{}) SELECT * FROM t"),
        (
            "WITH a AS (SELECT * FROM b), b AS (SELECT * FROM a) SELECT * FROM b",
            "WITH a AS (SELECT * FROM b{}), b AS (SELECT * FROM a) SELECT * FROM b",
        ),
        (
            "SELECT * FROM (WITH t AS (SELECT 1) SELECT * FROM t) JOIN t",
            "SELECT * FROM (WITH t AS (SELECT 1) SELECT * FROM t) JOIN t{}",
        ),
        ("SELECT * FROM t, UNNEST(t.xs) AS x", "SELECT * FROM t{}, UNNEST(t.xs) AS x"),
        ("SELECT (SELECT MAX(i) FROM u) FROM t", "SELECT (SELECT MAX(i) FROM u{}) FROM t{}"),
        ("SELECT * FROM t UNION ALL SELECT * FROM u", "SELECT * FROM t{} UNION ALL SELECT * FROM u{}"),
        ("SELECT 'FROM t' FROM t", "SELECT 'FROM t' FROM t{}"),
    ],
)
def test_a_time_is_spliced_in_after_each_base_table_and_nothing_else_changes(query, sent):
    places = [table.after for table in requests.tables(sql.parse(query)) if table.plain]

    assert requests.splice(query, [(place, place, "{}") for place in places]) == sent


@pytest.mark.parametrize(
    "query",
    ["SELECT * FROM `d.events_*`", "SELECT * FROM t FOR SYSTEM_TIME AS OF TIMESTAMP '2024-03-01'"],
)
def test_a_wildcard_and_a_time_of_ones_own_are_left_alone(query):
    assert [table.plain for table in requests.tables(sql.parse(query))] == [False]
