"""Temperatures: found, folded into models, and worth it by the error that they take away."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from flywheel.trainers import calibration


def miscalibrated(rows=4000, by=3.0, classes=1, seed=0):
    """Logits that are `by` times too sure, and labels."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (rows, classes))
    if classes == 1:
        return by * logits, (random.random(rows) < 1 / (1 + np.exp(-logits[:, 0]))).astype(np.float32)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return by * logits, (chances.cumsum(axis=1) < random.random((rows, 1))).sum(axis=1)


def expected_calibration_error(chances, labels, bins=15):
    """Mean distance between what is said and what happens, over bins of equally many rows."""
    order = np.argsort(chances)
    parts = zip(np.array_split(chances[order], bins), np.array_split(labels[order], bins), strict=True)
    return float(np.mean([abs(said.mean() - happened.mean()) for said, happened in parts]))


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("by", [0.25, 1.0, 3.0])
def test_the_temperature_is_how_many_times_too_sure_the_logits_are(classes, by):
    assert calibration.temperature(*miscalibrated(20_000, by, classes)) == pytest.approx(by, rel=0.05)


def test_rows_of_no_weight_say_nothing():
    sure, unsure = miscalibrated(by=3.0), miscalibrated(by=0.5, seed=1)
    logits, labels = (np.concatenate([one, other]) for one, other in zip(sure, unsure, strict=True))
    weights = np.repeat([1.0, 0.0], 4000)

    assert calibration.temperature(logits, labels, weights) == pytest.approx(calibration.temperature(*sure), rel=1e-3)


def test_a_layer_of_torch_takes_the_temperature_into_its_weights():
    torch = pytest.importorskip("torch")
    logits, labels = miscalibrated()
    last = torch.nn.Linear(1, 1)
    with torch.no_grad():
        last.weight.fill_(1.0), last.bias.fill_(0.0)
    found = calibration.torch(last, logits, labels)
    fresh, truth = miscalibrated(seed=9)
    before = 1 / (1 + np.exp(-fresh[:, 0]))
    after = torch.sigmoid(last(torch.tensor(fresh, dtype=torch.float32))).detach().numpy()[:, 0]

    assert found == pytest.approx(3, rel=0.15)
    assert expected_calibration_error(before, truth) > 0.1
    assert expected_calibration_error(after, truth) < 0.03


def test_a_classifier_of_scikit_learn_says_what_happens():
    (logits, labels), (fresh, truth) = miscalibrated(), miscalibrated(seed=9)
    model = LogisticRegression().fit(logits, labels)
    model.coef_[:] = 1.0
    model.intercept_[:] = 0.0
    calibrated = calibration.sklearn(model, logits, labels)

    assert expected_calibration_error(model.predict_proba(fresh)[:, 1], truth) > 0.1
    assert expected_calibration_error(calibrated.predict_proba(fresh)[:, 1], truth) < 0.03
    assert calibrated.classes_.tolist() == [0, 1]


def test_a_class_of_too_few_rows_leaves_a_classifier_as_it_is(capsys):
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])

    assert calibration.sklearn(model, np.zeros((9, 1)), np.array([0] * 6 + [1] * 3)) is model
    assert "fewer than 5 validation rows" in capsys.readouterr().out


def test_class_weights_are_taken_out_of_logits_again():
    assert calibration.prior(np.array([1.0, 4.0])) == pytest.approx([np.log(4)])
    assert calibration.prior(np.array([1.0, 2.0, 3.0])) == pytest.approx(np.log([1, 2, 3]))
