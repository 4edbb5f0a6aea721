import numpy as np
import pytest

from flywheel.profiles.measure import Rows
from flywheel.profiles.pairs import Pairs

CITIES = np.array(["Rome", "Oslo", "Bern", "Wien", None], object)
LINES = np.array([101.0, 202.0, 303.0, 404.0, np.nan])


def routes(seed, rows=400):
    """Return rows whose line goes with their city, beside numbers that never come again."""
    chance = np.random.default_rng(seed)
    place = chance.integers(0, 5, rows)
    return Rows({"city": CITIES[place], "line": LINES[place], "price": chance.random(rows)})


def pairs(spans=20):
    return Pairs([routes(seed) for seed in range(spans)], ["city", "line", "price"])


def test_values_that_were_together_before_are_nothing_new():
    found = pairs().measures(routes(99))

    assert {name: measure.observed for name, measure in found.items()} == {"pairs of city": 0.0, "pairs of line": 0.0}


def test_the_share_of_rows_with_values_never_seen_together_is_told_of_both_columns():
    rows = routes(99)
    line = rows.columns["line"].copy()
    line[:80] = np.where(line[:80] == 101.0, 202.0, 101.0)
    found = pairs().measures(Rows({**rows.columns, "line": line}))

    assert found["pairs of line"].observed == pytest.approx(80 / 400)
    assert found["pairs of line"].observed == found["pairs of city"].observed


def test_a_short_past_knows_no_pairs():
    assert pairs(spans=5).measures(routes(99)) == {}
