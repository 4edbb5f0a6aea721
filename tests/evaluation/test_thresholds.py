"""Thresholds under a bar: chosen on validation rows, and held to it on fresh ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from flywheel.evaluation import thresholds
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.predictions import Predictions
from tests.evaluation import tasks


def binary(draw, rows=3000, shift=2.0, drift=0.0):
    labels = (draw.random(rows) < 0.2).astype(np.int64)
    scores = 1 / (1 + np.exp(-(draw.normal(-1.5, 1, rows) + shift * labels + drift * (1 - labels))))
    days = Groups(tasks.DAYS, np.sort(draw.integers(0, 14, rows)))
    return Predictions(labels, {"candidate": scores}, days)


@given(
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.1, 0.4, 0.6, 0.9])), min_size=1, max_size=60),
    st.sampled_from(["precision", "recall"]),
    st.floats(0.05, 0.95),
)
@settings(max_examples=200, deadline=None)
def test_the_most_useful_threshold_is_taken_of_those_shown_to_clear_the_bar(rows, rate, least):
    labels, scores = (np.array(part) for part in zip(*rows, strict=True))
    found = Predictions(labels, {"candidate": scores}, Groups.whole(len(labels)))

    chosen = thresholds.choose(found, {"1": {rate: least}})["1"]

    clear = []
    for at in np.unique(scores):
        caught, flagged, there = ((scores >= at) & (labels == 1)).sum(), (scores >= at).sum(), labels.sum()
        of = flagged if rate == "precision" else there
        if there and binomtest(int(caught), int(of)).proportion_ci(0.9, "wilson").low >= least:
            clear.append(at)
    expected = (min(clear) if rate == "precision" else max(clear)) if clear else None
    assert chosen["threshold"] == expected
    if clear:
        hit = scores >= expected
        assert chosen["precision"] == pytest.approx(labels[hit].mean())
        assert chosen["recall"] == pytest.approx(hit[labels == 1].mean())


@pytest.mark.parametrize(("rate", "least"), [("precision", 0.8), ("recall", 0.7)])
def test_fresh_rows_of_the_same_kind_mostly_confirm_it_and_worse_ones_refute_it(rate, least):
    draw, results = np.random.default_rng(0), []
    for _ in range(60):
        chosen = thresholds.choose(binary(draw), {"1": {rate: least}})
        results.append(thresholds.checks(binary(draw), chosen)[0].result)

    assert results.count("pass") >= 48
    assert results.count("fail") <= binom.ppf(0.999, 60, 0.05)
    chosen = thresholds.choose(binary(draw), {"1": {rate: least}})
    worse = binary(draw, drift=1.5) if rate == "precision" else binary(draw, shift=0.5)
    (check,) = thresholds.checks(worse, chosen)
    assert check.result == "fail"
    assert f"shown to be below {least:g}" in check.reason
    assert check.name == f"{rate} of 1 above its threshold at least {least:g}"


def test_of_several_classes_each_has_its_own():
    seen, fresh = tasks.multiclass(4000, seed=1), tasks.multiclass(4000, seed=2)
    bars = {"cat": {"precision": 0.8}, "dog": {"recall": 0.5}, "bee": {"precision": 0.99}}

    chosen = thresholds.choose(seen, bars)
    checks = thresholds.checks(fresh, chosen)
    rows = thresholds.table(fresh, chosen)

    assert [check.result for check in checks] == ["pass", "pass", "fail"]
    assert checks[2].reason.startswith("no threshold of bee is shown to reach precision 0.99 on validation rows, ")
    assert chosen["bee"]["threshold"] is None
    cats = fresh.scores["candidate"][:, 0] >= chosen["cat"]["threshold"]
    assert rows[0]["precision, fresh"] == pytest.approx((fresh.labels[cats] == 0).mean())
    assert checks[0].observed == rows[0]["precision, fresh"]
