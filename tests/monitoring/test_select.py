"""What is chosen to be labelled: budgets, the random part, and whether it is worth it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.errors import ConfigError
from flywheel.monitoring.select import disagreement, dynamics, entropy, k_center, margin, select

LABEL = Path(__file__).parents[2] / "examples" / "images" / "label.py"


def test_unsure_rows_score_high_and_sure_ones_low():
    p = np.array([[1.0, 0.0, 0.0], [0.4, 0.35, 0.25], [1 / 3, 1 / 3, 1 / 3]])

    assert margin(p) == pytest.approx([0.0, 0.95, 1.0])
    assert entropy(p)[[0, 2]] == pytest.approx([0.0, 1.0], abs=1e-9)
    assert disagreement(p, p[::-1]) == pytest.approx([2 / 3, 0.0, 2 / 3])


def test_centers_are_far_from_each_other_and_from_what_is_labelled():
    chance = np.random.default_rng(0)
    corners = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    points = np.repeat(corners, 50, axis=0) + chance.normal(0, 0.1, (200, 2))

    assert sorted(k_center(points, 4) // 50) == [0, 1, 2, 3]
    assert sorted(k_center(points, 2, near=corners[:2]) // 50) == [2, 3]


def test_centers_are_those_of_the_plain_definition():
    points = np.random.default_rng(3).normal(size=(80, 5))
    chosen, far = [], ((points - points.mean(axis=0)) ** 2).sum(axis=1)
    for _ in range(12):
        chosen.append(int(far.argmax()))
        far = np.minimum(far, ((points - points[chosen[-1]]) ** 2).sum(axis=1))

    assert k_center(points, 12).tolist() == chosen
    assert sorted(k_center(np.ones((5, 2)), 5)) == [0, 1, 2, 3, 4]  # each once, however alike


def test_rows_of_which_models_were_unsure_all_along_score_above_those_they_learned():
    learned, torn, unsure = [0.5, 0.9, 1.0], [0.9, 0.1, 0.6], [0.5, 0.55, 0.5]
    history = np.array([[[1 - p, p] for p in each] for each in zip(learned, torn, unsure, strict=True)])

    assert dynamics(history)[0] < 0.5 < min(dynamics(history)[1:])


def test_of_numbers_the_distance_counts_as_a_share_of_the_largest():
    history = np.array([[[1.0], [2.0]], [[1.0], [6.0]], [[2.0], [4.0]]])

    assert disagreement(*history[:2]) == pytest.approx([0.0, 1.0])
    assert dynamics(history)[1] == 1.0
    assert 0 < dynamics(history)[0] < 1
    assert not dynamics(history[:1]).any()


@given(st.integers(1, 300), st.integers(1, 120), st.floats(0.05, 1.0), st.integers(1, 6))
def test_the_budget_is_spent_on_different_rows_and_every_row_has_a_chance(rows, budget, part, slices):
    chance = np.random.default_rng(rows)
    names = chance.integers(0, slices, rows)

    found = select(chance.random(rows), budget, random_part=part, slices=names)

    assert len(found.rows) == len(set(found.rows.tolist())) == min(budget, rows)
    assert ((0 < found.inclusion) & (found.inclusion <= 1)).all()


def test_small_slices_get_their_share():
    names = np.array(["common"] * 990 + ["rare"] * 10)

    found = select(np.linspace(1, 0, 1000), 40, slices=names)

    assert (names[found.rows] == "rare").sum() == 10


def test_the_random_part_weighted_by_its_inclusion_tells_the_truth_where_all_that_is_labelled_does_not():
    chance = np.random.default_rng(0)
    scores = chance.random(2000)
    wrong = (chance.random(2000) < 0.5 * scores).astype(float)  # unsure rows are wrong more often
    names = np.where(np.arange(2000) < 1800, "common", "rare")
    by_lot, all_of_them = [], []
    for seed in range(200):
        found = select(scores, 200, slices=names, seed=seed, random_part=0.3)
        lot = np.array(found.why) == "random"
        by_lot.append(np.average(wrong[found.rows[lot]], weights=1 / found.inclusion[lot]))
        all_of_them.append(wrong[found.rows].mean())

    assert np.mean(by_lot) == pytest.approx(wrong.mean(), abs=0.02)
    assert np.mean(all_of_them) > wrong.mean() + 0.1


def test_without_a_random_part_nothing_is_chosen():
    with pytest.raises(ConfigError, match="give a share above 0"):
        select(np.ones(5), 2, random_part=0.0)
    with pytest.raises(ConfigError, match="some scores are no numbers"):
        select(np.array([np.nan, 1.0]), 1)


def test_on_photos_with_a_rare_class_it_is_better_than_choosing_by_lot():
    spec = importlib.util.spec_from_file_location("label", LABEL)
    label = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(label)
    gains = [
        np.subtract(*(label.replay(seed, 2, way, rare=0.1) for way in ("margin, diverse", "random"))).mean()
        for seed in range(3)
    ]

    assert np.mean(gains) > 0.01
