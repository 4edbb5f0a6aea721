"""Rows that cannot be transformed are set aside, counted and explained; too many of them are an error."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel.artifacts import VALIDATION, Examples
from flywheel.errors import DataError
from flywheel.steps.transform import transform
from flywheel.training.rows import Rows
from tests.transform.worlds import functions_in, photo

SCHEMA = pa.schema(
    [
        ("size", pa.float64()),
        ("vector", pa.list_(pa.float32())),
        ("photo", pa.binary()),
        ("label", pa.int64()),
        (VALIDATION, pa.bool_()),
    ]
)
FEATURES = [
    {"column": "size", "as": "numeric", "scale": "none"},
    {"column": "vector", "as": "embedding", "dim": 2},
    {"column": "photo", "as": "image", "height": 4, "width": 4},
    {"name": "inverse", "columns": ["size"], "function": "features:inverse", "as": "numeric", "scale": "none"},
]
INVERSE = """
    import pyarrow as pa

    def inverse(batch):
        return pa.array([1 / value for value in batch.columns[0].to_pylist()], pa.float64())
"""
SPANS = ["2013-05-01", "2013-05-02"]


@pytest.fixture
def examples(tmp_path):
    """Two spans of 100 rows; in the first one, three rows are bad for three reasons."""
    with Examples.writer(tmp_path / "examples", SCHEMA, producer="extract") as writer:
        for span in SPANS:
            size, vectors = [float(row + 1) for row in range(100)], [[0.5, row] for row in range(100)]
            photos = [photo()] * 100
            if span == SPANS[0]:
                size[10], vectors[20], photos[30] = 0.0, [1.0], b"no image"
            held = [row % 10 == 0 for row in range(100)]
            columns = zip((size, vectors, photos, [row % 2 for row in range(100)], held), SCHEMA, strict=True)
            rows = [pa.array(values, field.type) for values, field in columns]
            writer.write(span, [pa.RecordBatch.from_arrays(rows, schema=SCHEMA)])
    return Examples.open(tmp_path / "examples")


@pytest.fixture
def run(examples, tmp_path):
    code = functions_in(tmp_path / "project", features=INVERSE)

    def call(bar):
        bars = {"bad_rows_at_most": bar}
        return transform(examples, FEATURES, "label", SPANS, tmp_path / "state", tmp_path / "rows", code, bars)

    return call


def test_bad_rows_are_set_aside_with_the_reason_and_the_others_stay_as_they_were(run, examples):
    _, rows = run(0.02)
    letters = pq.read_table(rows.path / "dead_letters" / f"span={SPANS[0]}" / "part-00000.parquet").to_pylist()

    assert rows.manifest.facts["rows"] == {SPANS[0]: 97, SPANS[1]: 100}
    assert [(letter["size"], letter["flywheel_feature"], letter["flywheel_reason"]) for letter in letters] == [
        (0.0, "inverse", "its function fails at features.py:4: ZeroDivisionError: float division by zero"),
        (21.0, "vector", "1 numbers, not 2"),
        (31.0, "photo", "an image that cannot be decoded: no image format that Pillow knows"),
    ]
    assert letters[2]["photo"] == b"no image"
    assert rows.table(SPANS[:1], ["size"]).column("size").to_pylist() == [
        row + 1.0 for row in range(100) if row not in (10, 20, 30)
    ]
    assert rows.table(columns=[VALIDATION]).column(VALIDATION).to_pylist().count(True) == 17


def test_how_many_and_why_stands_in_the_manifest(run):
    _, rows = run(0.02)
    dead = rows.manifest.facts["dead_letters"]

    assert (dead["rows"], dead["of"]) == (3, 200)
    assert [(each["feature"], each["rows"]) for each in dead["reasons"]] == [
        ("inverse", 1),
        ("photo", 1),
        ("vector", 1),
    ]
    assert rows.manifest.counts == {"rows": 197, "dead_letters": 3}


def test_a_trainer_gets_arrays_of_the_declared_shapes(run):
    _, rows = run(0.02)
    columns, labels = Rows(rows, SPANS, "label", seed=0).arrays()

    assert {name: (values.shape, str(values.dtype)) for name, values in columns.items()} == {
        "size": ((197,), "float32"),
        "vector": ((197, 2), "float32"),
        "photo": ((197, 4, 4, 3), "uint8"),
        "inverse": ((197,), "float32"),
    }
    assert labels.shape == (197,)


def test_more_of_them_than_the_bar_are_an_error_that_says_why_and_leave_nothing(run, tmp_path):
    with pytest.raises(
        DataError, match=r"3 of 200 rows cannot be transformed, 1\.00% are accepted(.|\n)*bad_rows"
    ) as said:
        run(0.01)

    assert "'vector': 1 numbers, not 2 (1 rows)" in str(said.value)
    assert not (tmp_path / "rows").exists()
    assert not (tmp_path / "state").exists()


def test_without_bad_rows_there_are_no_dead_letters(run, examples, tmp_path):
    code = functions_in(tmp_path / "other", features=INVERSE)
    _, rows = transform(examples, FEATURES, "label", SPANS[1:], tmp_path / "s", tmp_path / "r", code)

    assert not (rows.path / "dead_letters").exists()
    assert rows.manifest.facts["dead_letters"] == {"rows": 0, "of": 100, "reasons": []}
