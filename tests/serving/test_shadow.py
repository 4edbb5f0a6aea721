"""How the candidate's answers to logged requests differ from the champion's."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.serving import bars
from flywheel.serving.shadow import Shadow, compare, read

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def table(**columns):
    return pa.table(columns)


def logged(predictions, **columns):
    count = len(predictions)
    meta = {"flywheel_request": [f"r{at}" for at in range(count)], "flywheel_row": [0] * count}
    return table(**meta, flywheel_version=["1"] * count, **columns, prediction=predictions)


@given(before=SCORES, data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_row_changes_when_it_crosses_the_threshold(before, data):
    after = data.draw(st.lists(st.floats(0, 1), min_size=len(before), max_size=len(before)))
    found = compare(logged(before), table(prediction=after))

    assert found.rows == len(before)
    assert found.changed.tolist() == [(a >= 0.5) != (b >= 0.5) for a, b in zip(before, after, strict=True)]
    assert found.differences.tolist() == [b - a for a, b in zip(before, after, strict=True)]
    low, high = found.interval()
    assert 0 <= low <= found.share <= high <= 1


def test_equal_answers_differ_nowhere():
    found = compare(logged([0.2, 0.7], x=[1, 2]), table(prediction=[0.2, 0.7]))

    assert (found.share, found.worst, found.groups) == (0, (), ())


def test_classes_change_by_name_and_differ_by_their_largest_probability():
    before = logged(["a", "b"], probability_a=[0.9, 0.4], probability_b=[0.1, 0.6])
    found = compare(
        before, table(prediction=["a", "a"], probability_a=[0.8, 0.7], probability_b=[0.2, 0.3]), "multiclass"
    )

    assert found.changed.tolist() == [False, True]
    assert np.abs(found.differences) == pytest.approx([0.1, 0.3])
    assert found.worst[0]["request"] == "r1"


def test_values_change_when_they_move_by_more_than_a_share_of_their_spread():
    found = compare(logged([10.0, 20.0, 30.0]), table(prediction=[10.0, 20.5, 31.0]), "regression")

    assert found.changed.tolist() == [False, False, True]
    assert "10% of the champion's standard deviation" in found.meaning


def test_where_they_differ_is_said_by_column_and_value():
    carrier, wind = ["AA", "UA", None] * 100, list(range(300))
    after = np.where(np.array(carrier) == "UA", 0.6, 0.4)
    found = compare(logged([0.4] * 300, carrier=carrier, wind=wind), table(prediction=after))

    assert [(group.column, group.value, group.rows) for group in found.groups[:1]] == [("carrier", "UA", 100)]
    assert found.groups[0].changed == 1
    assert found.worst[0]["carrier"] == "UA"
    assert found.worst[0]["champion"] == 0.4


@pytest.mark.parametrize(
    ("changed", "rows", "bar", "result"),
    [(10, 100, 0.2, "pass"), (30, 100, 0.2, "fail"), (2, 5, 0.2, "pass"), (5, 5, 0.2, "fail"), (99, 100, None, "pass")],
)
def test_it_fails_only_when_more_than_the_bar_is_shown_to_change(changed, rows, bar, result):
    mask = np.arange(rows) < changed
    check = bars.changed(Shadow(rows, np.zeros(rows), mask, "x", (), ()), bar)

    assert (check.result, check.observed) == (result, changed / rows)


def test_the_newest_requests_that_the_champion_answered_are_read(tmp_path):
    for day, version, value in [("01", "1", 1.0), ("02", "1", 2.0), ("02", "2", 3.0), ("03", "1", 4.0)]:
        folder = tmp_path / f"day=2013-06-{day}"
        folder.mkdir(exist_ok=True)
        rows = pd.DataFrame({"x": [value] * 3, "flywheel_version": version, "prediction": 0.5})
        pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), folder / f"part-{version}.parquet")

    found, why = read(tmp_path, "1", ["x"], 5)
    assert (found["x"].to_pylist(), why) == ([4.0] * 3 + [2.0] * 2, "")
    assert read(tmp_path, "7", ["x"], 5)[1].startswith("no requests that version 7 answered are logged in")
    assert read(tmp_path, "1", ["x", "y"], 5)[1] == "the log lacks the column 'y', which the candidate needs"
    assert read(tmp_path / "absent", "1", ["x"], 5)[0] is None


def test_answers_in_other_columns_cannot_be_compared():
    with pytest.raises(ValueError, match="no 'probability_a'"):
        compare(logged([0.1]), table(prediction=["a"], probability_a=[1.0]), "multiclass")
