"""What is said of two states that differ."""

import json

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from flywheel.cli.main import app
from flywheel.errors import ConfigError
from flywheel.transform.diff import diff
from tests.transform.worlds import learned

FEATURES = [
    {"column": "size", "as": "numeric"},
    {"column": "word", "as": "category"},
    {"name": "range", "column": "size", "as": "bucket", "quantiles": 2},
]


def state(sizes, words, features=FEATURES):
    columns = [pa.array(sizes), pa.array(words), pa.array([row % 2 for row in range(len(sizes))])]
    return learned(pa.RecordBatch.from_arrays(columns, ["size", "word", "label"]), features=features)


BEFORE = state([1.0, 2.0, 3.0, 4.0], ["a", "a", "b", "c"])
AFTER = state([1.0, 2.0, 3.0, 8.0], ["b", "b", "d", "a"])


def test_nothing_is_said_of_states_that_transform_alike():
    assert diff(BEFORE, BEFORE) == []


def test_values_gained_and_lost_and_means_and_boundaries_that_moved_are_said():
    said = {(change.feature, change.what): str(change) for change in diff(BEFORE, AFTER)}

    assert said["word", "vocabulary"] == "3 → 3 values; gained 1 ('d'); lost 1 ('c')"
    assert said["size", "mean"] == "mean 2.5 → 3.5 (+40.0%)"
    assert said["size", "maximum"] == "maximum 4 → 8 (+100.0%)"
    assert ("range", "boundaries") not in said


def test_a_vocabulary_in_another_order_is_another_vocabulary():
    (change,) = diff(BEFORE, state([1.0, 2.0, 3.0, 4.0], ["b", "b", "a", "c"]))

    assert str(change) == "3 → 3 values; in another order"


def test_features_that_came_went_or_are_of_another_kind_are_said():
    other = state(
        [1.0, 2.0], ["a", "b"], [{"column": "size", "as": "hash"}, {"name": "w", "column": "word", "as": "hash"}]
    )
    said = {change.feature: (change.what, change.before, change.after) for change in diff(BEFORE, other)}

    assert said == {
        "size": ("kind", "numeric", "hash"),
        "word": ("feature", "category", None),
        "range": ("feature", "bucket", None),
        "w": ("feature", None, "hash"),
    }


@pytest.fixture
def files(tmp_path):
    paths = []
    for name, each in (("before", BEFORE), ("after", AFTER)):
        (tmp_path / name).mkdir()
        each.write(tmp_path / name / "state.json")
        paths.append(str(tmp_path / name))
    return paths


def test_the_command_reads_states_and_shows_what_changed_feature_by_feature(files):
    said = CliRunner().invoke(app, ["transform", "diff", *files]).output

    assert "learned from 4 rows" in said
    assert "\nword\n  3 → 3 values; gained 1 ('d'); lost 1 ('c')\n" in said


def test_the_command_gives_json(files):
    said = json.loads(
        CliRunner().invoke(app, ["transform", "diff", files[0], f"{files[1]}/state.json", "--json"]).output
    )

    assert said["rows"] == [4, 4]
    assert {"feature": "size", "what": "mean", "before": 2.5, "after": 3.5} in said["changes"]
    assert [change["gained"] for change in said["changes"] if change["what"] == "vocabulary"] == [["d"]]


def test_a_folder_without_a_state_is_said(files, tmp_path):
    result = CliRunner().invoke(app, ["transform", "diff", files[0], str(tmp_path)])

    assert isinstance(result.exception, ConfigError)
    assert "holds no state.json" in str(result.exception)
