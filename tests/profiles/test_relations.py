import numpy as np
import pytest

from flywheel.profiles.measure import Rows
from flywheel.profiles.relations import Relations

ROWS = 600


def span(seed, strength=1.0):
    """Return rows in which price follows from size, size from kind, and the label from price."""
    chance = np.random.default_rng(seed)
    kind = chance.integers(0, 3, ROWS)
    size = kind * 10.0 + chance.normal(0, 2, ROWS)
    price = 5 * size + chance.normal(0, 5, ROWS)
    sold = (strength * (price - price.mean()) / price.std() + chance.normal(0, 1, ROWS) > 0.8).astype(float)
    at = chance.uniform(0, 86_400, ROWS)
    columns = {"kind": np.array(["a", "b", "c"], object)[kind], "size": size, "price": price, "sold": sold}
    return Rows({**columns, "at": at, "hour": at // 3600}, "at")


@pytest.fixture(scope="module")
def relations():
    return Relations([span(seed) for seed in range(20)], "sold")


@pytest.fixture(scope="module")
def usual(relations):
    found = [relations.measures(span(seed)) for seed in range(100, 120)]
    return {name: [each[name].value for each in found] for name in found[0]}


def changed(**columns):
    rows = span(99)
    return Rows({**rows.columns, **{name: change(rows.columns[name]) for name, change in columns.items()}}, rows.time)


def test_a_column_of_other_rows_is_a_surprise_and_fits_no_longer(relations, usual):
    found = relations.measures(changed(price=lambda price: np.random.default_rng(0).permutation(price)))

    assert found["surprise of price"].value > max(usual["surprise of price"]) + 0.5
    assert found["odd of price"].value > max(usual["odd of price"])
    assert found["fit of price"].value < min(usual["fit of price"]) - 0.3


def test_a_number_in_another_unit_is_off_to_one_side(relations, usual):
    assert relations.measures(changed(price=lambda price: price * 1.3))["bias of price"].value > max(
        usual["bias of price"]
    )


def test_a_label_that_is_the_wrong_way_round_goes_against_what_was_learnt(relations, usual):
    found = relations.measures(changed(sold=lambda sold: 1 - sold))

    assert max(usual["against of sold"]) == 0
    assert found["against of sold"].value > 3
    assert found["signal of sold"].value > 1  # other rows of the span still say what it is


def test_a_shuffled_label_follows_from_nothing(relations, usual):
    found = relations.measures(changed(sold=lambda sold: np.random.default_rng(0).permutation(sold)))

    assert found["signal of sold"].value < min(usual["signal of sold"]) - 0.5


def test_a_join_that_finds_nothing_is_no_surprise_to_other_columns():
    def found_in(rows, share):
        lost = np.arange(ROWS) < share * ROWS
        return Rows({**rows.columns, "price": np.where(lost, np.nan, rows.columns["price"])}, rows.time)

    relations = Relations([found_in(span(seed), 0.1) for seed in range(20)], "sold")
    usual = [relations.measures(found_in(span(seed), 0.1))["surprise of size"].value for seed in range(100, 120)]

    assert relations.measures(found_in(span(99), 0.7))["surprise of size"].value < max(usual) + 0.1
    assert not any(name.startswith("surprise") for name in relations.measures(found_in(span(99), 1.0)))


def test_a_clock_that_changed_by_an_hour_is_no_surprise_and_one_off_by_eight_is(relations, usual):
    summer, wrong = (
        relations.measures(changed(at=lambda at, hours=hours: at + hours * 3600))["surprise of at"].value
        for hours in (1, 8)
    )

    assert summer < max(usual["surprise of at"]) + 0.1 < wrong


def test_rows_that_lack_a_column_are_not_measured(relations):
    assert relations.measures(Rows({"price": span(99).columns["price"]})) == {}
