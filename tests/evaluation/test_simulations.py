"""The gate on models whose truth is known; docs/simulations.md has the whole table."""

import pytest
from scipy.stats import binom

from flywheel.evaluation.paired import ALPHA
from tests.evaluation import simulations
from tests.evaluation.simulations import PAGE, WORLDS, World, evaluations, verdicts

COUNT = 150
MOST = binom.ppf(0.999, COUNT, ALPHA)


def told(world, count=COUNT):
    found = [verdicts(each) for each in evaluations(world, count, seed=1)]
    return {name: sum(each[name] for each in found) for name in found[0]}


@pytest.mark.parametrize("uneven", [False, True])
def test_equal_models_are_rarely_called_better_and_their_slices_rarely_block(uneven):
    found = told(World("equal", swapped=True, uneven=uneven))

    assert found["better"] <= MOST
    assert found["a slice blocks"] <= MOST
    assert found["shown worse"] <= MOST
    assert found["point rule promotes"] > COUNT / 3
    assert found["rows as independent: better"] > found["better"]


def test_a_loss_of_the_margin_passes_rarely_and_of_twice_the_margin_hardly_ever():
    assert told(World("margin", loss=0.02))["passes"] <= MOST
    assert told(World("twice", loss=0.04))["passes"] <= MOST / 2


def test_a_gain_is_found_and_a_loss_in_one_slice_blocks():
    gained = told(World("gain", days=42, loss=-0.04), 40)
    lost = told(World("slice", days=42, slice_loss=0.2), 40)

    assert gained["passes"] >= 38
    assert gained["better"] >= 30
    assert lost["a slice blocks"] >= 38


def test_two_fits_of_the_same_rows_are_not_found_worse():
    assert told(World("retrained", retrained=True), 60)["shown worse"] <= 3


def test_the_page_is_of_these_worlds():
    text = PAGE.read_text()

    assert all(f"| {world.name} |" in text for world in WORLDS)
    assert f"{simulations.COUNT:,} times by the gate itself" in text
