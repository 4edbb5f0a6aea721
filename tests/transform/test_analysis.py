"""What is learned is right, and the same in whatever order the rows come."""

import json
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from flywheel import config
from flywheel.errors import DataError
from flywheel.transform.analysis import Analysis, Labels
from flywheel.transform.bad_rows import BadRows
from flywheel.transform.categories import Category
from flywheel.transform.numbers import Bucket, Numeric
from flywheel.transform.summaries import Counts, Histogram, Moments
from tests.transform.worlds import EVERY_KIND, FEATURES, SCHEMA, WIDE, batches, functions_in, learned

X = {"name": "x", "columns": ("x",), "types": ("double",)}
finite = st.floats(-1e6, 1e6, width=32)


@pytest.fixture(scope="module")
def functions(tmp_path_factory):
    return functions_in(tmp_path_factory.mktemp("project") / "code")


def bucket(values, quantiles, bins=2**16):
    histogram = Histogram(quantiles, bins)
    histogram.add([pa.array(values, pa.float64())])
    return histogram, Bucket(**X, **histogram.finish())


def applied(feature, column):
    """The one input that a feature makes of a column."""
    (made,) = feature.apply([column], BadRows(len(column), refuse=True))
    return made.to_numpy()


@given(parts=st.lists(batches(least=1), min_size=2, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_order_and_grouping_of_batches_change_nothing(parts, seed):
    if sum(part.num_rows for part in parts) < 2 or all(part.num_rows < 2 for part in parts):
        return
    order = np.random.default_rng(seed).permutation(len(parts))
    half = [Analysis(FEATURES, "label") for _ in range(2)]
    for index in order:
        half[index % 2].add(parts[index])
    half[1].merge(half[0])

    assert half[1].finish(SCHEMA) == learned(*parts)


@given(parts=st.lists(batches(least=2, most=8, schema=WIDE), min_size=2, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_order_and_grouping_change_nothing_for_any_kind(functions, parts, seed):
    halves = [Analysis(EVERY_KIND, "label") for _ in range(2)]
    for index in np.random.default_rng(seed).permutation(len(parts)):
        halves[index % 2].add(parts[index], functions)
    halves[1].merge(halves[0])

    assert halves[1].finish(WIDE) == learned(*parts, features=EVERY_KIND, code=functions)


@given(st.lists(st.none() | finite, min_size=1, max_size=50), st.integers(0, 50))
@settings(deadline=None)
def test_moments_merge_to_those_of_all_rows(values, cut):
    parts = [Moments(), Moments()]
    for part, some in zip(parts, (values[:cut], values[cut:]), strict=True):
        part.add([pa.array(some, pa.float64())])
    parts[0].merge(parts[1])
    known = np.array([value for value in values if value is not None])

    assert (parts[0].rows, parts[0].missing) == (len(known), len(values) - len(known))
    if len(known):
        feature = Numeric(**X, **parts[0].finish())
        assert feature.mean == pytest.approx(known.mean(), rel=1e-8, abs=1e-6)
        assert feature.deviation == pytest.approx(known.std(), rel=1e-6, abs=1e-5)
        assert (feature.minimum, feature.maximum) == (known.min(), known.max())


@given(st.lists(st.floats(-3e38, 3e38), min_size=1, max_size=40), st.integers(0, 40))
@settings(deadline=None)
def test_moments_are_those_of_exact_arithmetic_to_the_last_bit(values, cut):
    moments = Moments()
    for some in (values[cut:], values[:cut]):
        moments.add([pa.array(some, pa.float64())])
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    variance = sum((value - mean) ** 2 for value in exact) / len(exact)

    assert moments.finish()["mean"] == float(mean)
    assert moments.finish()["deviation"] == pytest.approx(float(variance) ** 0.5, rel=1e-12, abs=0)


def test_large_offsets_do_not_cancel():
    moments = Moments()
    moments.add([pa.array([1e9 + value for value in (4.0, 7.0, 13.0, 16.0)])])

    assert moments.finish()["deviation"] == pytest.approx(22.5**0.5)


def test_the_vocabulary_is_the_most_frequent_values_ties_by_value():
    counts = Counts(3)
    counts.add([pa.array(["b", "a", "c", "c", None, "d"])])

    assert counts.finish() == {"vocabulary": ("c", "a", "b"), "unknown": 1, "missing": 1, "distinct": 4, "error": 0}


@given(st.lists(finite, min_size=1, max_size=200), st.integers(2, 12))
@settings(deadline=None)
def test_boundaries_are_exact_quantiles_while_values_are_few(values, quantiles):
    _, feature = bucket(values, quantiles)
    ranked = np.sort(np.array(values) + 0.0)
    exact = {ranked[rank * len(values) // quantiles] for rank in range(1, quantiles)} - {ranked[0]}

    assert list(feature.boundaries) == sorted(exact)


def test_many_values_are_cut_within_a_bin_and_in_bounded_memory():
    values = np.random.default_rng(0).lognormal(0, 2, 200_000) * np.random.default_rng(1).choice([-1, 1], 200_000)
    histogram, feature = bucket(values, 10, bins=4096)
    shares = np.bincount(applied(feature, pa.array(values)))[1:] / len(values)

    assert len(histogram.keys) <= 4096
    assert histogram.dropped > 0
    assert np.abs(shares - 0.1).max() < 0.002


@given(st.lists(finite, min_size=2, max_size=200), st.integers(1, 199), st.sampled_from([4, 16, 64]))
@settings(deadline=None)
def test_bins_do_not_depend_on_the_order_of_the_rows(values, cut, bins):
    whole, _ = bucket(values, 4, bins)
    back, _ = bucket(values[cut:], 4, bins)
    front, _ = bucket(values[:cut], 4, bins)
    back.merge(front)

    assert (whole.dropped, whole.keys.tolist(), whole.counts.tolist()) == (
        back.dropped,
        back.keys.tolist(),
        back.counts.tolist(),
    )


def test_a_missing_number_becomes_the_mean_and_a_constant_column_zero():
    varied = Numeric(**X, mean=2.0, deviation=4.0)
    constant = Numeric(**X, mean=2.0, deviation=0.0)
    column = pa.array([10.0, None, float("nan"), float("inf")])

    assert applied(varied, column).tolist() == [2.0, 0.0, 0.0, 0.0]
    assert applied(constant, column).tolist() == [0.0] * 4


def test_missing_unknown_and_known_values_have_indices_of_their_own():
    feature = Category(**X, top=2, vocabulary=("UA", "AA"))

    assert applied(feature, pa.array([None, "ZZ", "UA", "AA"])).tolist() == [0, 1, 2, 3]
    assert feature.inputs[0].cardinality == 4


def test_a_value_on_a_boundary_belongs_to_the_range_above():
    feature = Bucket(**X, boundaries=(10.0, 20.0))

    assert applied(feature, pa.array([None, 9, 10, 19, 20, 99])).tolist() == [0, 1, 2, 2, 3, 3]
    assert feature.inputs[0].cardinality == 4


@pytest.mark.parametrize(
    ("task", "labels", "said"),
    [
        ("binary", [0, 1, None], r"missing in 1 of 3 rows(.|\n)*WHERE late IS NOT NULL"),
        ("binary", [0, 1, 2], r"is 2.0 in some rows(.|\n)*make it 0 or 1(.|\n)*task: multiclass"),
        ("binary", [1, 1, 1], r"is 1 in all 3 rows(.|\n)*widen source.window"),
        ("multiclass", ["a", None], r"missing in 1 of 2 rows"),
        ("multiclass", ["a", "a"], r"is 'a' in all 2 rows"),
        ("multiclass", list(range(1001)), r"more than 1000 classes, as 0 and 1(.|\n)*task: regression"),
        ("regression", [1.5, float("inf"), None], r"missing or no finite number in 2 of 3 rows"),
        ("regression", [1.5, 1.5], r"is 1.5 in all 2 rows"),
    ],
)
def test_a_label_that_cannot_be_learned_is_refused(task, labels, said):
    found = Labels(task)
    found.add(pa.array(labels))

    with pytest.raises(DataError, match=said):
        found.finish("late")


@pytest.mark.parametrize(
    ("labels", "classes", "indices"),
    [(["b", "a", "b"], ("a", "b"), [1, 0, 1]), ([7, -2, 7], (-2, 7), [1, 0, 1]), ([True, False], (0, 1), [1, 0])],
)
def test_classes_are_sorted_and_a_label_becomes_its_index(labels, classes, indices):
    parts = [Labels("multiclass"), Labels("multiclass")]
    parts[0].add(pa.array(labels[:1]))
    parts[1].add(pa.array(labels[1:]))
    parts[0].merge(parts[1])
    target = parts[0].finish("kind")

    assert target.classes == classes
    assert target.counts == tuple(labels.count(value) for value in classes)
    assert target.encode(pa.array(labels)).to_pylist() == indices


def test_a_class_that_training_did_not_see_has_no_index():
    found = Labels("multiclass")
    found.add(pa.array(["a", "b"]))

    assert found.finish("kind").encode(pa.array(["b", "c"])).to_pylist() == [1, None]


@given(st.lists(finite, min_size=2, max_size=50), st.integers(0, 50))
@settings(deadline=None)
def test_a_number_to_predict_keeps_its_mean_and_deviation(values, cut):
    if len(set(values)) < 2:
        return
    parts = [Labels("regression"), Labels("regression")]
    for part, some in zip(parts, (values[:cut], values[cut:]), strict=True):
        part.add(pa.array(some, pa.float64()))
    parts[0].merge(parts[1])
    target = parts[0].finish("count")

    assert target.classes == ()
    assert target.mean == pytest.approx(np.mean(values), rel=1e-8, abs=1e-6)
    assert target.deviation == pytest.approx(np.std(values), rel=1e-6, abs=1e-5)
    assert target.encode(pa.array([1, None])).to_pylist() == [1.0, None]


def test_whole_numbers_that_kubeflow_made_floats_of_give_the_same_features():
    specs = TypeAdapter(tuple[config.Feature, ...]).validate_python(EVERY_KIND)
    given = [spec.model_dump(mode="json", by_alias=True, exclude_none=True) for spec in specs]
    floats = [{key: float(value) if type(value) is int else value for key, value in spec.items()} for spec in given]

    assert Analysis(floats, "label").specs == specs


def test_the_state_can_be_read_by_people(tmp_path):
    state = learned(*pa.Table.from_pylist(ROWS, SCHEMA).to_batches())
    state.write(tmp_path / "state.json")
    values = json.loads((tmp_path / "state.json").read_text())

    assert values["features"][4] == {
        "name": "word",
        "as": "category",
        "columns": ["word"],
        "types": ["string"],
        "top": 3,
        "minimum": 1,
        "oov": 1,
        "vocabulary": ["é"],
        "unknown": 0,
        "missing": 1,
        "distinct": 1,
        "error": 0,
    }


ROWS = [
    {"count": 1, "share": 0.5, "weight": 1.0, "flag": True, "word": "é", "code": 1, "label": 0},
    {"count": 2, "share": None, "weight": 1.0, "flag": None, "word": None, "code": 2, "label": 1},
]
