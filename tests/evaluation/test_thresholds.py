"""Thresholds under a bar: chosen on validation rows, and held to it on fresh ones."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from flywheel.evaluation import joint, thresholds
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


@pytest.mark.parametrize("own", [{}, {"precision": 0.85}, {"recall": 0.4}])
@pytest.mark.parametrize("whole", [joint.Bar("precision", 0.8), joint.Bar("recall", 0.6)])
def test_jointly_chosen_thresholds_are_as_good_as_trying_all(whole, own):
    found = tasks.multilabel(1500, seed=7)
    calls = joint.Calls.of(found.labels, found.scores["candidate"].round(1))
    bars = [joint.Bar.of(own), None, None]

    worth = joint._worth(calls, bars, whole, joint.search(calls, bars, whole, [np.inf] * 3))

    cuts = [*np.arange(11) / 10, np.inf]
    best = max(joint._worth(calls, bars, whole, each) for each in itertools.product(cuts, cuts, cuts))
    assert worth[0] == best[0] == 0
    assert worth[1] == pytest.approx(best[1], abs=0.005)


def test_one_bar_on_all_labels_together_catches_more_than_that_bar_on_each():
    seen, fresh = tasks.multilabel(6000, seed=1), tasks.multilabel(6000, seed=2)
    alone = thresholds.choose(seen, {name: {"precision": 0.8} for name in tasks.LABELS})
    chosen = thresholds.choose(seen, {name: {} for name in tasks.LABELS}, {"precision": 0.8})
    (check,) = thresholds.checks(fresh, chosen)

    assert list(chosen) == [*tasks.LABELS, thresholds.ANY]
    assert chosen[thresholds.ANY]["recall"] > recall_of_any(seen, alone) + 0.01
    assert chosen[thresholds.ANY]["shown"]
    assert check.name == "precision of any of them at their thresholds at least 0.8"
    assert check.result in ("pass", "warn")
    assert check.interval
    (worse,) = thresholds.checks(replace(fresh, scores={"candidate": fresh.scores["candidate"][::-1]}), chosen)
    assert worse.result == "fail"
    assert [row["class"] for row in thresholds.table(fresh, chosen)] == list(chosen)


@pytest.mark.parametrize("bar", [{"precision": 0.8}, {"recall": 0.7}])
def test_fresh_rows_mostly_confirm_what_was_chosen_jointly(bar):
    results = []
    for seed in range(30):
        chosen = thresholds.choose(tasks.multilabel(seed=seed), {name: {} for name in tasks.LABELS}, bar)
        results.append(thresholds.checks(tasks.multilabel(seed=1000 + seed), chosen)[0].result)

    assert results.count("pass") >= 24
    assert results.count("fail") <= binom.ppf(0.999, 30, 0.05)


def recall_of_any(found, chosen):
    at = np.array([np.inf if each["threshold"] is None else each["threshold"] for each in chosen.values()])
    calls = joint.Calls.of(found.labels, found.scores["candidate"])
    return joint.of_calls(calls.whole, (calls.scores >= at).any(axis=1)).value("recall")[0]


def test_a_class_keeps_its_own_bar_beside_the_one_on_all():
    seen = tasks.multiclass(6000, seed=1)
    chosen = thresholds.choose(seen, {"cat": {"precision": 0.9}, "dog": {}}, {"recall": 0.6})

    assert chosen["cat"]["precision"] > 0.9
    assert chosen["cat"]["shown"]
    assert chosen["dog"]["bar"] is None
    assert chosen[thresholds.ANY]["shown"]
    impossible = thresholds.choose(seen, {"cat": {}, "bee": {}}, {"precision": 0.9999})
    assert not impossible[thresholds.ANY]["shown"]
    assert "no thresholds are shown to reach precision" in thresholds.checks(seen, impossible)[0].reason


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
