"""The way of several labels of a row through transform, train, analyze, decide and serving, with a real model."""

import json

import mlflow.pyfunc
import numpy as np
import pyarrow as pa
import pytest

from flywheel.artifacts import Examples
from flywheel.errors import ConfigError, DataError
from flywheel.evaluation.mistakes import read as mistakes
from flywheel.evaluation.predictions import FILE, Predictions
from flywheel.serving import bars, pyfunc, scoring
from flywheel.steps.analyze import analyze
from flywheel.steps.decide import decide, shown
from flywheel.steps.probe import sample
from flywheel.steps.train import train
from flywheel.steps.transform import transform
from flywheel.transform import raw
from tests.stores import ledger_in
from tests.training.worlds import project_in

DAYS = [f"2013-05-{day:02d}" for day in range(1, 15)]
WINDOW, JUDGE = DAYS[:6], DAYS[6:]
FEATURES = [{"column": "size", "as": "numeric"}, {"column": "word", "as": "category", "top": 10}]
LABELS = ("toxic", "spam", "late")
SETTINGS = {
    "label": ", ".join(LABELS),
    "task": "multilabel",
    "slices": ["zone"],
    "search": {"columns": ["word"], "minimum_rows": 20},
}
BOOSTING = "flywheel.trainers.boosting:train"


def rows(seed, count=150):
    """Rows of a day; `spam` is not known of a quarter of them, `late` of none of the last day."""
    draw = np.random.default_rng(seed)
    size, word = draw.normal(10, 3, count), draw.choice(["a", "b"], count)
    toxic = (size + draw.normal(0, 2, count) > 12).astype(int)
    spam = pa.array((word == "a") & (draw.random(count) < 0.8), mask=draw.random(count) < 0.25)
    late = pa.array((toxic == 1) | (draw.random(count) < 0.1), pa.bool_(), mask=np.full(count, seed == 13))
    return pa.table({"size": size, "word": word, "toxic": toxic, "spam": spam, "late": late, "zone": word})


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Everything up to an evaluation."""
    folder = tmp_path_factory.mktemp("multilabel")
    with Examples.writer(folder / "examples", rows(0).schema, producer="extract") as writer:
        for seed, day in enumerate(DAYS):
            writer.write(day, rows(seed).to_batches())
    examples, label, task = Examples.open(folder / "examples"), ", ".join(LABELS), "multilabel"
    seen = transform(examples, FEATURES, label, WINDOW, folder / "state", folder / "transformed", task=task)
    ledger = ledger_in(folder / "ledger")
    code = project_in(folder / "code")

    def trained(name, **more):
        told = {"name": "comments", "trainer": BOOSTING, "parameters": {"max_iter": 20}, "seed": 1, **more}
        return train(examples, seen[1], seen[0], code, told, "", ledger, folder / name)

    trained.ledger, model = ledger, trained("model")
    found = analyze(examples, model, "", JUDGE, SETTINGS, ledger, folder / "evaluation", "local")
    return examples, model, found, trained


def test_the_packaged_model_answers_with_a_chance_a_label_and_a_list_of_those_that_are_likely(world):
    _, model, _, _ = world
    loaded = mlflow.pyfunc.load_model(str(model.path))
    answer = loaded.predict(raw.frame(rows(99).select(["size", "word"]).to_batches()[0]))
    chances = answer[[f"probability_{name}" for name in LABELS]].to_numpy()
    listed = [json.loads(text) for text in answer.prediction]

    assert list(answer.columns) == loaded.metadata.get_output_schema().input_names()
    assert ((chances >= 0) & (chances <= 1)).all()
    assert listed == [[name for name, chance in zip(LABELS, row, strict=True) if chance > 0.5] for row in chances]
    assert {len(each) for each in listed} >= {0, 1, 2}


def test_labels_that_are_not_known_are_left_out_of_training_and_of_what_is_measured(world):
    examples, model, found, _ = world
    judged = Predictions.read(found.path / FILE)
    overall = found.manifest.facts["overall"]["candidate"]
    known = [
        sum(
            len(batch) - batch.column(batch.schema.get_field_index(name)).null_count
            for _, batch in examples.batches(JUDGE)
        )
        for name in LABELS
    ]

    assert judged.classes == LABELS
    assert set(np.unique(judged.labels)) == {-1, 0, 1}
    assert [overall[f"label_count_{name}"] for name in LABELS] == known
    assert known[0] > known[2] > known[1]
    assert overall["macro_auc"] == pytest.approx(np.mean([overall[f"auc_{name}"] for name in LABELS]))
    assert overall["macro_auc"] > 0.8
    assert model.manifest.facts["metrics"]["macro_auc"] > 0.8


def test_the_verdict_has_a_check_a_label_and_the_report_a_line_and_curves(world, tmp_path):
    _, _, found, _ = world
    gates = [{"metric": "macro_auc", "at_least": 0.7, "labels": True}, {"metric": "recall_spam", "at_least": 0.3}]
    verdict = decide(found, gates, tmp_path / "report.html")
    report, drawn = (tmp_path / "report.html").read_text(), shown(found, verdict)

    assert verdict.ok, verdict.why
    assert [check.slice for check in verdict.checks] == ["", "", *(f"label={name}" for name in LABELS)]
    assert verdict.facts["metric"] == "macro_auc"
    assert all(title in report for title in ("Labels", "ROC by label", "Calibration by label"))
    assert drawn.metrics["auc_spam"] == pytest.approx(found.manifest.facts["overall"]["candidate"]["auc_spam"])
    assert drawn.roc
    assert sum(map(sum, drawn.confusion[1])) == (Predictions.read(found.path / FILE).labels >= 0).sum()
    assert any("spam?" in row["label"] for row in mistakes(found.path))


def test_thresholds_that_were_chosen_jointly_are_applied_by_the_packaged_model_and_held_by_the_gate(world, tmp_path):
    examples, _, _, again = world
    model = again("joint", thresholds={"toxic": {"precision": 0.7}, "spam": {}}, together={"recall": 0.5})
    loaded = mlflow.pyfunc.load_model(str(model.path))
    answer = loaded.predict(raw.frame(rows(99).select(["size", "word"]).to_batches()[0]))
    at = loaded.metadata.metadata["thresholds"]

    assert list(answer.columns) == loaded.metadata.get_output_schema().input_names()
    assert [set(json.loads(text)) for text in answer.decision] == [
        {name for name in at if row[f"probability_{name}"] >= at[name]} for _, row in answer.iterrows()
    ]
    assert scoring.predicted(pyfunc.state_of(model.path), True).names == list(answer.columns)
    found = analyze(examples, model, "", JUDGE, SETTINGS, again.ledger, tmp_path / "evaluation", "local")
    verdict = decide(found, [{"metric": "macro_auc", "at_least": 0.7}], tmp_path / "report.html")
    assert [check.name for check in verdict.checks if "threshold" in check.name] == [
        "precision of toxic above its threshold at least 0.7",
        "recall of any of them at their thresholds at least 0.5",
    ]
    assert "Thresholds" in (tmp_path / "report.html").read_text()


def test_the_probe_compares_the_chances_of_all_labels(world):
    examples, model, found, _ = world
    asked, expected = sample(examples, found, ["size", "word"], 50)
    answers = pa.Table.from_pandas(pyfunc.load(model.path).predict(raw.frame(asked.to_batches()[0])))

    assert bars._parity(answers, expected).result == "pass"
    assert bars._parity(answers.take(list(range(50))[::-1]), expected).result == "fail"


def test_a_gate_on_a_label_that_is_none_names_those_that_are(world, tmp_path):
    with pytest.raises(ConfigError, match=r"did you mean 'auc_spam'"):
        decide(world[2], [{"metric": "auc_span", "at_least": 0.5}], tmp_path / "report.html")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda table: pa.nulls(len(table), pa.int64()), r"'toxic' is not known in any of the \d+ rows"),
        (lambda table: pa.array(np.full(len(table), 2)), r"'toxic' is 2\.0 in some rows\n.*or null where"),
        (lambda table: pa.array(np.zeros(len(table))), r"'toxic' is 0 in all \d+ rows"),
        (lambda table: pa.array(["yes"] * len(table)), r"'toxic' is 'string', not a number"),
    ],
)
def test_a_label_that_teaches_nothing_or_is_none_is_refused_by_its_name(spoil, said, tmp_path):
    spoilt = rows(0).drop(["toxic"]).append_column("toxic", spoil(rows(0)))
    with Examples.writer(tmp_path / "examples", spoilt.schema, producer="extract") as writer:
        writer.write(DAYS[0], spoilt.to_batches())
    with pytest.raises(DataError, match=said):
        transform(
            Examples.open(tmp_path / "examples"),
            FEATURES,
            ", ".join(LABELS),
            DAYS[:1],
            tmp_path / "state",
            tmp_path / "transformed",
            task="multilabel",
        )
