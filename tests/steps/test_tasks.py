"""The way of several classes and of a number through transform, train, analyze and decide, with real models."""

import json

import mlflow.pyfunc
import numpy as np
import pyarrow as pa
import pytest

from flywheel.artifacts import Examples
from flywheel.errors import ConfigError, DataError, TrainerError
from flywheel.evaluation.predictions import FILE, Predictions
from flywheel.steps.analyze import analyze
from flywheel.steps.decide import decide
from flywheel.steps.train import train
from flywheel.steps.transform import transform
from flywheel.transform import raw
from tests.stores import ledger_in
from tests.training.worlds import project_in

DAYS = [f"2013-05-{day:02d}" for day in range(1, 15)]
WINDOW, JUDGE = DAYS[:6], DAYS[6:]
FEATURES = [{"column": "size", "as": "numeric"}, {"column": "word", "as": "category", "top": 10}]
TRAINER = """
    import sklearn.dummy
    import sklearn.linear_model

    from flywheel.training.sklearn import matrix

    def train(context):
        columns, labels = context.train.arrays()
        return sklearn.{}().{}
"""
MODELS = {"multiclass": "linear_model.LogisticRegression", "regression": "linear_model.LinearRegression"}
DUMMIES = {"multiclass": "dummy.DummyClassifier", "regression": "dummy.DummyRegressor"}
LABELS = {"multiclass": ("kind", pa.string()), "regression": ("count", pa.float64())}


def rows(task, seed, count=80):
    """Rows of a day whose label follows from size and word in part; the last day's have a class of their own."""
    draw = np.random.default_rng(seed)
    size, word = draw.normal(10, 3, count), draw.choice(["a", "b"], count)
    truth = size + 4 * (word == "a") + draw.normal(0, 1, count)
    kinds = np.array(["small", "medium", "large"])[np.digitize(truth, [9, 14])]
    label = truth if task == "regression" else np.where((seed == 13) & (np.arange(count) == 0), "odd", kinds)
    name, type = LABELS[task]
    naive = truth + draw.normal(0, 2, count)
    columns = {"size": size, "word": word, name: pa.array(label.tolist(), type), "naive_": naive, "zone": word}
    return pa.table(columns)


@pytest.fixture(scope="module", params=LABELS)
def world(request, tmp_path_factory):
    """Everything up to an evaluation, once a task."""
    task, folder = request.param, tmp_path_factory.mktemp(request.param)
    schema = rows(task, 0).schema
    with Examples.writer(folder / "examples", schema, producer="extract") as writer:
        for seed, day in enumerate(DAYS):
            writer.write(day, rows(task, seed).to_batches())
    examples, label = Examples.open(folder / "examples"), LABELS[task][0]
    seen = transform(examples, FEATURES, label, WINDOW, folder / "state", folder / "transformed", task=task)
    ledger = ledger_in(folder / "ledger")

    def trained(name, model, fit="fit(matrix(columns), labels)", **more):
        code = project_in(folder / f"{name}-project", trainer=TRAINER.format(model, fit))
        told = {"name": "sizes", "trainer": "trainer:train", "parameters": {}, "seed": 1, **more}
        return train(examples, seen[1], seen[0], code, told, "", ledger, folder / name)

    models = [trained("model", MODELS[task]), trained("plain", DUMMIES[task])]
    told = {"label": label, "task": task, "slices": ["zone"], "naive": "naive_" if task == "regression" else ""}
    path = folder / "evaluation"
    found = analyze(examples, models[0], "", JUDGE, told, ledger, path, "local", models[1])
    return task, models[0], found, (examples, told, ledger, trained)


def test_the_packaged_model_answers_as_its_task_wants(world):
    task, model, _, _ = world
    loaded = mlflow.pyfunc.load_model(str(model.path))
    asked = raw.frame(rows(task, 99).select(["size", "word"]).to_batches()[0])
    answer = loaded.predict(asked)
    named = loaded.metadata.get_output_schema().input_names()

    assert list(answer.columns) == named
    if task == "regression":
        assert named == ["prediction"]
        assert answer.prediction.dtype == "float64"
    else:
        assert named == ["prediction", "probability_large", "probability_medium", "probability_small"]
        chances = answer[named[1:]].to_numpy()
        assert chances.sum(axis=1) == pytest.approx(1)
        assert answer.prediction.tolist() == [
            named[1 + best].removeprefix("probability_") for best in chances.argmax(1)
        ]


def test_what_was_trained_is_measured_by_the_metrics_of_its_task(world):
    task, model, _, _ = world
    measured = model.manifest.facts["metrics"]

    assert measured["accuracy"] > 0.6 if task == "multiclass" else measured["r2"] > 0.7
    assert "auc" not in measured if task == "regression" else "recall_small" in measured


def test_all_models_are_judged_on_the_same_rows_and_a_class_that_none_knows_counts_as_wrong(world):
    task, _, found, _ = world
    overall, judged = found.manifest.facts["overall"], Predictions.read(found.path / FILE)

    assert set(overall["candidate"]) >= set(overall["baseline"])
    assert overall["champion"] is None
    assert len(judged) == 80 * len(JUDGE)
    if task == "multiclass":
        assert judged.classes == ("large", "medium", "odd", "small")
        assert judged.scores["candidate"][:, 2].max() == 0
        assert overall["candidate"]["recall_odd"] == 0
        assert overall["candidate"]["accuracy"] > overall["baseline"]["accuracy"]
    else:
        assert overall["candidate"]["mae"] < overall["baseline"]["mae"]
        assert overall["candidate"]["mase"] < 1


def test_the_verdict_and_its_report_speak_of_the_tasks_own_metric_and_of_the_baseline(world, tmp_path):
    task, _, found, _ = world
    metric, bar = {"multiclass": ("accuracy", {"at_least": 0.6}), "regression": ("mae", {"at_most": 1.5})}[task]
    gates = [{"metric": metric, **bar}, {"metric": metric, "no_worse_than": "baseline", "margin": 0.01}]
    verdict = decide(found, gates, tmp_path / "report.html")
    report = (tmp_path / "report.html").read_text()

    assert verdict.ok, verdict.why
    assert [check.result for check in verdict.checks] == ["pass"] * 3
    assert verdict.facts["metric"] == metric
    assert verdict.facts["delta_baseline"] > 0
    assert f"{metric} better than baseline" in report
    assert ("Confusion" in report, "Errors by span" in report) == (task == "multiclass", task == "regression")
    assert "<script" not in report
    assert "src=" not in report


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"metric": "brier", "at_most": 1}, "none of the task(.|\n)*known are (accuracy|mae)"),
        ({"metric": "recall_tiny", "at_least": 0}, "(no 'recall_tiny' here|none of the task)"),
        ({"metric": "log_loss", "no_worse_than": "naive", "margin": 1}, "(compares with 'naive'|none of the task)"),
    ],
)
def test_a_metric_or_comparison_that_is_not_there_is_named_with_those_that_are(world, tmp_path, gate, said):
    with pytest.raises(ConfigError, match=said):
        decide(world[2], [gate], tmp_path / "report.html")


def test_a_label_that_is_none_of_the_tasks_is_refused(world, tmp_path):
    task, model, _, (examples, told, ledger, _) = world
    wrong = {**told, "task": "regression" if task == "multiclass" else "binary"}

    with pytest.raises(DataError, match=r"not a number|0 or 1"):
        analyze(examples, model, "", JUDGE, wrong, ledger, tmp_path / "evaluation", "local")


def test_a_model_of_another_task_is_refused_with_what_to_end_it_with(world):
    task, _, _, (*_, trained) = world
    other = "regression" if task == "multiclass" else "multiclass"

    with pytest.raises(TrainerError) as error:
        trained("other", MODELS[other], "fit([[0, 0], [1, 1], [2, 2]], [0, 1, 2])")
    assert ("3 units and a softmax" if task == "multiclass" else "one unit and no activation") in str(error.value)


def test_thresholds_are_kept_with_the_model_and_held_on_fresh_rows(world, tmp_path):
    task, _, _, (examples, told, ledger, trained) = world
    if task == "regression":
        return
    bars = {"small": {"precision": 0.5}, "large": {"precision": 0.999999}}
    model = trained("bars", MODELS[task], thresholds=bars)
    found = analyze(examples, model, "", JUDGE, told, ledger, tmp_path / "evaluation", "local")
    verdict = decide(found, [{"metric": "accuracy", "at_least": 0.6}], tmp_path / "report.html")
    small, large = (check for check in verdict.checks if "threshold" in check.name)

    assert json.loads((model.path / "thresholds.json").read_text()) == model.manifest.facts["thresholds"]
    assert 0 < model.manifest.facts["thresholds"]["small"]["threshold"] < 1
    assert (small.result, large.result) == ("pass", "fail")
    assert not verdict.ok
    assert "Thresholds" in (tmp_path / "report.html").read_text()
    with pytest.raises(ConfigError, match=r"names the class 'cow', the model knows large, medium, small"):
        trained("wrong", MODELS[task], "fit(not_there)", thresholds={"cow": {"recall": 0.5}})
