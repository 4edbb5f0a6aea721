"""Training reads Arrow, serving reads a DataFrame: the model must see the same bits."""

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from flywheel.errors import ArtifactError, DataError
from flywheel.transform import raw
from flywheel.transform.analysis import Analysis
from flywheel.transform.state import State
from flywheel.transform.tensors import tensor
from tests.transform.worlds import EVERY_KIND, FEATURES, SCHEMA, WIDE, batches, functions_in, learned


def bits(inputs):
    return {name: (values.dtype.str, values.tobytes()) for name, values in inputs.items()}


@pytest.fixture(scope="module")
def functions(tmp_path_factory):
    return functions_in(tmp_path_factory.mktemp("project") / "code")


@given(window=batches(least=2, schema=WIDE), rows=batches(schema=WIDE))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_serving_sees_the_bits_of_training_for_every_kind(functions, window, rows):
    state = replace(learned(window, features=EVERY_KIND, code=functions), code=functions)
    with tempfile.TemporaryDirectory() as folder:
        state.write(Path(folder, "state.json"))
        packed = State.read(Path(folder, "state.json"), functions)
        pq.write_table(pa.Table.from_batches([rows]), Path(folder, "rows.parquet"))
        stored = pq.read_table(Path(folder, "rows.parquet")).combine_chunks().to_batches()
    stored = stored[0] if stored else rows
    written = state.apply(state.columns_of(stored))
    expected = {i.name: tensor(pa.chunked_array([written[i.name]]), i) for i in state.inputs}

    assert packed == state
    assert pa.schema([(name, column.type) for name, column in written.items()]) == pa.schema(list(state.schema)[:-1])
    assert all(expected[i.name].shape == (rows.num_rows, *i.shape) for i in state.inputs)
    assert all(expected[i.name].dtype == i.dtype for i in state.inputs)
    assert bits(packed.apply_frame(raw.frame(rows))) == bits(expected)
    assert bits(packed.apply_frame(rows.to_pandas(timestamp_as_object=True))) == bits(expected)
    for index in range(min(rows.num_rows, 3)):
        alone = packed.apply_frame(raw.frame(rows.slice(index, 1)))
        assert bits(alone) == bits({name: values[index : index + 1] for name, values in expected.items()})


@given(window=batches(least=2), rows=batches())
@settings(max_examples=200, deadline=None)
def test_serving_sees_the_same_bits_as_training(window, rows):
    state = learned(window)
    with tempfile.TemporaryDirectory() as folder:
        state.write(Path(folder, "state.json"))
        packed = State.read(Path(folder, "state.json"))

    assert packed == state
    expected = bits(state.apply_batch(rows))
    assert bits(packed.apply_frame(raw.frame(rows))) == expected
    assert bits(packed.apply_frame(rows.to_pandas())) == expected


@given(window=batches(least=2), rows=batches(least=1, most=8))
@settings(max_examples=50, deadline=None)
def test_a_row_is_transformed_alike_whatever_rows_it_comes_with(window, rows):
    state = learned(window)
    together = state.apply_frame(raw.frame(rows))

    for index in range(rows.num_rows):
        alone = state.apply_frame(raw.frame(rows.slice(index, 1)))
        assert bits(alone) == bits({name: values[index : index + 1] for name, values in together.items()})


@pytest.mark.parametrize("dtype", ["int32", "Int64", "float64", "object"])
def test_every_pandas_dtype_of_a_number_is_the_same_number(dtype):
    values = {name: [0, 1, 2, 3] for name in SCHEMA.names} | {name: [None] * 4 for name in ("word", "flag")}
    values["label"] = [0, 1, 0, 1]
    window = pa.RecordBatch.from_arrays([pa.array(values[f.name], f.type) for f in SCHEMA], schema=SCHEMA)
    state = learned(window)
    frame = window.to_pandas()
    frame["count"], frame["code"] = frame["count"].astype(dtype), frame["code"].astype(dtype)

    assert bits(state.apply_frame(frame)) == bits(state.apply_batch(window))


def test_a_number_sent_by_a_client_is_rounded_as_training_saw_it():
    values = {name: [0.1, 0.2] if name == "weight" else [1, 2] for name in SCHEMA.names} | {"label": [0, 1]}
    values |= {"flag": [True, False], "word": ["a", "b"]}
    window = pa.RecordBatch.from_arrays([pa.array(values[f.name], f.type) for f in SCHEMA], schema=SCHEMA)
    analysis = Analysis([{"column": "weight", "as": "category", "top": 9}], "label")
    analysis.add(window)

    assert analysis.finish(SCHEMA).apply_frame(pd.DataFrame({"weight": [0.1, 0.2]}))["weight"].tolist() == [2, 3]


@pytest.fixture
def state():
    rows = {name: [1, 2] for name in SCHEMA.names} | {"flag": [True, None], "word": ["a", None], "label": [0, 1]}
    return learned(pa.RecordBatch.from_arrays([pa.array(rows[f.name], f.type) for f in SCHEMA], schema=SCHEMA))


def rows(**changed):
    row = {"count": 1.0, "share": 1.0, "weight": 1.0, "flag": True, "word": "a", "code": 1.0} | changed
    return pd.DataFrame({name: [value] for name, value in row.items()})


def test_columns_that_no_feature_reads_are_left_aside(state):
    assert list(state.apply_frame(rows(other=object()))) == [feature["column"] for feature in FEATURES]


def test_a_missing_column_is_named(state):
    with pytest.raises(DataError, match=r"no column 'word'(.|\n)*send all of count, share"):
        state.apply_frame(rows().drop(columns="word"))


@pytest.mark.parametrize(
    ("column", "value", "remedy"),
    [("count", "many", "send a number"), ("word", 3.5, "send text"), ("word", [1], "send text")],
)
def test_a_value_of_another_kind_is_refused(state, column, value, remedy):
    with pytest.raises(DataError, match=f"column '{column}' holds (.|\n)*{remedy}"):
        state.apply_frame(rows(**{column: value}))


def test_a_state_of_another_version_is_refused(state, tmp_path):
    file = tmp_path / "state.json"
    state.write(file)
    file.write_text(file.read_text().replace('"version": 2', '"version": 9'))

    with pytest.raises(ArtifactError, match="run `transform` again"):
        State.read(file)


def test_applying_needs_neither_beam_nor_a_framework():
    heavy = "apache_beam", "tensorflow", "keras", "sklearn", "mlflow", "pandas"
    code = f"import sys, flywheel.transform.state; print([name for name in {heavy!r} if name in sys.modules])"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
