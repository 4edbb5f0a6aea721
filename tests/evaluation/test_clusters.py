"""Other units of evidence than the span: a key, or every row; and the other tests."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import xlogy
from scipy.stats import binom, binomtest, chi2, norm

from flywheel.config import ModelGate
from flywheel.evaluation import bootstrap, estimates, gates, metrics, paired
from flywheel.evaluation.area import Wins
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.mcnemar import Discordant
from flywheel.evaluation.metric import Counted, OfSums
from flywheel.evaluation.paired import ALPHA
from flywheel.evaluation.predictions import Evidence, Predictions
from tests.evaluation import simulations, tasks
from tests.evaluation.test_paired import clustered

COUNT = 60
MOST = binom.ppf(0.999, COUNT, ALPHA)


@given(clustered(), st.integers(4, 9))
@settings(max_examples=200, deadline=None)
def test_the_area_without_a_cluster_is_that_of_the_other_rows(case, count):
    labels, scores, clusters = case
    wins = Wins.count(labels, scores, clusters, count)

    by_weight = np.ones((count, count)) - np.eye(count)
    one_by_one = [wins.at(row[None])[0] for row in by_weight]

    assert wins.without() == pytest.approx(one_by_one, nan_ok=True)
    assert wins.at(by_weight) == pytest.approx(one_by_one, nan_ok=True)


@pytest.mark.parametrize("task", [tasks.multiclass, tasks.regression])
def test_every_metric_without_a_cluster_is_that_of_the_others(task):
    found = task(600)
    count = len(found.spans.keys)

    for name, metric in metrics.of(found).items():
        statistic = metric.statistic(found, "candidate")
        assert statistic.without() == pytest.approx(statistic.at(1 - np.eye(count)), nan_ok=True), name


def rows_alone(seed=0, count=400, loss=0.0):
    return next(simulations.clustered("rows", False, loss, 1, seed))


def delong(labels, scores):
    """DeLong's covariance by its definition: structural components of every row."""
    pos, neg = scores[:, labels == 1], scores[:, labels == 0]
    wins = (pos[:, :, None] > neg[:, None, :]) + 0.5 * (pos[:, :, None] == neg[:, None, :])
    return np.cov(wins.mean(2)) / pos.shape[1] + np.cov(wins.mean(1)) / neg.shape[1]


def test_where_rows_are_independent_the_error_of_an_auc_difference_is_delongs():
    found = rows_alone()
    covariance = delong(found.labels, np.array([found.scores["candidate"], found.scores["champion"]]))

    estimate = estimates.difference(found, "auc")

    theirs = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert estimate.error == pytest.approx(theirs, rel=0.01)


def test_where_rows_are_independent_accuracy_is_mcnemars_test():
    found = rows_alone(loss=0.1)
    estimate = estimates.difference(found, "accuracy")
    won, lost = estimate.won, estimate.lost

    assert estimate.value == pytest.approx((won - lost) / len(found))
    two_sided = chi2.sf((won - lost) ** 2 / (won + lost), 1)
    assert 2 * min(estimate.p_below(0), estimate.p_above(0)) == pytest.approx(two_sided)
    assert two_sided == pytest.approx(binomtest(int(won), int(won + lost)).pvalue, abs=0.03)


def test_tangos_interval_is_where_his_test_begins_to_refute_and_has_a_width_without_any_discordant_row():
    found = Discordant.of(44, 8, 1)
    low, high = found.lower(0.025), found.upper(0.025)

    assert found.p_below(high) == pytest.approx(0.025, abs=1e-6)
    assert found.p_above(low) == pytest.approx(0.025, abs=1e-6)
    assert low < found.value < high
    theirs = Discordant.of(50, 12, 2)  # Tango 1998, as Newcombe has it
    assert (theirs.lower(0.025), theirs.upper(0.025)) == pytest.approx((0.0611, 0.3447), abs=5e-5)
    same = Discordant.of(50, 0, 0)
    assert same.lower(0.025) == pytest.approx(-0.0713, abs=1e-3)
    assert same.upper(0.025) == pytest.approx(0.0713, abs=1e-3)


@given(st.integers(5, 200), st.floats(0, 1), st.floats(0, 1), st.integers(-90, 90).map(lambda each: each / 100))
@settings(max_examples=100, deadline=None)
def test_tangos_score_has_the_error_that_rows_would_have_at_the_bound(rows, won, lost, bound):
    won = round(won * rows)
    lost = round(lost * (rows - won))

    def unlikely(share):
        cells = ((won, share + bound), (lost, share), (rows - won - lost, 1 - 2 * share - bound))
        return -sum(xlogy(count, max(chance, 1e-300)) for count, chance in cells)

    between = (max(0.0, -bound), (1 - bound) / 2)
    share = minimize_scalar(unlikely, bounds=between, method="bounded", options={"xatol": 1e-12}).x
    score = (won - lost - rows * bound) / math.sqrt(rows * (2 * share + bound * (1 - bound)))

    assert Discordant.of(rows, won, lost).p_below(bound) == pytest.approx(norm.cdf(score), abs=1e-4)


@pytest.mark.parametrize("spread", [0.3, 1.3])
def test_the_bootstraps_bounds_are_scipys(spread):
    values = np.exp(np.random.default_rng(0).normal(0, spread, 60))
    mean = OfSums(lambda *_: None, lambda s: s[..., 1] / s[..., 0])
    drawn = bootstrap.resampled([Counted(mean, np.column_stack([np.ones(60), values]))], [1.0], np.zeros(60, int))

    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, confidence_level=0.9, random_state=1)

    assert drawn.error == pytest.approx(theirs.standard_error, rel=0.05)
    assert drawn.interval() == pytest.approx(tuple(theirs.confidence_interval), abs=0.15 * drawn.error)


def test_bootstrap_and_jackknife_agree_on_a_mean_of_many_clusters():
    found = next(simulations.clustered("user_id", False, 0.02, 1))
    drawn = Predictions(
        found.labels,
        found.scores,
        found.spans,
        evidence=Evidence("user_id", "bootstrap"),
        clusters=found.clusters,
    )

    for metric in ("auc", "brier"):
        plain, other = estimates.difference(found, metric), estimates.difference(drawn, metric)
        assert other.value == pytest.approx(plain.value)
        assert other.error == pytest.approx(plain.error, rel=0.1)
        assert other.lower() == pytest.approx(plain.lower(), abs=0.3 * plain.error)
        assert other.p_below(other.upper()) == pytest.approx(ALPHA, abs=2e-3)
        assert estimates.difference(drawn, metric).interval() == other.interval()


def test_the_bootstrap_is_not_believed_over_a_dozen_days():
    found = tasks.regression()
    drawn = Predictions(found.labels, found.scores, found.spans, task="regression", evidence=Evidence("", "bootstrap"))
    gate = ModelGate(metric="mae", no_worse_than="champion", margin=0.1)

    (check,) = gates.judge(drawn, [gate])

    assert check.result == "undecided"
    assert "so 40 are the least" in check.reason


def test_pooled_clusters_stay_whole_and_every_stratum_is_there():
    draw = np.random.default_rng(0)
    users = draw.integers(0, 3000, 20_000)
    labels = (users % 7 == 0).astype(np.int64)

    blocks, strata = bootstrap.pooled(Groups(range(3000), users), labels)

    assert len(blocks.keys) <= 502
    first = {user: blocks.codes[users == user] for user in range(0, 3000, 97)}
    assert all(len(set(codes.tolist())) <= 1 for codes in first.values())
    assert (strata[blocks.codes] == labels).all()


def seen(test, cluster, loss):
    """Return how often each test says so."""
    told = [test(found) for found in simulations.clustered(cluster, not loss, loss, COUNT, seed=2)]
    return {name: sum(each[name] for each in told) for name in told[0]}


@pytest.mark.parametrize("cluster", ["user_id", "rows"])
def test_of_a_model_that_loses_the_margin_few_pass(cluster):
    assert all(count <= MOST for count in seen(simulations.passes, cluster, simulations.MARGIN).values())


@pytest.mark.parametrize("cluster", ["user_id", "rows"])
def test_of_equal_models_few_are_found_better_unless_rows_of_a_user_count_as_independent(cluster):
    found = seen(simulations.better, cluster, 0.0)
    naive = found.pop("rows as independent, auc: better")

    assert all(count <= MOST for count in found.values())
    if cluster == "user_id":
        assert naive > MOST


def test_a_bootstrap_asks_for_as_many_more_rows_as_the_jackknife_though_it_draws_blocks_of_them():
    found = rows_alone()
    gate = ModelGate(metric="auc", no_worse_than="champion", margin=0.003)
    plain, drawn = (replace(found, evidence=Evidence("rows", test)) for test in ("auto", "bootstrap"))

    ours, theirs = (gates.trial(each, gate).estimate for each in (plain, drawn))

    assert ours.clusters == theirs.clusters == 1200
    more = paired.more_clusters(ours, 0.003)
    assert paired.more_clusters(theirs, 0.003) == pytest.approx(more, rel=0.2)
    (check,) = gates.judge(drawn, [gate])
    assert check.remedy.startswith(f"about {paired.more_clusters(theirs, 0.003):,} more rows (")


def test_a_gate_over_users_speaks_of_users():
    found = next(simulations.clustered("user_id", False, 0.0, 1))
    gate = ModelGate(metric="auc", no_worse_than="champion", margin=0.003)

    (check,) = gates.judge(found, [gate])

    assert check.result == "undecided"
    assert "more values of user_id" in check.remedy
    assert paired.minimum_clusters() == 5
