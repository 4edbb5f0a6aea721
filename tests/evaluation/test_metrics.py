import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from flywheel.evaluation import metrics, ranking
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.predictions import Predictions


def binary(labels, scores):
    return Predictions(labels, {"candidate": scores}, Groups.whole(len(labels)))


@st.composite
def judged(draw):
    """Labels, scores with many ties, and groups of which some are empty or of one class."""
    count = draw(st.integers(1, 60))
    labels = draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
    scores = draw(
        st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.50001, 0.75, 0.9, 1.0]), min_size=count, max_size=count)
    )
    codes = draw(st.lists(st.integers(-1, 3), min_size=count, max_size=count))
    return np.array(labels), np.array(scores), Groups(("a", "b", "c", "d"), np.array(codes))


@given(judged())
@settings(max_examples=200, deadline=None)
def test_auc_is_that_of_scikit_learn_in_every_group(case):
    labels, scores, groups = case
    found = ranking.auc(labels, scores, groups)
    for code, value in enumerate(found):
        chosen = groups.codes == code
        if len(set(labels[chosen])) == 2:
            assert value == pytest.approx(sklearn.roc_auc_score(labels[chosen], scores[chosen]))
        else:
            assert math.isnan(value)


@given(judged())
@settings(max_examples=200, deadline=None)
def test_metrics_at_the_threshold_are_those_of_scikit_learn(case):
    labels, scores, groups = case
    found = metrics.by_group(binary(labels, scores), "candidate", groups)
    for code in range(len(groups.keys)):
        chosen = groups.codes == code
        y, hit = labels[chosen], scores[chosen] > 0.5
        if not len(y):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = {
                "accuracy": sklearn.accuracy_score(y, hit),
                "precision": sklearn.precision_score(y, hit, zero_division=np.nan),
                "recall": sklearn.recall_score(y, hit, zero_division=np.nan),
                "brier": np.mean((y - scores[chosen]) ** 2),
                "label_rate": y.mean(),
                "example_count": len(y),
            }
        for name, value in expected.items():
            assert found[name][code] == pytest.approx(value, nan_ok=True), name


def test_log_loss_is_that_of_scikit_learn():
    draw = np.random.default_rng(0)
    labels, scores = draw.integers(0, 2, 500), draw.uniform(0.01, 0.99, 500)

    found = metrics.by_group(binary(labels, scores), "candidate", Groups.whole(500))

    assert found["log_loss"][0] == pytest.approx(sklearn.log_loss(labels, scores))


def test_rounding_to_the_thresholds_of_tfma_keeps_order_and_moves_auc_little():
    draw = np.random.default_rng(0)
    labels, scores = draw.integers(0, 2, 5000), draw.random(5000)
    rounded = ranking.quantised(scores)

    assert (np.diff(rounded[np.argsort(scores)]) >= 0).all()
    exact, coarse = (ranking.auc(labels, values, Groups.whole(5000))[0] for values in (scores, rounded))
    assert 0 < abs(exact - coarse) < 1e-4


def test_the_curve_of_precision_and_recall_is_scikit_learns_thinned():
    draw = np.random.default_rng(0)
    labels = (draw.random(3000) < 0.2).astype(int)
    scores = (draw.normal(0, 1, 3000) + labels).round(2)
    precision, recall, _ = sklearn.precision_recall_curve(labels, scores)

    found = ranking.precisions(labels, scores)

    assert len(found) <= 102
    assert set(found) <= set(zip(recall.tolist(), precision.tolist(), strict=True))
    assert found[-1] == (1.0, pytest.approx(labels.mean()))
    assert ranking.precisions(labels[:0], scores[:0]) == ranking.precisions(0 * labels, scores) == []


def test_the_roc_curve_keeps_its_area_when_thinned():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, 20_000)
    scores = np.clip(draw.normal(0.4 + 0.2 * labels, 0.2), 0, 1)

    x, y, _ = map(np.array, ranking.roc(labels, scores))

    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert len(x) <= 103
    area = float(((x[1:] - x[:-1]) * (y[1:] + y[:-1])).sum() / 2)
    assert area == pytest.approx(sklearn.roc_auc_score(labels, scores), abs=1e-3)


def test_calibration_bins_hold_equally_many_rows_and_lie_on_the_diagonal_of_a_calibrated_model():
    draw = np.random.default_rng(0)
    scores = draw.random(50_000) ** 3
    labels = (draw.random(50_000) < scores).astype(int)

    bins = ranking.calibration(labels, scores)

    assert len(bins) == 10
    assert all(abs(predicted - found) < 0.03 for predicted, found in bins)


def test_what_is_no_number_stays_out_of_json():
    assert metrics.finite({"auc": np.float64(0.5), "recall": math.nan, "log_loss": math.inf}) == {"auc": 0.5}
