"""Live quality: which label belongs to which request, and what labels that are still to come do to the figure."""

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from flywheel.errors import DataError
from flywheel.monitoring.log import Log
from flywheel.monitoring.quality import measure
from flywheel.spans import Span

DAY = datetime(2024, 1, 1)
SETTINGS = {"id": ["user"], "arrived": "known", "delay": 2 * 86_400.0}


def log_of(folder, at, ids, answers, days=10):
    for index in range(days):
        start = DAY + timedelta(index)
        inside = (at >= np.datetime64(start)) & (at < np.datetime64(start + timedelta(1)))
        if inside.any():
            path = folder / f"day={start:%Y-%m-%d}"
            path.mkdir(parents=True)
            columns = {
                "flywheel_time": pa.array(at[inside].astype("datetime64[us]")).cast(pa.timestamp("us", "UTC")),
                "flywheel_version": pa.array(["1"] * int(inside.sum())),
                "user": pa.array(ids[inside]),
                "prediction": pa.array(answers[inside]),
            }
            pq.write_table(pa.table(columns), path / "part.parquet")
    return Log.of_folder(folder, Span.parse(f"{DAY + timedelta(days - 1):%Y-%m-%d}").back(days))


def labels_of(ids, labels, known):
    columns = [pa.array(ids), pa.array(labels), pa.array(known.astype("datetime64[us]"))]
    return iter([pa.RecordBatch.from_arrays(columns, ["user", "y", "known"])])


def hours(count):
    return np.datetime64(DAY, "us") + np.asarray(np.asarray(count) * 3.6e9, "timedelta64[us]")


def test_a_request_takes_the_first_label_that_became_known_after_it_and_in_time(tmp_path):
    at = hours([0.0, 30.0, 60.0, 120.0])
    log = log_of(tmp_path, at, np.array([7, 7, 7, 8]), np.array([1.0, 2.0, 3.0, 4.0]))
    known = hours([-1.0, 20.0, 50.0, 200.0])  # before any request; of the first; of the second; too late for the third
    labels = labels_of(["7", "7", "7", "7"], [9.0, 1.0, 2.0, 3.0], known)  # ids of another type than those logged

    with log:
        found = measure(log, labels, SETTINGS, "1", "regression", "y")
        joined = log.ask("SELECT answer, label, waited / 3600 FROM joined ORDER BY answer")

    assert joined == [(1.0, 1.0, 20.0), (2.0, 2.0, 20.0), (3.0, None, None), (4.0, None, None)]
    assert [each.labelled for each in found.spans][:3] == [1, 1, 0]


def test_the_area_of_a_span_is_the_one_that_scikit_learn_finds(tmp_path):
    chance = np.random.default_rng(0)
    at, ids = hours(chance.random(4000) * 24), np.arange(4000)
    score = chance.random(4000)
    label = (chance.random(4000) < score).astype(float)
    log = log_of(tmp_path, at, ids, score)

    with log:
        found = measure(log, labels_of(ids, label, at + np.timedelta64(1, "h")), SETTINGS, "1", "binary", "y")

    assert found.spans[0].value == pytest.approx(roc_auc_score(label, score), abs=2e-4)
    assert found.spans[0].error == pytest.approx(0.0069, abs=0.001)


def test_labels_that_come_late_of_one_class_do_not_make_the_model_look_better(tmp_path):
    """Class b is often taken for a and its labels are slow: those that are there already look too good."""
    chance = np.random.default_rng(0)
    rows = 20_000
    at, ids = hours(chance.random(rows) * 240), np.arange(rows)
    label = chance.choice(["a", "b"], rows)
    right = chance.random(rows) < np.where(label == "a", 0.9, 0.5)
    answer = np.where(right, label, np.where(label == "a", "b", "a"))
    wait = np.where(label == "a", chance.random(rows) * 4, chance.random(rows) * 46)
    log = log_of(tmp_path, at, ids, answer)

    with log:
        known = at + (wait * 3.6e9).astype("timedelta64[us]")
        found = measure(log, labels_of(ids, label, known), SETTINGS, "1", "multiclass", "y")
        plain = log.ask("SELECT avg(CAST(answer = label AS INT)) FROM joined WHERE span = '2024-01-10'")[0][0]

    newest = found.spans[-1]
    assert plain > 0.78  # of those that are there
    assert newest.value == pytest.approx(0.7, abs=0.04)
    assert 0.4 < newest.usual < 0.8
    assert newest.arrived == pytest.approx(newest.usual, abs=0.05)
    assert found.low < 0.7 < found.high
    assert found.clustered


def test_labels_that_never_come_are_counted(tmp_path):
    at, ids = hours(np.arange(240.0)), np.arange(240)
    log = log_of(tmp_path, at, ids, np.full(240, 0.5))

    with log:
        found = measure(log, iter([]), SETTINGS, "1", "binary", "bought")

    assert found.share == 0
    assert np.isnan(found.value)


def test_a_label_that_is_no_number_is_told_with_what_to_mend(tmp_path):
    ids, at = np.arange(2), hours([0.0, 1.0])
    labels = labels_of(ids, ["yes", "no"], at + 1)

    with (
        log_of(tmp_path, at, ids, np.ones(2)) as log,
        pytest.raises(DataError, match=r"'(yes|no)' to DOUBLE.*\n  mend what that names"),
    ):
        measure(log, labels, SETTINGS, "1", "binary", "y")


def test_of_a_binary_task_a_label_that_is_neither_0_nor_1_is_told(tmp_path):
    ids, at = np.arange(4), hours(np.arange(4.0))
    labels = labels_of(ids, [0.5, 1, 0.5, 0], at + 1)

    with (
        log_of(tmp_path, at, ids, np.ones(4)) as log,
        pytest.raises(DataError, match=r"2 labels that are neither 0 nor 1, as 0\.5\n  have the query give 0 or 1"),
    ):
        measure(log, labels, SETTINGS, "1", "binary", "y")


def test_a_time_in_the_log_that_is_none_is_told(tmp_path):
    folder = tmp_path / "day=2024-01-01"
    folder.mkdir()
    columns = {"flywheel_time": ["soon"], "flywheel_version": ["1"], "prediction": [0.5]}
    pq.write_table(pa.table(columns), folder / "part.parquet")

    with Log.of_folder(tmp_path, [Span.parse("2024-01-01")]) as log, pytest.raises(DataError, match='"soon"'):
        log.rows()
