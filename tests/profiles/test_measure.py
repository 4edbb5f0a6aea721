import json
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.profiles import Profile, profile_of

START = datetime(2024, 1, 1)
ROWS = st.lists(
    st.tuples(st.sampled_from([0, 1]), st.sampled_from(["a", "b", " ", "é", None]), st.sampled_from([0.5, 2.0, None])),
    min_size=1,
    max_size=40,
)


def table(rows):
    late, word, number = zip(*rows, strict=True)
    arrays = [pa.array(late, pa.int64()), pa.array(word, pa.string()), pa.array(number, pa.float64())]
    return pa.table(arrays, names=["late", "word", "number"])


def as_text(profile):
    return json.dumps(profile.to_json(), sort_keys=True)


@given(rows=ROWS, size=st.integers(1, 40))
def test_a_profile_does_not_depend_on_how_the_rows_are_batched(rows, size):
    whole, _ = profile_of(table(rows).to_batches(), START, "late")
    parts, _ = profile_of(table(rows).to_batches(size), START, "late")

    assert parts.rows == whole.rows
    for name, column in whole.columns.items():
        assert parts.columns[name].to_json() == column.to_json()
    assert parts.label_rate == pytest.approx(whole.label_rate)


@given(rows=ROWS)
def test_a_profile_is_read_back_as_it_was_written(rows):
    profile, _ = profile_of(table(rows).to_batches(), START, "late")

    assert as_text(Profile.from_json(json.loads(as_text(profile)))) == as_text(profile)


def test_every_kind_of_column_has_a_profile():
    columns = {
        "flag": pa.array([True, False, None]),
        "list": pa.array([[1, 2], [], None]),
        "day": pa.array([date(2024, 1, 1), date(2024, 1, 2), None]),
        "at": pa.array([datetime(2024, 1, 1, 6), datetime(2024, 1, 1, 12), None], pa.timestamp("us", "UTC")),
        "bytes": pa.array([b"ab", b"", None]),
        "struct": pa.array([{"a": 1}, {"a": 2}, None]),
        "nothing": pa.nulls(3, pa.float64()),
        "nan": pa.array([float("nan"), 1.0, float("inf")]),
        "code": pa.array(["x", "y", None]).dictionary_encode(),
    }
    profile, _ = profile_of(pa.table(columns).to_batches(), START)

    columns["struct/a"] = columns.pop("struct")
    assert {name: round(column.nulls * 3) for name, column in profile.columns.items()} == dict.fromkeys(columns, 1) | {
        "nothing": 3,
        "nan": 2,
    }
    assert profile.columns["at"].points.tolist() == [6 * 3600, 12 * 3600]
    assert profile.columns["list"].points.tolist() == [0, 2]
    assert np.isnan(profile.label_rate)


def test_rows_that_stand_twice_are_counted_and_a_span_without_rows_has_no_columns():
    twice, _ = profile_of(table([(0, "a", 0.5), (0, "a", 0.5), (1, "b", 2.0)]).to_batches(), START, "late")
    empty, _ = profile_of(table([(0, "a", 0.5)]).slice(1).to_batches(), START, "late")

    assert twice.repeated == pytest.approx(1 / 3)
    assert (empty.rows, dict(empty.columns)) == (0, {})


def test_of_a_large_span_the_sample_says_what_the_whole_would():
    chance = np.random.default_rng(1)
    values = pa.table({"x": chance.normal(5, 2, 200_000), "late": chance.integers(0, 2, 200_000)})
    profile, rows = profile_of(values.to_batches(20_000), START, "late")

    assert profile.rows == 200_000
    assert profile.columns["x"].points[64] == pytest.approx(5, abs=0.1)
    assert len(rows.columns["x"]) == 1000


def test_whole_numbers_say_with_what_digit_they_end():
    minutes = pa.table({"minute": [*range(60), 10, 20], "hour": [*range(8)] * 7 + [1] * 6, "price": [0.5] * 62})
    profile, _ = profile_of(minutes.to_batches(), START)

    assert profile.columns["minute"].digits.tolist() == pytest.approx([8 / 62] + [6 / 62] * 9)
    assert not len(profile.columns["hour"].digits)
    assert not len(profile.columns["price"].digits)
