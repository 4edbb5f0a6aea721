"""What a model is asked in its trial; in this process, for a process of its own costs seconds."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel.serving import trial
from tests.serving.toys import toy

CODE = """
import mlflow, numpy, pandas

class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, rows, params=None):
        return ANSWER

mlflow.models.set_model(Model())
"""


@pytest.fixture
def attempt(tmp_path):
    def run(answer, rows=40, **how):
        model = toy(tmp_path / "model", "0", CODE.replace("ANSWER", answer), whole="double")
        columns = {"distance": [1.5] * rows, "carrier": ["AA"] * rows, "hour": [None] * rows}
        types = pa.schema([("distance", pa.float64()), ("carrier", pa.string()), ("hour", pa.int64())])
        pq.write_table(pa.Table.from_pydict(columns, types), tmp_path / trial.ROWS)
        job = trial.Job(str(model.path), str(tmp_path), **{"repeats": 3, "seconds": 0.01, "calls": 30} | how)
        return trial.run(trial.Job(**json.loads(job.to_json())))

    return run


@pytest.mark.parametrize(
    "answer",
    ["rows['distance']", "rows[['distance']]", "rows['distance'].to_numpy().reshape(-1, 1)", "list(rows['distance'])"],
)
def test_a_column_of_numbers_in_any_form_is_an_answer(attempt, tmp_path, answer):
    found = attempt(answer)

    assert (found["stage"], found.get("error")) == ("done", None)
    assert pq.read_table(tmp_path / trial.ANSWERS).column(0).to_pylist() == [1.5] * 40


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("numpy.ones(len(rows) - 1)", "1 rows are answered with 0"),
        ("numpy.ones((len(rows), 3))", "1 rows are answered with an array of shape (1, 3)"),
        ("3.0", "1 rows are answered with an array of shape ()"),
        ("numpy.full(len(rows), numpy.inf)", "1 of 1 numbers that it answers 1 rows with are not finite"),
        ("rows['absent']", "KeyError: 'absent'"),
    ],
)
def test_anything_else_is_said(attempt, answer, error):
    assert attempt(answer) | {"load_seconds": 0} == {"load_seconds": 0, "stage": "example", "error": error}


def test_calls_are_timed_for_each_size_and_repeat(attempt):
    found = attempt("rows['distance']", batches=[1, 100])

    assert [(timed["batch"], timed["repeats"]) for timed in found["latency"]] == [(1, 3), (100, 3)]
    for timed in found["latency"]:
        assert 3 * 20 <= timed["calls"] <= 3 * 30
        assert 0 < timed["p50_ms"] <= timed["p99_ms"]
        assert timed["spread"][0][0] <= timed["p50_ms"] <= timed["spread"][0][1]
    assert found["throughput"]["rows"] == 40
    assert found["memory_mb"] > 10


class Clocked:
    """A model whose every call takes a millisecond of a clock that it goes with."""

    def predict(self, rows):
        return rows


@pytest.fixture
def timed(monkeypatch):
    ticks = iter(np.cumsum(np.full(100_000, 0.001)))
    monkeypatch.setattr(trial.time, "perf_counter", lambda: next(ticks))
    job = trial.Job("", "", repeats=3, calls=25)
    return lambda **how: trial._latency(Clocked(), pd.DataFrame({"x": range(5)}), 2, replace(job, **how))


def test_medians_are_of_the_repeats(timed):
    found = timed()

    assert (found["p50_ms"], found["p99_ms"]) == pytest.approx((1, 1))
    assert found["calls"] == 75


@pytest.mark.parametrize(
    ("bars", "repeats"),
    [((0, 1000), 2), ((0, 0.01), 2), ((5, 1000), 3), ((50, 1000), 2), ((0, 5), 3), ((0, 0.5), 3), (None, 3)],
)
def test_what_is_clear_of_its_bars_in_two_repeats_is_not_timed_again(timed, bars, repeats):
    found = timed(bars=bars)

    assert found["repeats"] == repeats
    assert found["calls"] == 25 * repeats
