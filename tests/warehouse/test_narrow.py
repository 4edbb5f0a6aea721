"""`sample` and `split`: which rows are taken, and which held back."""

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel import warehouse as warehouses
from flywheel.artifacts import VALIDATION, WEIGHT
from flywheel.errors import ConfigError, SQLError
from flywheel.spans import Span
from flywheel.warehouse import fingerprint
from flywheel.warehouse.narrow import narrowed

SPAN = Span.parse("2024-03-01")
QUERY = "SELECT * FROM visits WHERE day >= @start AND day < @end"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """20,000 visits of 5,000 visitors on one day."""
    file = tmp_path_factory.mktemp("narrow") / "visits.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            """
            CREATE TABLE visits AS
            SELECT
              i AS id, i % 5000 AS visitor, 'v' || (i % 5000) AS name, DATE '2024-03-01' AS day, i % 2 = 0 AS even,
              i / 3 AS seconds, TIMESTAMPTZ '2024-03-01 00:00:00+00' AS seen
            FROM range(20000) AS t(i)
            """
        )
    with warehouses.open(f"duckdb:///{file}") as opened:
        yield opened


def rows(source, settings, query=QUERY):
    asked = narrowed(query, source.schema(query), settings)
    return [row for batch in source.batches(asked, SPAN) for row in batch.to_pylist()]


def chosen(purpose, share, *parts):
    """What BigQuery's FARM_FINGERPRINT decides for a key, written out."""
    text = purpose + "".join(f"|{part}" for part in parts)
    return fingerprint.of_text(text) % 1_000_000 < share * 1_000_000


def test_without_sample_or_split_the_query_is_the_users(source):
    assert narrowed(QUERY, source.schema(QUERY), {"every": "day"}) == QUERY


@pytest.mark.parametrize("key", [["visitor"], ["name"], ["visitor", "name"], ["visitor", "day"]])
def test_a_sample_keeps_its_share_and_all_rows_of_a_key(source, key):
    found = rows(source, {"sample": {"key": key, "share": 0.25}})
    visitors = {row["visitor"] for row in found}

    assert len(found) == 4 * len(visitors)
    assert abs(len(visitors) / 5000 - 0.25) < 0.03  # five standard deviations


def test_which_rows_are_taken_is_a_matter_of_the_fingerprint_alone(source):
    found = rows(source, {"sample": {"key": ["visitor", "even", "day"], "share": 0.1}})

    expected = {
        number
        for number in range(20000)
        if chosen("sample", 0.1, number % 5000, "true" if number % 2 == 0 else "false", "2024-03-01")
    }
    assert {row["id"] for row in found} == expected


def test_a_smaller_sample_is_part_of_a_larger_one_and_the_whole_is_all(source):
    small, large, whole = (
        {row["id"] for row in rows(source, {"sample": {"key": ["visitor"], "share": share}})} for share in (0.1, 0.2, 1)
    )

    assert small < large < whole
    assert len(whole) == 20000


def test_a_split_holds_its_share_of_keys_back_and_leaves_the_rows_as_they_are(source):
    found = rows(source, {"split": {"key": ["visitor"], "validation": 0.2}})
    held = {row["visitor"] for row in found if row[VALIDATION]}

    assert len(found) == 20000
    assert not held & {row["visitor"] for row in found if not row[VALIDATION]}
    assert abs(len(held) / 5000 - 0.2) < 0.03


def test_what_is_held_back_does_not_depend_on_what_is_sampled(source):
    both = {"sample": {"key": ["visitor"], "share": 0.3}, "split": {"key": ["visitor"], "validation": 0.3}}
    found = rows(source, both)
    alone = {row["id"]: row[VALIDATION] for row in rows(source, {"split": both["split"]})}

    assert all(alone[row["id"]] == row[VALIDATION] for row in found)
    assert abs(sum(row[VALIDATION] for row in found) / len(found) - 0.3) < 0.06


@given(st.text(max_size=20), st.floats(0.000001, 1))
def test_every_key_is_on_one_side_of_every_share(key, share):
    assert chosen("split", share, key) or not chosen("split", share / 2, key)


@pytest.mark.parametrize("end", ["", ";", " ;\n", "\n-- the end", ";  -- the end\n", " -- no 'end"])
def test_a_query_may_end_as_it_likes(source, end):
    found = rows(source, {"sample": {"key": ["id"], "share": 0.5}}, QUERY + end)

    assert 0 < len(found) < 20000


def test_a_query_may_begin_with_with(source):
    query = f"WITH v AS ({QUERY}) SELECT id FROM v"

    assert rows(source, {"split": {"key": ["id"], "validation": 0.5}}, query)[0].keys() == {"id", VALIDATION}


@pytest.mark.parametrize(
    ("settings", "said", "remedy"),
    [
        ({"sample": {"key": ["visiter"], "share": 0.1}}, "source.sample.key names 'visiter'", "'visitor'"),
        (
            {"split": {"key": ["seconds"], "validation": 0.1}},
            "'seconds', which is double",
            "a number, a text or a date",
        ),
        ({"sample": {"key": ["seen"], "share": 0.1}}, "'seen', which is timestamp", "FORMAT_TIMESTAMP('%F %T', seen)"),
    ],
)
def test_a_key_that_is_not_there_or_has_no_one_text_is_refused(source, settings, said, remedy):
    with pytest.raises(ConfigError) as error:
        narrowed(QUERY, source.schema(QUERY), settings)

    assert said in error.value.message
    assert remedy in error.value.remedy


def test_a_column_of_the_name_that_split_gives_is_refused(source):
    query = QUERY.replace("*", f"id, TRUE AS {VALIDATION}")
    with pytest.raises(ConfigError, match="name it otherwise"):
        narrowed(query, source.schema(query), {"split": {"key": ["id"], "validation": 0.1}})


def test_a_weight_stands_in_a_column_of_its_own_beside_the_one_that_gives_it(source):
    found = rows(source, {"weight": "seconds", "split": {"key": ["id"], "validation": 0.5}})

    assert all(row[WEIGHT] == row["seconds"] for row in found)
    assert VALIDATION in found[0]


def test_a_weight_that_the_query_does_not_give_is_refused(source):
    with pytest.raises(ConfigError, match=r"train\.weight names 'second'(.|\n)*'seconds'"):
        narrowed(QUERY, source.schema(QUERY), {"weight": "second"})


def test_mistakes_in_the_query_are_told_at_the_place_where_they_were_made(source):
    with pytest.raises(SQLError, match="at line 2, column 3"):
        rows(source, {"sample": {"key": ["id"], "share": 0.1}}, "SELECT\n  devise FROM visits WHERE day >= @start")
