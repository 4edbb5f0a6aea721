"""Which rows a trainer gets, and in what forms."""

import numpy as np
import pyarrow as pa
import pytest

from flywheel.artifacts import VALIDATION, WEIGHT, Examples
from flywheel.errors import DataError
from flywheel.training.context import FeatureSpec
from flywheel.training.rows import Rows, Share, split

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


DAYS = [f"2013-05-0{day}" for day in range(1, 5)]


def seen(batches):
    """Return x of each batch."""
    return [columns["x"].tolist() for columns, *_ in batches]


@pytest.mark.parametrize("size", [3, 7, 16])
@pytest.mark.parametrize("held", [None, False])
def test_beginning_after_some_batches_gives_those_that_are_left(tmp_path, size, held):
    if held is None:
        rows = Rows(examples_of(tmp_path / "e", [11, 1, 0, 25]), DAYS, "label", 3, start=2)
    else:
        rows = Rows(split_by_key(tmp_path / "e", lambda x: x % 5 == 0), DAYS[:2], "label", 3, held=held)
    whole = seen(rows.minibatches(size, shuffle=True, epoch=1, buffer=8))

    assert len(whole) == rows.steps(size)
    for skip in range(len(whole) + 2):
        assert seen(rows.minibatches(size, shuffle=True, epoch=1, buffer=8, skip=skip)) == whole[skip:]


def test_beginning_late_does_not_read_the_spans_before(tmp_path):
    examples = examples_of(tmp_path / "e", [10, 10, 10])
    rows, read = Rows(examples, DAYS[:3], "label", 3), []
    examples.check = lambda shard: read.append(shard.parent.name)

    assert len(seen(rows.minibatches(5, buffer=5, skip=5))) == 1
    assert read == ["span=2013-05-03"]


@pytest.mark.parametrize("world", [2, 3])
def test_processes_that_train_together_share_the_rows_of_every_batch(tmp_path, world):
    examples = examples_of(tmp_path / "e", [20, 13])

    def batches(share):
        return seen(Rows(examples, DAYS[:2], "label", 3, share=share).minibatches(8, shuffle=True, buffer=16))

    parts = [batches(Share(rank, world)) for rank in range(world)]
    assert [[x for part in each for x in part] for each in zip(*parts, strict=True)] == batches(Share())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_torch_loader_gives_the_same_batches_whoever_loads_them(tmp_path, workers):
    rows = Rows(examples_of(tmp_path / "e", [20, 13]), DAYS[:2], "label", 3)
    expected = seen(rows.minibatches(4, shuffle=True, epoch=2, buffer=8, skip=1))
    found = list(rows.torch(4, shuffle=True, epoch=2, buffer=8, skip=1, workers=workers))

    assert seen(found) == expected
    assert [label.tolist() for _, label in found] == [[x % 2 for x in each] for each in expected]


def test_inputs_have_their_shapes_and_weights_come_along(tmp_path):
    schema = pa.schema([("v", pa.list_(pa.float32(), 2)), ("label", pa.float32()), (WEIGHT, pa.float64())])
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(10, dtype=np.float32)), 2)
    columns = [vectors, pa.array([0, 1, 0, 1, 0], pa.float32()), pa.array([1.0, 2, 3, 4, 5])]
    with Examples.writer(tmp_path / "e", schema, producer="transform") as writer:
        writer.write("2013-05-01", [pa.RecordBatch.from_arrays(columns, schema=schema)])
    inputs = {"v": FeatureSpec("v", "embedding", None, (2,))}
    rows = Rows(Examples.open(tmp_path / "e"), ["2013-05-01"], "label", 3, inputs=inputs)
    batches = list(rows.minibatches(2))

    assert [columns["v"].shape for columns, _, _ in batches] == [(2, 2), (2, 2), (1, 2)]
    assert batches[1][0]["v"].tolist() == [[4, 5], [6, 7]]
    assert [weights.tolist() for *_, weights in batches] == [[1, 2], [3, 4], [5]]
    assert rows.weights().tolist() == [1, 2, 3, 4, 5]
    assert rows.arrays()[0]["v"].shape == (5, 2)
    assert rows.pandas().columns.tolist() == ["v", "label"]
    assert rows.counts(2) == [3, 2]
    assert rows.moments() == pytest.approx((0.4, 0.24**0.5))


@pytest.mark.parametrize("weight", [-1.0, float("nan"), None])
def test_a_weight_that_is_no_weight_is_refused(tmp_path, weight):
    schema = pa.schema([("x", pa.float32()), ("label", pa.float32()), (WEIGHT, pa.float64())])
    columns = [pa.array([1.0, 2.0], pa.float32()), pa.array([0, 1], pa.float32()), pa.array([1.0, weight])]
    with Examples.writer(tmp_path / "e", schema, producer="transform") as writer:
        writer.write("2013-05-01", [pa.RecordBatch.from_arrays(columns, schema=schema)])
    rows = Rows(Examples.open(tmp_path / "e"), ["2013-05-01"], "label", 3)

    for use in (rows.weights, lambda: list(rows.minibatches(2))):
        with pytest.raises(DataError, match=r"weight of 1 rows is no number from 0 on(.|\n)*COALESCE"):
            use()


@pytest.mark.slow
def test_tf_data_streams_the_same_rows_each_epoch(tmp_path):
    rows = Rows(examples_of(tmp_path / "e", [6, 4]), ["2013-05-01", "2013-05-02"], "label", seed=0)
    data = rows.tf(4, shuffle=True)
    epochs = [np.concatenate([columns["x"].numpy() for columns, _ in data]) for _ in range(2)]

    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 2
    assert epochs[0].tolist() != epochs[1].tolist()
