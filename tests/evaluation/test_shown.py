"""What the Kubeflow UI draws, through KFP's own artifacts."""

import numpy as np
import pytest
from kfp.dsl import ClassificationMetrics, Metrics
from sklearn.metrics import auc, confusion_matrix, roc_auc_score

from flywheel.artifacts import Evaluation
from flywheel.evaluation.shown import shown
from flywheel.steps.decide import decide
from tests.evaluation import tasks, worlds
from tests.steps.test_decide import AT_LEAST, frame


def logged(evaluation, gates, tmp_path):
    verdict = decide(evaluation, gates, tmp_path / "report.html")
    metrics, curves = Metrics(name="metrics"), ClassificationMetrics(name="curves")
    shown(evaluation, verdict).log(metrics, curves)
    return verdict, metrics.metadata, curves.metadata


def of_task(found, path):
    with Evaluation.create(path, producer="analyze", spans=found.spans.keys) as draft:
        tasks.written(found, draft.path / "predictions.parquet")
        draft.facts |= {"label": "kind", "champion": "models:/m/1", "overall": {"candidate": {}, "champion": {}}}
    return Evaluation.open(path)


def test_two_classes_have_a_roc_curve_a_confusion_matrix_and_the_gain(tmp_path):
    table = frame(days=8)
    made = worlds.evaluation(tmp_path / "evaluation", table, ("carrier",))
    made.manifest.facts["overall"] = {"candidate": {"auc": 0.8}, "champion": {"auc": 0.7}, "baseline": None}

    verdict, metrics, curves = logged(made, [AT_LEAST], tmp_path)

    assert metrics["auc"] == 0.8
    assert metrics["champion_auc"] == 0.7
    assert metrics["auc_gain"] == verdict.facts["delta"]
    assert [metrics["auc_gain_lower"], metrics["auc_gain_upper"]] == verdict.facts["interval"]
    cells = [row["row"] for row in curves["confusionMatrix"]["rows"]]
    assert cells == confusion_matrix(table["label"], table["candidate"] > 0.5).tolist()
    points = curves["confidenceMetrics"]
    x, y, by = ([point[name] for point in points] for name in ("falsePositiveRate", "recall", "confidenceThreshold"))
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert auc(x, y) == pytest.approx(roc_auc_score(table["label"], table["candidate"]), abs=1e-3)
    assert (np.diff(by) < 0).all()
    middle = len(by) // 2
    assert y[middle] == pytest.approx((table["candidate"][table["label"] == 1] >= by[middle]).mean())


def test_several_classes_have_a_confusion_matrix_alone(tmp_path):
    found = tasks.multiclass(400)

    _, _, curves = logged(of_task(found, tmp_path / "e"), [{"metric": "accuracy", "at_least": 0.3}], tmp_path)

    assert set(curves) == {"confusionMatrix"}
    assert [each["displayName"] for each in curves["confusionMatrix"]["annotationSpecs"]] == list(tasks.CLASSES)
    assert sum(sum(row["row"]) for row in curves["confusionMatrix"]["rows"]) == 400


def test_a_number_has_no_curves(tmp_path):
    _, metrics, curves = logged(
        of_task(tasks.regression(400), tmp_path / "e"), [{"metric": "mae", "at_most": 9}], tmp_path
    )

    assert curves == {}
    assert "mae_gain" in metrics
