import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from flywheel.errors import DataError
from flywheel.statistics import features, summarize
from flywheel.statistics.columns import canonical

DAY = dt.date(1970, 1, 3)
BYTES, WHOLE, FLOATING = pa.large_binary(), pa.int64(), pa.float64()

SINGLE = {
    "int8": (pa.array([1, None], pa.int8()), WHOLE, [[1], None]),
    "uint64": (pa.array([2**64 - 1, None], pa.uint64()), pa.uint64(), [[2**64 - 1], None]),
    "float16": (pa.array([np.float16(1.5), None], pa.float16()), FLOATING, [[1.5], None]),
    "float32": (pa.array([1.5, None], pa.float32()), FLOATING, [[1.5], None]),
    "bool": (pa.array([True, None]), WHOLE, [[1], None]),
    "decimal": (pa.array([Decimal("1.25"), None], pa.decimal128(9, 2)), FLOATING, [[1.25], None]),
    "wide decimal": (pa.array([Decimal("1.25"), None], pa.decimal256(60, 2)), FLOATING, [[1.25], None]),
    "date": (pa.array([DAY, None], pa.date32()), WHOLE, [[2], None]),
    "date in milliseconds": (pa.array([DAY, None], pa.date64()), WHOLE, [[2 * 86_400_000], None]),
    "time in seconds": (pa.array([dt.time(0, 1), None], pa.time32("s")), WHOLE, [[60], None]),
    "time in microseconds": (pa.array([dt.time(0, 1), None], pa.time64("us")), WHOLE, [[60_000_000], None]),
    "timestamp": (pa.array([dt.datetime(1970, 1, 1, 0, 1), None], pa.timestamp("ms", "UTC")), WHOLE, [[60_000], None]),
    "duration": (pa.array([dt.timedelta(minutes=1), None], pa.duration("s")), WHOLE, [[60], None]),
    "text": (pa.array(["", None, "ä"]), BYTES, [[b""], None, ["ä".encode()]]),
    "bytes": (pa.array([b"\xff", None]), BYTES, [[b"\xff"], None]),
    "bytes of one length": (pa.array([b"ab", None], pa.binary(2)), BYTES, [[b"ab"], None]),
    "dictionary": (pa.array(["a", None, "a"]).dictionary_encode(), BYTES, [[b"a"], None, [b"a"]]),
    "nothing": (pa.nulls(2), BYTES, [None, None]),
    "list": (pa.array([[1, 2], None, []], pa.list_(pa.int32())), WHOLE, [[1, 2], None, []]),
    "large list": (pa.array([["a"], None], pa.large_list(pa.string())), BYTES, [[b"a"], None]),
    "list of dates": (pa.array([[DAY], None], pa.list_(pa.date32())), WHOLE, [[2], None]),
    "list with nulls": (pa.array([[1, None, 2], [None]], pa.list_(pa.int64())), WHOLE, [[1, 2], []]),
    "list of one length": (pa.array([[1.0, 2.0], None, [3.0, None]], pa.list_(pa.float32(), 2)), FLOATING, None),
}


def counted(array, name="x"):
    batch = canonical(pa.RecordBatch.from_arrays([array], names=[name]))
    batch.validate(full=True)
    return {column: found for column, found in zip(batch.schema.names, batch.columns, strict=True)}


@pytest.mark.parametrize("kind", SINGLE)
@pytest.mark.parametrize("cut", [0, 1])
def test_every_type_is_counted_as_lists_of_numbers_or_bytes(kind, cut):
    array, type, values = SINGLE[kind]
    expected = [[1.0, 2.0], None, [3.0]] if values is None else values
    found = counted(array.slice(cut))["x"]

    assert found.type == pa.large_list(type)
    assert found.to_pylist() == expected[cut:]


@pytest.mark.parametrize("cut", [0, 1])
def test_a_struct_is_a_column_for_each_of_its_fields(cut):
    array = pa.array([{"a": 1, "b": {"c": "x"}}, None, {"a": None, "b": None}])
    found = counted(array.slice(cut), "place")

    assert {name: each.to_pylist() for name, each in found.items()} == {
        "place/a": [[1], None, None][cut:],
        "place/b/c": [[b"x"], None, None][cut:],
    }


@pytest.mark.parametrize("cut", [0, 1])
def test_a_list_of_structs_is_a_list_for_each_of_their_fields(cut):
    array = pa.array([[{"n": 1, "tags": ["x"]}, None], None, [{"n": 3, "tags": []}], []])
    found = counted(array.slice(cut), "items")

    assert found["items/n"].to_pylist() == [[1], None, [3], []][cut:]
    assert found["items/tags"].to_pylist() == [[[b"x"]], None, [[]], []][cut:]


@pytest.mark.parametrize("cut", [0, 1])
def test_a_map_is_a_list_of_keys_and_one_of_values(cut):
    array = pa.array([[("a", 1)], None, [("b", None), ("c", 3)]], pa.map_(pa.string(), pa.int64()))
    found = counted(array.slice(cut), "tags")

    assert found["tags/key"].to_pylist() == [[b"a"], None, [b"b", b"c"]][cut:]
    assert found["tags/value"].to_pylist() == [[1], None, [3]][cut:]


def test_lists_in_lists_stay(tmp_path):
    array = pa.array([[[1], [2, 3]], None, [[]]], pa.list_(pa.list_(pa.int64())))

    assert counted(array)["x"].to_pylist() == [[[1], [2, 3]], None, [[]]]


def test_two_columns_of_one_name_are_refused():
    batch = pa.RecordBatch.from_arrays([pa.array([{"b": 1}]), pa.array([1])], names=["a", "a/b"])

    with pytest.raises(DataError, match="two columns 'a/b'") as error:
        canonical(batch)
    assert "rename one of them" in error.value.remedy


def test_a_type_that_cannot_be_counted_is_named_with_its_column():
    array = pa.array([pa.MonthDayNano([1, 2, 3])], pa.month_day_nano_interval())

    with pytest.raises(DataError, match="column 'gap', whose type is month_day_nano_interval") as error:
        counted(array, "gap")
    assert "cast it to text" in error.value.remedy


def test_what_is_missing_empty_or_not_a_number_is_told_apart():
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([1.0, float("nan"), None, 3.0]),
            pa.array(["", "a", None, "a"]),
            pa.array([[], [1, 2], None, [3]], pa.list_(pa.int64())),
        ],
        names=["number", "text", "list"],
    )
    number, text, several = features(summarize([batch]))

    assert (number.num_stats.common_stats.num_missing, number.num_stats.histograms[0].num_nan) == (1, 1)
    assert (number.num_stats.mean, number.num_stats.std_dev) == (2, 1)
    assert (text.string_stats.common_stats.num_missing, text.string_stats.unique) == (1, 2)
    assert {each.label: each.sample_count for each in text.string_stats.rank_histogram.buckets} == {"a": 2, "": 1}
    common = several.num_stats.common_stats
    assert (common.num_missing, common.tot_num_values, common.min_num_values, common.max_num_values) == (1, 3, 0, 2)


def test_weights_count_rows_as_often_as_they_say():
    from flywheel.statistics import Options

    rows = pa.RecordBatch.from_arrays(
        [pa.array([1.0, 5.0]), pa.array(["a", "b"]), pa.array([3, 1])], names=["x", "s", "w"]
    )
    found = summarize([rows], options=Options(weight="w"))
    number, text, _ = features(found)

    assert found.datasets[0].weighted_num_examples == 4
    assert number.num_stats.weighted_numeric_stats.mean == 2
    weighted = text.string_stats.weighted_string_stats.rank_histogram.buckets
    assert {each.label: each.sample_count for each in weighted} == {"a": 3, "b": 1}


def test_a_schema_makes_whole_numbers_categories():
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    from flywheel.statistics import Options

    schema = text_format.Parse(
        'feature { name: "code" type: INT int_domain { is_categorical: true } }', schema_pb2.Schema()
    )
    rows = pa.RecordBatch.from_arrays([pa.array([7, 7, 8])], names=["code"])
    (code,) = features(summarize([rows], options=Options.of({}, schema)))

    assert {each.label: each.sample_count for each in code.string_stats.rank_histogram.buckets} == {"7": 2, "8": 1}
