import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.invariants import Determines, Known, Ordered, Sum, Unique, propose
from flywheel.invariants.sample import columns_of

ROWS = 20_000


def world(rows=ROWS, seed=0, **changes):
    """Orders of a shop: what holds of them was put there."""
    random = np.random.default_rng(seed)
    store, product = random.integers(0, 40, rows), random.integers(0, 60, rows)
    price, amount = random.integers(1, 500, (40, 60)), random.integers(0, 300, rows)
    city = random.integers(0, 9, 40)
    ordered = np.datetime64("2024-01-01", "us") + np.sort(random.integers(0, 10**12, rows))
    columns = {
        "order": np.arange(rows),
        "store": np.array([f"s{i}" for i in store]),
        "city": np.array([f"c{i}" for i in city])[store],
        "product": np.array([f"p{i}" for i in product]),
        "price": price[store, product],
        "amount": amount,
        "total": price[store, product] + amount,
        "ordered": ordered,
        "shipped": ordered + random.integers(0, 10**12, rows),
        "weight": random.normal(size=rows),
        "label": (random.random(rows) < 0.3).astype(int),
        "constant": np.full(rows, 7),
    }
    return pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in (columns | changes).items()})


@pytest.fixture(scope="module")
def found():
    return {str(proposal.invariant): proposal for proposal in propose([world()], "label")}


def test_what_was_put_into_the_data_is_found_and_nothing_else(found):
    assert set(found) == {
        "unique order",
        "store determines city",
        "store, product determines price",
        "ordered <= shipped",
        "price + amount = total",
    }


def test_a_proposal_comes_with_its_evidence(found):
    proposal = found["store, product determines price"]

    assert (proposal.rows, proposal.violations, proposal.groups) == (ROWS, 0, 2_400)
    assert proposal.evidence.startswith("0 of 20,000 rows violate it, 2,400 different keys; by chance about")
    assert proposal.invariant.tolerance == 0


def test_a_few_violations_are_tolerated_as_the_worst_day_would_need():
    price = world().column("price").to_numpy().copy()
    price[[3_010, 3_020, 9_000]] = 10_000
    batch = world(price=price, total=np.zeros(ROWS))

    (proposal,) = [each for each in propose([batch], "label") if str(each.invariant).endswith("determines price")]

    assert proposal.violations == 3
    assert proposal.invariant.tolerance == 0.004


def test_a_key_of_two_columns_is_found_where_chance_would_not_make_one():
    rows = 6_000
    day, number = np.divmod(np.arange(rows), 60)
    batch = pa.RecordBatch.from_pydict({"day": pa.array(day), "number": pa.array(number), "label": pa.array(day % 2)})

    assert [str(each.invariant) for each in propose([batch], "label")] == ["unique day, number"]


def test_the_label_is_in_no_proposal():
    label = (world().column("store").to_numpy(zero_copy_only=False) < "s2").astype(int)

    assert not any("label" in each.invariant.columns for each in propose([world(label=label)], "label"))


def test_unrelated_columns_suggest_nothing():
    random = np.random.default_rng(1)
    noise = {
        name: pa.array(random.integers(0, size, 5_000))
        for name, size in zip("abcdef", (2, 5, 50, 90, 400, 2_000), strict=True)
    }
    noise |= {"x": pa.array(random.normal(size=5_000)), "mostly nothing": pa.array(np.arange(5_000) % 2_500 == 0)}

    assert propose([pa.RecordBatch.from_pydict(noise)], "label") == []


@pytest.mark.parametrize("rows", [0, 1, 50])
def test_few_rows_suggest_nothing(rows):
    assert propose([world(rows)] if rows else [], "label") == []


def test_nulls_nested_columns_and_columns_of_nothing_are_looked_past():
    batch = pa.RecordBatch.from_pydict(
        {
            "key": pa.array([None if i % 3 else i // 300 for i in range(9_000)]),
            "value": pa.array([None if i % 5 == 0 else f"v{i // 300 % 7}" for i in range(9_000)]),
            "list": pa.array([[1], None, []] * 3_000),
            "nothing": pa.nulls(9_000),
            "day": pa.array([dt.date(2024, 1, 1 + i // 300) for i in range(9_000)]),
        }
    )

    assert [str(each.invariant) for each in propose([batch], "label")] == [
        "day determines key",
        "day determines value",
    ]


def test_of_many_rows_whole_blocks_are_kept_in_bounded_memory():
    batches = [world(7_000, seed) for seed in range(6)]

    (store, *_) = columns_of(batches, ["label", "order"], rows=10_000)

    assert 5_000 <= len(store.codes) <= 10_000
    assert store.distinct == 40


def test_how_rows_are_cut_into_batches_does_not_matter():
    whole = world(9_000)
    parts = [whole.slice(start, 777) for start in range(0, 9_000, 777)]

    assert propose(parts, "label") == propose([whole], "label")


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(2, 6))
def test_whatever_is_proposed_is_held_by_the_rows_that_suggested_it(seed, size, columns):
    random = np.random.default_rng(seed)
    table = {f"c{i}": pa.array(np.sort(random.integers(0, size * (i + 1), 1_500)) // (i + 1)) for i in range(columns)}
    batch = pa.RecordBatch.from_pydict(table)

    proposals = propose([batch], "label")

    held = Known.of([each.invariant for each in proposals]).violations([batch])
    assert not any(violation.broken for violation in held)
    assert [violation.violating for violation in held] == [each.violations for each in proposals]


def test_every_kind_is_one_that_the_file_knows(found):
    kinds = {type(proposal.invariant) for proposal in found.values()}

    assert kinds == {Unique, Determines, Ordered, Sum}
