"""Which rows a trainer gets, and in what forms."""

import numpy as np
import pyarrow as pa
import pytest

from flywheel.artifacts import VALIDATION, WEIGHT, Examples
from flywheel.errors import DataError
from flywheel.training.rows import Rows, split

SCHEMA = pa.schema([("x", pa.float32()), ("label", pa.float32())])


def examples_of(folder, sizes):
    """Spans with that many rows; x counts them through."""
    first = 0
    with Examples.writer(folder, SCHEMA, producer="transform") as writer:
        for number, size in enumerate(sizes):
            x = np.arange(first, first + size, dtype=np.float32)
            batch = pa.RecordBatch.from_arrays([pa.array(x), pa.array(x % 2, pa.float32())], schema=SCHEMA)
            writer.write(f"2013-05-{number + 1:02d}", [batch])
            first += size
    return Examples.open(folder)


@pytest.mark.parametrize("days", [2, 3, 4, 8, 28])
def test_every_row_is_trained_or_validated_on_and_never_both(tmp_path, days):
    examples = examples_of(tmp_path / "e", [3] * days)
    train, validation = split(examples, "label", seed=0)

    assert not set(train.spans) & set(validation.spans)
    assert set(train.spans) | set(validation.spans) == set(examples.spans)
    assert len(train) + len(validation) == 3 * days


def test_a_month_of_days_holds_out_four_of_different_weekdays_and_trains_on_the_newest(tmp_path):
    examples = examples_of(tmp_path / "e", [1] * 28)
    train, validation = split(examples, "label", seed=0)

    assert validation.spans == ("2013-05-01", "2013-05-09", "2013-05-17", "2013-05-25")
    assert train.spans[-1] == "2013-05-28"


def test_a_single_span_holds_out_its_last_eighth(tmp_path):
    train, validation = split(examples_of(tmp_path / "e", [16, 0]), "label", seed=0)

    assert train.arrays()[0]["x"].tolist() == list(range(14))
    assert validation.arrays()[0]["x"].tolist() == [14, 15]


def test_all_forms_give_the_same_rows(tmp_path):
    rows = Rows(examples_of(tmp_path / "e", [5, 4]), ["2013-05-01", "2013-05-02"], "label", seed=0)
    columns, labels = rows.arrays()
    small = list(rows.minibatches(4))

    assert columns["x"].tolist() == list(range(9))
    assert rows.pandas()["x"].tolist() == columns["x"].tolist()
    assert np.concatenate([part["x"] for part, _ in small]).tolist() == columns["x"].tolist()
    assert np.concatenate([part for _, part in small]).tolist() == labels.tolist()
    assert [len(part) for _, part in small] == [4, 4, 1]


def test_shuffling_keeps_rows_whole_and_differs_by_epoch_but_not_by_call(tmp_path):
    rows = Rows(examples_of(tmp_path / "e", [50, 50]), ["2013-05-01", "2013-05-02"], "label", seed=3)

    def order(epoch):
        parts = list(rows.minibatches(16, shuffle=True, epoch=epoch))
        x, labels = np.concatenate([part["x"] for part, _ in parts]), np.concatenate([part for _, part in parts])
        assert (x % 2 == labels).all()
        return x.tolist()

    assert sorted(order(0)) == list(range(100))
    assert order(0) == order(0)
    assert order(0) != order(1)


def test_no_more_than_a_buffer_is_shuffled_at_once(tmp_path):
    rows = Rows(examples_of(tmp_path / "e", [10] * 4), [f"2013-05-0{day}" for day in range(1, 5)], "label", seed=3)
    x = np.concatenate([part["x"] for part, _ in rows.minibatches(5, shuffle=True, buffer=20)])

    assert set(x[:20]) == set(range(20))


def split_by_key(folder, held):
    """Two spans of transformed rows, with a column that says which are held back."""
    schema = SCHEMA.append(pa.field(VALIDATION, pa.bool_()))
    with Examples.writer(folder, schema, producer="transform") as writer:
        for number in range(2):
            x = np.arange(10 * number, 10 * number + 10, dtype=np.float32)
            columns = [pa.array(x), pa.array(x % 2, pa.float32()), pa.array([bool(each) for each in held(x)])]
            writer.write(f"2013-05-0{number + 1}", [pa.RecordBatch.from_arrays(columns, schema=schema)])
    return Examples.open(folder)


def test_a_split_by_key_holds_rows_of_every_span_back_and_hides_its_column(tmp_path):
    train, validation = split(split_by_key(tmp_path / "e", lambda x: x % 5 == 0), "label", seed=0)
    columns, labels = validation.arrays()

    assert columns.keys() == {"x"}
    assert columns["x"].tolist() == [0, 5, 10, 15]
    assert labels.tolist() == [0, 1, 0, 1]
    assert (len(train), len(validation)) == (16, 4)
    assert train.spans == validation.spans == ("2013-05-01", "2013-05-02")
    assert train.pandas().columns.tolist() == ["x", "label"]
    assert sum(len(labels) for _, labels in train.minibatches(3, shuffle=True)) == 16
    assert str(validation) == "rows by key in 2013-05-01 to 2013-05-02"


@pytest.mark.parametrize("all_or_none", [True, False])
def test_a_split_that_leaves_one_side_empty_is_refused(tmp_path, all_or_none):
    examples = split_by_key(tmp_path / "e", lambda x: [all_or_none] * len(x))

    with pytest.raises(DataError, match="take a key with more values"):
        split(examples, "label", seed=0)


def weighted(folder, weights):
    """One span of rows with these weights."""
    schema = SCHEMA.append(pa.field(WEIGHT, pa.float64()))
    with Examples.writer(folder, schema, producer="transform") as writer:
        x = pa.array(range(len(weights)), pa.float32())
        writer.write("2013-05-01", [pa.RecordBatch.from_arrays([x, x, pa.array(weights)], schema=schema)])
    return Examples.open(folder)


def test_weights_come_in_the_order_of_the_rows_and_are_no_input(tmp_path):
    train, validation = split(weighted(tmp_path / "e", [1.0, 0.5] * 4), "label", seed=0)

    assert train.weights().tolist() == [1.0, 0.5] * 3 + [1.0]
    assert validation.weights().tolist() == [0.5]
    assert train.arrays()[0].keys() == {"x"}


def test_without_a_column_of_weights_there_are_none(tmp_path):
    train, _ = split(examples_of(tmp_path / "e", [4, 4]), "label", seed=0)

    assert train.weights() is None


@pytest.mark.parametrize("weight", [None, -1.0, float("inf")])
def test_a_weight_that_is_none_is_refused(tmp_path, weight):
    train, _ = split(weighted(tmp_path / "e", [1.0, weight, 1.0, 1.0]), "label", seed=0)

    with pytest.raises(DataError, match=r"the weight of 1 rows(.|\n)*COALESCE"):
        train.weights()


@pytest.mark.slow
def test_tf_data_streams_the_same_rows_each_epoch(tmp_path):
    rows = Rows(examples_of(tmp_path / "e", [6, 4]), ["2013-05-01", "2013-05-02"], "label", seed=0)
    data = rows.tf(4, shuffle=True)
    epochs = [np.concatenate([columns["x"].numpy() for columns, _ in data]) for _ in range(2)]

    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 2
    assert epochs[0].tolist() != epochs[1].tolist()
