"""Distances of points are those of what the model sees."""

import numpy as np
import pytest

from flywheel.monitoring.places import Places
from flywheel.transform.inputs import Input


def test_numbers_keep_their_distances_within_a_fifth():
    rows = np.random.default_rng(0).normal(size=(50, 300)).astype(np.float32)
    points = Places([Input("x", "embedding", shape=(300,))]).of({"x": rows})

    true = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    found = np.linalg.norm(points[:, None] - points[None], axis=2)
    off = np.triu_indices(50, 1)
    ratio = found[off] / true[off]
    assert ratio.std() / ratio.mean() < 0.2


def test_no_two_categories_are_nearer_than_others_and_a_list_is_the_mean_of_its_elements():
    made = Places([Input("word", "category", cardinality=20)]).of({"word": np.arange(20, dtype=np.int32)})
    apart = np.linalg.norm(made[:, None] - made[None], axis=2)[np.triu_indices(20, 1)]
    assert apart.std() / apart.mean() < 0.2

    lists = Places([Input("ids", "ids", cardinality=20, shape=(3,))])
    one, same, none = lists.of({"ids": np.array([[1, 2, 0], [2, 1, 0], [0, 0, 0]], np.int32)})
    assert one == pytest.approx(same)
    assert not none.any()


def test_each_input_counts_alike_and_batches_are_placed_as_one():
    chance = np.random.default_rng(0)
    inputs = [Input("small", "numeric"), Input("large", "numeric")]
    rows = {"small": chance.normal(size=400), "large": 1e6 * chance.normal(size=400)}
    places = Places(inputs)
    points = places.of(rows)
    flat = Places(inputs[:1]).of(rows)

    assert points.var(axis=0).sum() == pytest.approx(2 * flat.var(axis=0).sum(), rel=0.2)
    again = np.concatenate([places.of({name: each[part] for name, each in rows.items()})
                            for part in (slice(0, 150), slice(150, 400))])  # fmt: skip
    assert again == pytest.approx(points)
