"""Transform, with the real Beam: what it writes, what it never looks at, what it refuses."""

import subprocess
import sys

import pyarrow as pa
import pytest

from flywheel.artifacts import VALIDATION, WEIGHT, Examples
from flywheel.errors import ArtifactError, DataError
from flywheel.steps.transform import transform
from flywheel.transform.state import State
from tests.training.worlds import FEATURES, SCHEMA, SPANS, batch_of, examples_in

WINDOW = SPANS[:4]


@pytest.fixture
def examples(tmp_path):
    return examples_in(tmp_path / "examples")


def run(examples, tmp_path, features=FEATURES, label="label", window=WINDOW, task="binary"):
    return transform(examples, features, label, window, tmp_path / "state", tmp_path / "transformed", task=task)


def test_rows_are_written_as_the_state_gives_them(examples, tmp_path):
    state, transformed = run(examples, tmp_path)
    learned = State.read(state.file)

    assert transformed.spans == tuple(WINDOW)
    assert transformed.manifest.facts["rows"] == dict.fromkeys(WINDOW, 60)
    assert transformed.schema == learned.schema
    for span in WINDOW:
        (_, raw), (_, seen) = next(examples.batches([span])), next(transformed.batches([span]))
        expected = [*learned.apply_batch(raw).values(), raw.column(3).cast(pa.float32()).to_numpy()]
        assert [column.to_numpy().tobytes() for column in seen.columns] == [values.tobytes() for values in expected]


@pytest.mark.parametrize(
    ("label", "task", "type"), [("hour", "multiclass", pa.int64()), ("hour", "regression", pa.float32())]
)
def test_a_label_is_written_as_its_task_wants_it(examples, tmp_path, label, task, type):
    state, transformed = run(examples, tmp_path, FEATURES[:1], label, task=task)
    learned = State.read(state.file)
    raw = examples.table([WINDOW[0]], [label]).column(label).to_pylist()

    assert (learned.task, learned.label) == (task, label)
    assert transformed.schema.field(label).type == type
    found = transformed.table([WINDOW[0]], [label]).column(label).to_pylist()
    assert [learned.classes[index] for index in found] == raw if task == "multiclass" else found == raw


def test_what_rows_are_used_for_passes_through_and_is_no_input(tmp_path):
    schema = SCHEMA.append(pa.field(VALIDATION, pa.bool_())).append(pa.field(WEIGHT, pa.float64()))
    held, weights = pa.array([number % 3 == 0 for number in range(60)]), pa.array([number / 7 for number in range(60)])
    with Examples.writer(tmp_path / "examples", schema, producer="extract") as writer:
        for number, span in enumerate(SPANS):
            batch = pa.RecordBatch.from_arrays([*batch_of(60, seed=number).columns, held, weights], schema=schema)
            writer.write(span, [batch])
    state, transformed = run(Examples.open(tmp_path / "examples"), tmp_path)
    plain, _ = transform(
        examples_in(tmp_path / "plain"), FEATURES, "label", WINDOW, tmp_path / "state2", tmp_path / "rows2"
    )

    assert state.digest == plain.digest
    assert transformed.schema.names == [*State.read(state.file).schema.names, VALIDATION, WEIGHT]
    assert transformed.columns == tuple(State.read(state.file).schema.names)
    assert transformed.table([WINDOW[0]], [VALIDATION]).column(VALIDATION).to_pylist() == held.to_pylist()
    assert transformed.table([WINDOW[0]], [WEIGHT]).column(WEIGHT).to_pylist() == weights.to_pylist()


def test_a_state_is_the_same_bytes_each_time(examples, tmp_path):
    first, _ = run(examples, tmp_path)
    again, _ = transform(examples, FEATURES, "label", WINDOW, tmp_path / "again", tmp_path / "again-rows")

    assert first.digest == again.digest


def test_the_spans_that_judge_are_never_looked_at(tmp_path):
    other = examples_in(tmp_path / "examples")
    seen, _ = run(other, tmp_path)
    with Examples.writer(tmp_path / "changed", SCHEMA, producer="extract") as writer:
        for number, span in enumerate(SPANS):
            writer.write(span, [batch_of(60, seed=number if span in WINDOW else 99)])
    changed, _ = transform(
        Examples.open(tmp_path / "changed"), FEATURES, "label", WINDOW, tmp_path / "state2", tmp_path / "rows2"
    )

    assert seen.digest == changed.digest


def test_an_empty_span_in_the_window_is_no_obstacle(tmp_path):
    with Examples.writer(tmp_path / "examples", SCHEMA, producer="extract") as writer:
        writer.write("2013-05-01", [])
        writer.write("2013-05-02", [batch_of(20, seed=1)])
    _, transformed = run(Examples.open(tmp_path / "examples"), tmp_path, window=["2013-05-01", "2013-05-02"])

    assert transformed.spans == ("2013-05-01", "2013-05-02")
    assert transformed.rows == 20


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": "lable"}, r"no column 'lable'(.|\n)*did you mean 'label'"),
        ({"label": "word"}, r"label 'word' is 'string'(.|\n)*make it 0 or 1 in the query"),
        ({"label": "word", "task": "regression"}, r"label 'word' is 'string', not a number(.|\n)*task: multiclass"),
        ({"label": "size", "task": "multiclass"}, r"label 'size' is 'double', not text(.|\n)*task: regression"),
        (
            {"features": [{"column": "speed", "as": "numeric"}]},
            r"'speed', only size, hour, word, label(.|\n)*select it",
        ),
        ({"features": [{"column": "word", "as": "numeric"}]}, r"'word' is 'string'(.|\n)*use `as: category`"),
        ({"features": [{"column": "word", "as": "bucket"}]}, r"'word' is 'string', which 'bucket' cannot read"),
        ({"window": ["2013-06-01"]}, r"no span '2013-06-01'(.|\n)*extract that span too"),
    ],
)
def test_what_cannot_be_transformed_is_said_and_nothing_is_written(examples, tmp_path, change, said):
    with pytest.raises(DataError, match=said):
        run(examples, tmp_path, **change)

    assert [path.name for path in tmp_path.iterdir()] == ["examples"]


def test_a_time_is_refused_with_the_way_to_make_a_number_of_it(tmp_path):
    schema = pa.schema([("when", pa.timestamp("us")), ("label", pa.int64())])
    with Examples.writer(tmp_path / "examples", schema, producer="extract") as writer:
        columns = [pa.array([0, 1], schema[0].type), pa.array([0, 1])]
        writer.write("2013-05-01", [pa.RecordBatch.from_arrays(columns, schema=schema)])

    with pytest.raises(DataError, match=r"'timestamp\[us\]', which 'category' cannot read(.|\n)*EXTRACT"):
        run(
            Examples.open(tmp_path / "examples"),
            tmp_path,
            [{"column": "when", "as": "category"}],
            window=["2013-05-01"],
        )


def test_no_rows_at_all_are_an_error(tmp_path):
    with Examples.writer(tmp_path / "examples", SCHEMA, producer="extract") as writer:
        writer.write("2013-05-01", [])

    with pytest.raises(DataError, match=r"widen source\.window"):
        run(Examples.open(tmp_path / "examples"), tmp_path, window=["2013-05-01"])


def test_a_damaged_shard_is_said_as_such_and_nothing_is_written(examples, tmp_path):
    _, shard = examples.shards(WINDOW[:1])[0]
    content = bytearray(shard.read_bytes())
    content[40] ^= 1
    shard.write_bytes(content)

    with pytest.raises(ArtifactError, match="run the step that made it again"):
        run(examples, tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["examples"]


def test_the_step_module_loads_nothing_heavy():
    heavy = "apache_beam", "pyarrow", "numpy", "mlflow", "pandas"
    code = (
        f"import sys, flywheel.steps.transform, flywheel.steps.train; print([n for n in {heavy!r} if n in sys.modules])"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
