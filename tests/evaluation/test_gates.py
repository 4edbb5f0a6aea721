"""The whole gate, simulated: how often it errs, and in whose favour."""

import numpy as np
import pytest
from scipy.stats import binom

from flywheel.config import ModelGate
from flywheel.evaluation import gates
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.predictions import Predictions

DAYS, SLICES = 14, 8
GATE = ModelGate(metric="auc", no_worse_than="champion", margin=0.02, slices=("carrier",))


def evaluation(draw, swapped=False, worse=0.0, slice_worse=0.0):
    """Two models over fourteen days and eight carriers; the candidate worse everywhere, or for one carrier."""
    count = DAYS * 200
    day, carrier = np.sort(draw.integers(0, DAYS, count)), draw.integers(0, SLICES, count)
    labels = (draw.random(count) < 0.3).astype(np.int64)
    known = draw.normal(size=count) + 1.2 * labels
    logits = [known + draw.normal(0, 0.5, count) + draw.normal(0, 0.1, DAYS)[day] * labels for _ in range(2)]
    logits[0] = logits[0] - (worse + slice_worse * (carrier == 0)) * labels
    if swapped:
        swap = (draw.random(DAYS) < 0.5)[day]
        logits = [np.where(swap, logits[1], logits[0]), np.where(swap, logits[0], logits[1])]
    scores = {name: 1 / (1 + np.exp(-values)) for name, values in zip(("candidate", "champion"), logits, strict=True)}
    spans, carriers = tuple(f"day {day:02d}" for day in range(DAYS)), tuple("ABCDEFGH")
    return Predictions(labels, scores, Groups(spans, day), {"carrier": Groups(carriers, carrier)})


def simulate(count, seed, gate=GATE, **world):
    """Return for each simulated evaluation the result overall, and the slices that block."""
    draw = np.random.default_rng(seed)
    for _ in range(count):
        checks = gates.judge(evaluation(draw, **world), [gate])
        yield checks[0].result, [check.slice for check in checks if check.slice and check.result == "fail"]


@pytest.mark.slow
def test_slices_of_an_equal_model_rarely_block_it_however_many_there_are():
    exact = GATE.model_copy(update={"margin": 1e-9})

    blocked = sum(bool(slices) for _, slices in simulate(200, 1, exact, swapped=True))

    assert blocked <= binom.ppf(0.999, 200, 0.05)


@pytest.mark.slow
def test_an_equal_model_mostly_passes_and_is_hardly_ever_called_worse():
    wide = GATE.model_copy(update={"margin": 0.04})
    outcomes = [result for result, _ in simulate(100, 2, wide, swapped=True)]

    assert outcomes.count("pass") >= 90
    assert outcomes.count("fail") <= 5


@pytest.mark.slow
def test_an_equal_model_that_the_data_cannot_decide_on_is_undecided_rather_than_failed():
    outcomes = [result for result, _ in simulate(50, 2, swapped=True)]

    assert outcomes.count("undecided") > 3 * outcomes.count("fail")


@pytest.mark.slow
def test_a_model_that_loses_twice_the_margin_is_not_promoted():
    outcomes = [result for result, _ in simulate(100, 3, worse=0.21)]

    assert outcomes.count("pass") <= binom.ppf(0.999, 100, 0.05)


@pytest.mark.slow
def test_a_loss_in_one_slice_is_found_there_and_nowhere_else():
    found = [slices for _, slices in simulate(60, 4, slice_worse=1.2)]

    assert sum(slices == ["carrier=A"] for slices in found) >= 50
