"""The paired test is sound: simulated, because with few clusters theory is not enough."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from flywheel.evaluation import metrics, paired
from flywheel.evaluation.area import Wins
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.metric import Counted, OfSums
from flywheel.evaluation.paired import ALPHA, Estimate
from flywheel.evaluation.predictions import Predictions

CLUSTERS = tuple("abcd")
METRICS = ("auc", "accuracy", "log_loss", "brier", "precision", "recall")


def ratio(numerators, denominators):
    """A ratio of sums by cluster."""
    metric = OfSums(None, lambda sums: sums[..., 0] / sums[..., 1], lambda sums: sums[..., 1])
    return Counted(metric, np.stack([numerators, denominators], axis=1))


@st.composite
def clustered(draw):
    count = draw(st.integers(4, 40))
    labels = draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
    scores = draw(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.7]), min_size=count, max_size=count))
    clusters = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    return np.array(labels), np.array(scores), np.array(clusters)


def direct(metric, labels, scores):
    """The metric by its definition, on rows."""
    hit = scores > 0.5
    if metric == "auc":
        return roc_auc_score(labels, scores) if len(set(labels)) == 2 else math.nan
    if metric == "log_loss":
        return np.mean(-np.log(np.where(labels == 1, scores, 1 - scores))) if len(labels) else math.nan
    top, bottom = {
        "accuracy": (hit == labels, np.ones(len(labels))),
        "brier": ((labels - scores) ** 2, np.ones(len(labels))),
        "precision": (hit * labels, hit),
        "recall": (hit * labels, labels),
    }[metric]
    return top.sum() / bottom.sum() if bottom.sum() else math.nan


@given(clustered(), st.lists(st.integers(0, 3), min_size=4, max_size=4), st.sampled_from(METRICS))
@settings(max_examples=300, deadline=None)
def test_counting_clusters_by_weight_is_repeating_their_rows(case, weights, metric):
    labels, scores, clusters = case
    repeated = np.repeat(np.arange(len(labels)), np.array(weights)[clusters])

    judged = Predictions(labels, {"candidate": scores}, Groups(CLUSTERS, clusters))
    found = metrics.of(judged)[metric].statistic(judged, "candidate").at(np.array([weights], float))[0]

    assert found == pytest.approx(direct(metric, labels[repeated], scores[repeated]), nan_ok=True)


def test_the_error_of_a_mean_is_its_textbook_error():
    draw = np.random.default_rng(0)
    values = draw.normal(size=10)

    found = paired.estimate([ratio(values, np.ones(10))])

    assert found.value == pytest.approx(values.mean())
    assert found.error == pytest.approx(values.std(ddof=1) / math.sqrt(10))
    assert (found.clusters, found.freedom) == (10, pytest.approx(9))


def test_few_large_clusters_count_for_fewer_than_there_are():
    sizes = np.array([100.0] * 3 + [1.0] * 11)

    found = paired.estimate([ratio(np.ones(14), sizes)])

    assert found.clusters == 14
    assert 2 < found.freedom < 3


def test_a_cluster_without_rows_is_none():
    full = paired.estimate([ratio(np.array([1.0, 2, 3]), np.array([4.0, 4, 4]))])

    assert paired.estimate([ratio(np.array([1.0, 0, 2, 3]), np.array([4.0, 0, 4, 4]))]) == full


@pytest.mark.parametrize("clusters", [1, 4])
def test_too_few_clusters_are_never_sound(clusters):
    assert not paired.estimate([ratio(np.arange(clusters, dtype=float), np.ones(clusters))]).sound
    assert paired.minimum_clusters() == 5


def test_a_metric_that_hangs_on_one_cluster_is_not_sound():
    positives = np.array([9.0, 0, 0, 0, 0, 0])
    clusters = np.repeat(np.arange(6), 10 + positives.astype(int))
    labels = np.r_[np.ones(9, int), np.zeros(60, int)]
    wins = Wins.count(labels, np.zeros(69), clusters, 6)

    found = paired.estimate([wins])

    assert found.value == 0.5
    assert not found.sound


def test_equal_models_differ_by_nothing_with_certainty():
    wins = Wins.count(np.array([0, 1] * 50), np.linspace(0, 1, 100), np.arange(100) // 10, 10)

    found = paired.estimate([wins, wins], (1, -1))

    assert (found.value, found.error, found.interval()) == (0, 0, (0, 0))
    assert found.p_below(-0.01) == 1
    assert found.p_below(0.01) == 0


def test_more_clusters_are_asked_for_until_the_margin_shows():
    found = Estimate(0.0, 0.02, 14, 13.0)

    more = paired.more_clusters(found, 0.02)

    needed = 0.02 * math.sqrt(14 / (14 + more))
    assert needed <= found.widest_error(0.02) < 0.02 * math.sqrt(14 / (14 + more - 1))


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values):
    adjusted = paired.holm(p_values)

    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_holm_is_the_example_of_a_textbook():
    assert paired.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


# Simulated evaluations: days differ in size, in label rate, and in how well each model does on them.


def world(draw, days, shape="even", loss=0.0, swapped=False):
    """Return labels, the candidate's and the champion's scores, and the day of each row.

    Both models are equally good on the whole, apart from `loss`; with `swapped`, exactly exchangeable by day.
    """
    sizes = draw.poisson(60, days) + 20
    if shape == "uneven":
        sizes = sizes * np.where(draw.random(days) < 0.2, 4, 1)
    day = np.repeat(np.arange(days), sizes)
    storm = np.where(draw.random(days) < 0.1, 2.0, 0.0) if shape == "storms" else np.zeros(days)
    labels = (draw.random(len(day)) < 1 / (1 + np.exp(1.2 - (storm + draw.normal(0, 0.5, days))[day]))).astype(int)
    known = draw.normal(size=len(day)) + 0.9 * labels
    scores = [known + draw.normal(0, 0.5, len(day)) + draw.normal(0, 0.35, days)[day] * labels for _ in range(2)]
    scores[0] = scores[0] - loss * labels
    if swapped:
        swap = (draw.random(days) < 0.5)[day]
        scores = [np.where(swap, scores[1], scores[0]), np.where(swap, scores[0], scores[1])]
    return labels, *scores, day


def differences(seed, count, days, **kind):
    draw = np.random.default_rng(seed)
    for _ in range(count):
        labels, candidate, champion, day = world(draw, days, **kind)
        yield [Wins.count(labels, scores, day, days) for scores in (candidate, champion)]


def bearable(count, alpha=ALPHA):
    """Return how many of `count` cases may be wrong when each is with probability `alpha`: all but 1 in 1,000 runs."""
    return binom.ppf(0.999, count, alpha)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["even", "uneven", "storms"])
@pytest.mark.parametrize("days", [5, 8, 14])
def test_equal_models_are_rarely_called_better_or_worse(days, shape):
    found = [paired.estimate(pair, (1, -1)) for pair in differences(1, 600, days, shape=shape, swapped=True)]

    assert sum(each.lower() > 0 for each in found) <= bearable(600)
    assert sum(each.upper() < 0 for each in found) <= bearable(600)


@pytest.mark.slow
@pytest.mark.parametrize("days", [5, 14])
def test_a_true_loss_of_twice_the_margin_is_rarely_promoted(days):
    truth = np.mean([paired.estimate(pair, (1, -1)).value for pair in differences(2, 60, 60, loss=0.25)])
    margin = -truth / 2

    passed = sum(paired.estimate(pair, (1, -1)).lower() > -margin for pair in differences(3, 600, days, loss=0.25))

    assert 0.01 < margin < 0.05
    assert passed <= bearable(600)


@pytest.mark.slow
def test_rows_judged_as_independent_and_points_compared_without_error_fail_the_same_test():
    """Why clusters: the same rows with a cluster each call equal models different far too often."""
    draw, wrong, point = np.random.default_rng(4), 0, 0
    for _ in range(150):
        labels, candidate, champion, day = world(draw, 14, swapped=True)
        rows = np.arange(len(day))
        blocks = rows % 100  # a hundred clusters made at random stand for independent rows
        alone = [Wins.count(labels, scores, blocks, 100) for scores in (candidate, champion)]
        found = paired.estimate(alone, (1, -1))
        wrong += found.lower() > 0
        point += found.value > 0

    assert wrong > bearable(150)
    assert 0.35 < point / 150 < 0.65
