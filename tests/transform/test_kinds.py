"""What each kind of feature makes of its columns, value by value."""

from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pytest

from flywheel.errors import DataError
from flywheel.transform.bad_rows import BadRows
from flywheel.transform.categories import Category, Cross, Hash
from flywheel.transform.numbers import Numeric, Timestamp
from flywheel.transform.passthrough import Embedding, Image
from flywheel.transform.sequences import List, MultiHot, Ngrams, Text
from flywheel.transform.tensors import tensor
from tests.transform.worlds import photo


def made(feature, *columns, bad=None):
    """The arrays that the model gets."""
    bad = BadRows(len(columns[0]), refuse=True) if bad is None else bad
    stored = feature.apply(columns, bad)
    return [tensor(column, each) for column, each in zip(stored, feature.inputs, strict=True)]


def x(kind, type="double", **settings):
    return kind(name="x", columns=("x",), types=(type,), **settings)


NUMBERS = pa.array([-1.0, None, 3.0, 100.0])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"scale": "none"}, [-1, 2, 3, 100]),
        ({"scale": "none", "fill": "zero", "clip": (None, 10.0)}, [-1, 0, 3, 10]),
        ({"scale": "none", "fill": -7.0}, [-1, -7, 3, 100]),
        ({"scale": "min_max", "minimum": -1.0, "maximum": 3.0}, [0, 0.75, 1, 25.25]),
        ({"scale": "log", "fill": "zero"}, [-np.log(2), 0, np.log(4), np.log(101)]),
    ],
)
def test_numbers_are_clipped_filled_in_and_scaled(settings, expected):
    (found,) = made(x(Numeric, mean=2.0, deviation=1.0, **settings), NUMBERS)

    assert found.tolist() == pytest.approx(expected)


def test_an_indicator_says_where_a_number_was_missing():
    feature = x(Numeric, mean=2.0, deviation=1.0, fill="indicator")

    assert [each.name for each in feature.inputs] == ["x", "x_missing"]
    assert made(feature, NUMBERS)[1].tolist() == [0, 1, 0, 0]


def test_values_never_seen_share_a_few_indices_by_their_hash():
    feature = x(Category, "string", oov=5, vocabulary=("a",))
    (found,) = made(feature, pa.array(["a", None, *map(str, range(50))]))

    assert found[:2].tolist() == [6, 0]
    assert set(found[2:]) == {1, 2, 3, 4, 5}
    assert feature.inputs[0].cardinality == 7


def test_a_hash_and_a_cross_stay_within_their_buckets_and_depend_on_every_column():
    words, codes = pa.array(["a", "a", None, None, "b"]), pa.array([1, 2, 1, None, 1])
    (single,) = made(x(Hash, "string", buckets=1000), words)
    (both,) = made(Cross(name="x", columns=("x", "y"), types=("string", "int64"), buckets=1000), words, codes)

    assert single[0] == single[1] != single[4]
    assert single[2] == single[3] == 0
    assert len(set(both)) == 5
    assert both[3] == 0
    assert both.max() <= 1000


def test_lists_become_padded_indices_or_a_vector_of_ones():
    column = pa.array([["b", "a", "c"], [], None, ["?", None]])

    assert made(x(List, vocabulary=("a", "b", "c"), length=2), column)[0].tolist() == [[3, 2], [0, 0], [0, 0], [1, 0]]
    assert made(x(MultiHot, vocabulary=("a", "b", "c")), column)[0].tolist() == [
        [0, 1, 1, 1],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [1, 0, 0, 0],
    ]


def test_words_are_runs_of_letters_and_digits_in_lower_case():
    column = pa.array(["The THE, été-2!", None, "...", "the"])

    assert made(x(Text, vocabulary=("the", "été"), length=4), column)[0].tolist() == [
        [2, 2, 3, 1],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [2, 0, 0, 0],
    ]


def test_runs_of_words_are_counted_and_never_reach_into_the_next_row():
    (found,) = made(x(Ngrams, ngrams=2, buckets=512), pa.array(["a b", "a", "b a b", None]))

    assert found.sum(1).tolist() == [3, 1, 5, 0]
    assert found[2].max() == 2
    assert (found[0] > 0).sum() == 3
    assert ((found[0] > 0) & (found[2] > 0)).sum() == 3


def test_times_lie_on_circles_whatever_their_type():
    monday = datetime(2024, 1, 1, 6)
    for type in (pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("us", "UTC")):
        sines = made(x(Timestamp, parts=("hour", "weekday", "day_of_year")), pa.array([monday, None], type))
        assert np.concatenate(sines) == pytest.approx([1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0], abs=1e-7)
    (sine, _) = made(x(Timestamp, parts=("weekday",)), pa.array([date(2024, 1, 7), date(1969, 12, 29)]))
    assert sine.tolist() == pytest.approx([np.sin(12 * np.pi / 7), 0])


def test_a_time_of_another_age_is_a_bad_row():
    bad = BadRows(2)
    made(x(Timestamp, parts=("hour",)), pa.array([0, 2**62], pa.timestamp("s")), bad=bad)

    assert bad.reasons == {1: ("x", "a time that is not of the years 1 to 9999")}


def test_an_embedding_of_another_length_or_with_a_hole_is_a_bad_row():
    bad = BadRows(5)
    (found,) = made(x(Embedding, dim=2), pa.array([[1.0, 2.0], None, [1.0], [1.0, None], [1.0, np.inf]]), bad=bad)

    assert found[:2].tolist() == [[1, 2], [0, 0]]
    assert bad.reasons == {
        2: ("x", "1 numbers, not 2"),
        3: ("x", "an element that is missing or not finite"),
        4: ("x", "an element that is missing or not finite"),
    }


def test_images_are_converted_and_resized_and_a_missing_one_is_black():
    (found,) = made(x(Image, "binary", height=2, width=3, channels=1), pa.array([photo(2, 3), photo(9, 9), None, b""]))

    assert found.shape == (4, 2, 3, 1)
    assert found.dtype == np.uint8
    assert found[:2].any((1, 2, 3)).all()
    assert not found[2:].any()


def test_an_image_that_is_cut_off_is_a_bad_row_and_in_serving_an_error():
    broken = pa.array([photo(), photo()[:-40], b"text"])
    feature, bad = x(Image, "binary", height=2, width=2), BadRows(3)
    feature.apply([broken], bad)

    assert set(bad.reasons) == {1, 2}
    assert bad.reasons[2][1] == "an image that cannot be decoded: no image format that Pillow knows"
    with pytest.raises(DataError, match="row 1 cannot be transformed: 'x': an image that cannot be decoded"):
        made(feature, broken)
