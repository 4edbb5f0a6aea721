"""Metrics of several classes and of numbers: their definitions, their jackknife, and TFMA's figures."""

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sklearn

from flywheel.artifacts import Check
from flywheel.config import ModelGate
from flywheel.config.metrics import BETTER, OF_A_LABEL
from flywheel.evaluation import estimates, gates, metrics
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.predictions import Predictions
from tests.evaluation import tasks

WORLDS = {"multiclass": tasks.multiclass, "multilabel": tasks.multilabel, "regression": tasks.regression}


def binary(rows=600):
    """Return one label of several as a task of its own, with ties."""
    found = tasks.multilabel(rows)
    labels, scores = found.labels[:, 0], {name: each[:, 0] for name, each in found.scores.items()}
    return replace(found, labels=labels, scores=scores, task="binary", classes=())


WEIGHTED = {**WORLDS, "binary": binary}


def test_metrics_of_classes_are_those_of_scikit_learn():
    found = tasks.multiclass()
    y, p = found.labels, found.scores["candidate"]
    hit = p.argmax(axis=1)
    expected = {
        "accuracy": sklearn.accuracy_score(y, hit),
        "macro_f1": sklearn.f1_score(y, hit, average="macro"),
        "weighted_f1": sklearn.f1_score(y, hit, average="weighted"),
        "log_loss": sklearn.log_loss(y, p),
        "top_2": sklearn.top_k_accuracy_score(y, p, k=2),
        "top_3": sklearn.top_k_accuracy_score(y, p, k=3),
        "example_count": len(y),
    }
    for index, name in enumerate(tasks.CLASSES):
        expected[f"precision_{name}"] = sklearn.precision_score(y, hit, average=None)[index]
        expected[f"recall_{name}"] = sklearn.recall_score(y, hit, average=None)[index]
    measured = metrics.overall(found, "candidate")

    assert measured.pop("auc") == pytest.approx(sklearn.roc_auc_score(y, p, multi_class="ovr"), abs=1e-4)
    assert measured == pytest.approx(expected)
    assert estimates.figure(found, "auc", "candidate").value == pytest.approx(
        sklearn.roc_auc_score(y, p, multi_class="ovr")
    )


def test_metrics_of_labels_are_those_of_scikit_learn_on_the_rows_that_are_known():
    found = tasks.multilabel()
    known = found.labels >= 0
    measured = metrics.overall(found, "candidate")
    each = {}
    for index, name in enumerate(tasks.LABELS):
        rows = known[:, index]
        y, p = found.labels[rows, index], found.scores["candidate"][rows, index]
        each[name] = of_one(y, p)
        assert {key: measured[f"{key}_{name}"] for key in each[name]} == pytest.approx(each[name], abs=1e-4)
        assert measured[f"label_count_{name}"] == rows.sum()
    means = {key: np.mean([values[key] for values in each.values()]) for key in each["toxic"]}
    together = of_one(found.labels[known], found.scores["candidate"][known])

    assert {key: measured[f"macro_{key}"] for key in means} == pytest.approx(means, abs=1e-4)
    assert {key: measured[f"micro_{key}"] for key in together} == pytest.approx(together, abs=1e-4)
    assert measured["example_count"] == len(found)


def of_one(y, p):
    hit = p > 0.5
    return {
        "auc": sklearn.roc_auc_score(y, p),
        "precision": sklearn.precision_score(y, hit),
        "recall": sklearn.recall_score(y, hit),
        "f1": sklearn.f1_score(y, hit),
        "brier": sklearn.brier_score_loss(y, p),
        "log_loss": sklearn.log_loss(y, p),
    }


def test_each_label_is_judged_by_itself_with_one_family_error_over_labels_and_slices():
    gate = ModelGate(metric="macro_auc", no_worse_than="champion", margin=0.02, labels=True, slices=("zone",))
    found = tasks.multilabel(noise=(1.0, 1.0))
    spoilt = dict(found.scores)
    spoilt["candidate"] = found.scores["candidate"].copy()
    spoilt["candidate"][:, 1] = np.random.default_rng(1).random(len(found))
    good, bad = gates.judge(found, [gate]), gates.judge(replace(found, scores=spoilt), [gate])

    assert [check.slice for check in good] == ["", "label=toxic", "label=spam", "label=rare", "zone=any", "zone=none"]
    assert [check.result for check in good] == ["pass"] * 6
    assert good[2].rows == (found.labels[:, 1] >= 0).sum()
    assert bad[2].result == "fail"
    assert bad[2].name == "auc no worse than champion, margin 0.02"
    assert bad[1].result == bad[3].result == "pass"


def test_a_label_that_no_row_has_is_left_out_of_the_mean_that_is_judged():
    found = tasks.multilabel()
    nobody = replace(found, labels=np.where([False, False, True], 0, found.labels))

    assert metrics.overall(nobody, "candidate")["auc_rare"] == 0  # as TFMA has it
    assert estimates.figure(nobody, "macro_auc", "candidate").value == pytest.approx(
        np.mean([estimates.value(nobody, f"auc_{name}", "candidate") for name in ("toxic", "spam")])
    )


def test_metrics_of_numbers_are_those_of_scikit_learn():
    found = tasks.regression(offset=1e6)
    y, p, naive = found.labels, found.scores["candidate"], found.scores["naive"]
    some = y != 0
    mae = sklearn.mean_absolute_error(y, p)

    assert metrics.overall(found, "candidate") == pytest.approx(
        {
            "mae": mae,
            "rmse": sklearn.mean_squared_error(y, p) ** 0.5,
            "mse": sklearn.mean_squared_error(y, p),
            "mape": 100 * sklearn.mean_absolute_percentage_error(y[some], p[some]),
            "smape": 200 * np.mean(np.abs(p - y) / (np.abs(p) + np.abs(y))),
            "r2": sklearn.r2_score(y, p),
            "pinball": sklearn.mean_pinball_loss(y, p, alpha=0.5),
            "mase": mae / sklearn.mean_absolute_error(y, naive),
            "bias": (p - y).mean(),
            "calibration": p.mean() / y.mean(),
            "label_mean": y.mean(),
            "example_count": len(y),
        },
        rel=1e-6,
    )


@pytest.mark.parametrize("task", WORLDS)
def test_every_metric_can_be_named_in_a_gate_and_has_a_direction(task):
    found = WORLDS[task]()

    for name in metrics.of(found):
        known = name in BETTER[task] or name.startswith(("precision_", "recall_"))
        assert known or name.startswith(tuple(OF_A_LABEL))
        assert metrics.better(found, name) in (-1, 0, 1)
    assert set(BETTER[task]) - set(metrics.of(found)) <= {"top_5"}


@pytest.mark.parametrize("task", WORLDS)
def test_leaving_out_a_span_by_weight_is_measuring_the_rows_that_are_left(task):
    found = WORLDS[task](400)
    weights = np.ones((1, len(tasks.DAYS)))
    weights[0, 3] = 0
    rest = found.select(found.spans.codes != 3)

    for name, metric in metrics.of(found).items():
        without = metric.statistic(found, "candidate").at(weights)[0]
        assert without == pytest.approx(metric.statistic(rest, "candidate").at(np.ones((1, 14)))[0]), name


@pytest.mark.parametrize("task", [*WORLDS, "binary"])
def test_a_row_of_weight_three_counts_as_three_rows(task):
    found = tasks.weighted(WEIGHTED[task](300))
    repeated = tasks.repeated(found)
    ours, theirs = metrics.overall(found, "candidate"), metrics.overall(repeated, "candidate")

    assert ours["example_count"] == (len(found) if task == "multilabel" else len(repeated))
    assert ours == pytest.approx(theirs | {"example_count": ours["example_count"]}, nan_ok=True)
    draws = np.random.default_rng(0).integers(0, 3, (5, len(tasks.DAYS))).astype(float)
    for name, metric in metrics.of(found).items():
        if name != "example_count":
            mine, other = (metric.statistic(each, "candidate") for each in (found, repeated))
            assert mine.at(draws) == pytest.approx(other.at(draws), nan_ok=True), name
            assert mine.at(draws[:1]) == pytest.approx(other.at(draws[:1]), nan_ok=True), name
            assert mine.without() == pytest.approx(other.without(), nan_ok=True), name
            assert mine.sizes == pytest.approx(other.sizes), name


@pytest.mark.parametrize("task", WORLDS)
def test_slices_are_measured_as_their_rows_alone(task):
    found = WORLDS[task](500)
    by_zone = metrics.by_group(found, "champion", found.slices["zone"])

    for code in range(2):
        alone = metrics.overall(found.select(found.slices["zone"].codes == code), "champion")
        for name, value in alone.items():
            assert by_zone[name][code] == pytest.approx(value, nan_ok=True), name


@pytest.mark.parametrize(
    ("task", "metric"),
    [("multiclass", "macro_f1"), ("multiclass", "auc"), ("multilabel", "macro_auc"), ("regression", "mae")],
)
def test_a_better_and_a_worse_model_are_told_apart(task, metric):
    gate = ModelGate(metric=metric, no_worse_than="champion", margin=1e-3, slices=("zone",))
    better, worse = WORLDS[task](noise=(0.6, 1.5)), WORLDS[task](noise=(1.5, 0.6))

    assert gates.judge(better, [gate])[0].result == "pass"
    assert gates.judge(worse, [gate])[0].result == "fail"
    assert {check.result for check in gates.judge(worse, [gate])[1:]} == {"fail"}


def test_a_forecast_may_be_asked_to_be_no_worse_than_the_naive_one():
    gate = ModelGate(metric="mae", no_worse_than="naive", margin=0.01)
    (check,) = gates.judge(tasks.regression(), [gate])

    assert check.result == "pass"
    assert check.name == "mae no worse than naive, margin 0.01"
    assert "against the naive forecast's" in check.reason


def baseline(noise) -> Check:
    found = tasks.multiclass(noise=noise, models=("candidate", "baseline"))
    (check,) = gates.beats_baseline(found)
    return check


def test_a_candidate_that_is_no_better_than_the_baseline_is_warned_of():
    assert baseline((0.6, 1.5)).result == "pass"
    equal = baseline((1.0, 1.0))

    assert equal.result == "warn"
    assert "not shown to be better" in equal.reason
    assert gates.beats_baseline(tasks.multiclass()) == ()


def test_a_label_that_does_not_vary_has_no_r2_and_one_of_a_single_class_no_auc():
    flat = Predictions(
        np.full(6, 3.0), {"candidate": np.arange(6.0)}, Groups(("a",), np.zeros(6, int)), task="regression"
    )
    one = tasks.multiclass().select(tasks.multiclass().labels == 1)

    assert math.isnan(metrics.overall(flat, "candidate")["r2"])
    assert math.isnan(estimates.figure(one, "auc", "candidate").value)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("task", "weighted"), [*((task, False) for task in WORLDS), *((task, True) for task in WEIGHTED)]
)
def test_tfma_has_the_same_numbers_where_it_has_the_metric(task, weighted, tmp_path):
    from flywheel.evaluation import tfma_files

    found = tasks.weighted(WEIGHTED[task](600)) if weighted else WORLDS[task](600)
    file = tasks.written(found, tmp_path / "predictions.parquet")
    (tmp_path / "beam").mkdir()
    theirs = tfma_files.measure_on_beam(file, ["zone"], tmp_path / "beam")
    read = Predictions.read(file)
    ours = tfma_files.measure(read)
    known = {name for name, metric in metrics.of(read).items() if metric.tfma}

    assert {model: set(slices) for model, slices in ours.items()} == {m: set(s) for m, s in theirs.items()}
    for model, slices in theirs.items():
        for key, values in slices.items():
            assert set(values) == known
            expected = {name: value for name, value in ours[model][key].items() if name in known}
            assert values == pytest.approx(expected, rel=1e-6, abs=1e-6, nan_ok=True), (model, key)
    tfma_files.write(read, ours, ["zone"], tmp_path, file.name)
    assert_opens(tmp_path, tmp_path / "beam")


def assert_opens(local, beam):
    import tensorflow_model_analysis as tfma

    for model in ("candidate", "champion"):
        mine, reference = (tfma.load_eval_result(str(folder), model_name=model) for folder in (local, beam))
        assert mine.config == reference.config
        assert len(mine.slicing_metrics) == len(reference.slicing_metrics) == 3
