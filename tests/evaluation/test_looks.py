"""The same candidate judged again: what each look may spend, and how often a worse one passes by all of them."""

import pytest
from scipy.stats import binom

from flywheel.artifacts import Check
from flywheel.config import ModelGate
from flywheel.evaluation import gates, thresholds
from flywheel.evaluation.looks import SLICES, Look
from flywheel.evaluation.paired import ALPHA
from tests.evaluation import simulations

COUNT = 250


def test_by_all_looks_a_candidate_that_loses_the_margin_is_promoted_no_more_often_than_by_one():
    shares = simulations.again(simulations.MARGIN, COUNT)

    most = binom.ppf(0.999, COUNT, ALPHA) / COUNT
    assert shares["by all looks"] <= most
    assert shares["by all looks, each at 5%"] > shares["by all looks"]


def test_equal_models_that_one_judge_leaves_undecided_are_mostly_found_good_enough_later():
    shares = simulations.again(0.0, COUNT)

    assert shares["by all looks"] > 1.5 * shares["judged once"]


def test_by_all_looks_slices_block_no_more_often_than_by_one():
    found = list(
        simulations.evaluations(simulations.World("at the margin", days=42, loss=simulations.MARGIN), 80, seed=3)
    )

    assert sum(map(simulations.blocked, found)) <= binom.ppf(0.999, 80, ALPHA)
    assert sum(simulations.blocked(each, spending=False) for each in found) > sum(map(simulations.blocked, found))


def test_slices_and_labels_are_one_family_that_spends_once_a_look():
    parts = [Check("auc", "pass", slice=f"carrier={name}", level=0.02) for name in "ab"]
    after = Look(of=4).after([Check("auc", "undecided", level=0.01, more=4), *parts], 14)

    assert after["spent"] == {"auc": 0.01, SLICES: 0.02}
    assert after["shown"] == []
    assert Look.following(after, 4).level(SLICES, 1.0) == pytest.approx(0.03)


def test_gaps_and_thresholds_spend_by_the_clock_of_the_least_precise_comparison():
    found = next(simulations.evaluations(simulations.World("equal", swapped=True), 1))
    gap = ModelGate(metric="recall", gap="carrier", at_most=0.5)
    chosen = thresholds.choose(found, {"1": {"recall": 0.2}})
    precision = gates.precision(found, [simulations._BAR, gap])
    of_gap = gates.judge(found, [simulations._BAR, gap], Look(of=4))[1]
    (of_threshold,) = thresholds.checks(found, chosen, Look(of=4), precision)

    assert 0 < precision < 1
    assert of_gap.level == of_threshold.level == pytest.approx(ALPHA * precision)
    assert gates.judge(found, [gap], Look(of=4))[0].level == ALPHA
    assert Look(of=4).after([of_gap, of_threshold], 14)["spent"] == {
        of_gap.name: of_gap.level,
        of_threshold.name: of_threshold.level,
    }


@pytest.mark.parametrize(("precision", "level"), [(0.25, 0.0125), (0.8, 0.04), (1.0, ALPHA), (3.0, ALPHA)])
def test_a_first_look_spends_its_share_of_the_precision_that_decides(precision, level):
    assert Look(of=4).level("auc", precision) == pytest.approx(level)
    assert Look(of=1).level("auc", precision) == ALPHA


def test_all_looks_together_spend_the_error_of_one():
    look, spent = Look(of=4), 0.0
    for precision in (0.4, 0.3, 0.7, 0.8):
        level = look.level("auc", precision)
        spent += level
        look = Look.following(look.after([Check("auc", "undecided", level=level, more=3)], 14), 4)

    assert spent == pytest.approx(ALPHA)


def test_what_a_look_has_shown_need_not_be_shown_again():
    (found,) = simulations.evaluations(simulations.World("equal", swapped=True), 1)
    name = "auc no worse than champion, margin 0.02"
    look = Look(2, 4, {name: ALPHA}, (name,))

    check = gates.judge(found, [simulations._BAR], look)[0]

    assert check.result == "pass"
    assert check.reason.startswith("shown by an earlier look; now auc")


def test_a_look_after_which_nothing_can_be_decided_asks_for_no_other():
    undecided, never = Check("auc", "undecided", level=0.01, more=4), Check("recall", "undecided")

    assert Look(of=4).after([undecided], 14)["more"] == 4
    assert Look(of=4).after([undecided, never], 14)["more"] is None
    assert Look(of=4).after([undecided, Check("recall", "fail")], 14)["more"] is None
    assert Look(of=4).after([Check("auc", "pass", level=0.01)], 14)["more"] is None
    assert Look(4, 4).after([undecided], 14)["more"] is None
