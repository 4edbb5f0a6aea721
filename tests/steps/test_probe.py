"""The serving gate: a packaged model is tried in a process of its own, and whatever it does there is a check."""

import json
import re
from importlib.metadata import version

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel.artifacts import Evaluation, Verdict
from flywheel.errors import ArtifactError, ConfigError
from flywheel.serving.outside import requirements
from flywheel.steps.probe import probe, sample
from tests.evaluation import worlds
from tests.serving.toys import NAME, toy

CHAMPION = "4"
MODEL = """
import time
import mlflow, numpy, pandas

AT_LOAD

class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, rows, params=None):
        scores = 1 / (1 + numpy.exp(-(rows["distance"].to_numpy() - 1000) / 400))
        BEFORE_ANSWER
        return pandas.DataFrame({"prediction": scores})

mlflow.models.set_model(Model())
"""


def frame(rows=3000, seed=0):
    draw = np.random.default_rng(seed)
    made = pd.DataFrame({"span": draw.choice(worlds.DAYS, rows), "distance": draw.normal(1000, 500, rows)})
    made["carrier"], made["hour"] = draw.choice(["UA", "DL"], rows), draw.integers(5, 22, rows)
    made["late"] = (draw.random(rows) < 0.3).astype("int64")
    return made.sort_values("span", kind="stable").reset_index(drop=True)


def scores(rows, middle=1000.0):
    return 1 / (1 + np.exp(-(rows["distance"] - middle) / 400))


class World:
    """Examples that were analyzed, and models to try on them."""

    def __init__(self, folder):
        self.folder, self.frame = folder, frame()
        self.examples = worlds.examples(folder / "examples", self.frame)
        judged = self.frame[["span"]].assign(label=self.frame["late"], candidate=scores(self.frame))
        self.evaluation = worlds.evaluation(folder / "evaluation", judged)
        self.serving, self.report = folder / "state" / "serving", folder / "reports" / "probe.html"

    def probe(self, gate=(), at_load="", before_answer="", evaluation=None, declares=True):
        code = MODEL.replace("AT_LOAD", at_load).replace("BEFORE_ANSWER", before_answer)
        model = toy(self.folder / f"model-{abs(hash((at_load, before_answer)))}", "0", code, whole="double")
        if not declares:
            (model.path / "requirements.txt").unlink()
        settings = {"name": NAME, "gate": dict(gate)}
        return probe(self.examples, model, evaluation or self.evaluation, settings, str(self.serving), self.report)

    def with_champion(self):
        with Evaluation.create(self.folder / "judged", producer="analyze", spans=worlds.DAYS) as draft:
            rows = pq.read_table(self.evaluation.path / "predictions.parquet")
            pq.write_table(rows, draft.path / "predictions.parquet")
            draft.facts |= self.evaluation.manifest.facts | {"champion": f"models:/{NAME}/{CHAMPION}"}
        return Evaluation.open(self.folder / "judged")

    def log(self, rows, predictions, version=CHAMPION):
        folder = self.serving.parent / "requests" / NAME / "day=2013-06-01"
        folder.mkdir(parents=True, exist_ok=True)
        made = rows[["distance", "carrier", "hour"]].assign(
            flywheel_request=[f"r{at}" for at in range(len(rows))], flywheel_row=0, flywheel_version=version
        )
        made["prediction"] = predictions
        pq.write_table(pa.Table.from_pandas(made, preserve_index=False), folder / f"part-{version}.parquet")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


def only(verdict, text):
    found = [check for check in verdict.checks if text in check.name]
    assert len(found) == 1, verdict.checks
    return found[0]


@pytest.mark.slow
def test_a_sound_model_passes_with_all_figures_and_a_report(world):
    verdict = world.probe({"p99_ms": 5000, "throughput": 10, "max_mb": 1, "memory_mb": 4000, "batch": [1, 8]})

    assert verdict.ok, verdict.why
    assert verdict.gate == "serving"
    assert [check.name for check in verdict.checks] == [
        "loads outside the run",
        "answers its input example",
        "answers the judge's rows",
        "same predictions as analyze",
        "p50 of a call with 1 row",
        "p99 of a call with 1 row",
        "p50 of a call with 8 rows",
        "p99 of a call with 8 rows",
        "throughput",
        "resident memory",
        "size on disk",
    ]
    assert only(verdict, "same").rows == 1000
    assert re.search(r"\d+ calls, median of 2 repeats", only(verdict, "p99 of a call with 8").reason)
    assert 30 < verdict.facts["memory_mb"] < 4000
    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict
    page = world.report.read_text()
    assert "Not replayed: there is no champion yet." in page
    assert not re.search(r"<script|src=|https?://(?!www\.w3\.org)", page)


@pytest.mark.slow
def test_what_misses_a_bar_fails_with_what_was_found(world):
    verdict = world.probe(
        {"p50_ms": 20, "throughput": 1e12, "max_mb": 0.0001, "memory_mb": 1, "batch": [1]},
        before_answer="time.sleep(0.03)",
    )

    assert {check.name for check in verdict.failed} == {
        "p50 of a call with 1 row",
        "throughput",
        "resident memory",
        "size on disk",
    }
    assert only(verdict, "p50").observed > 30
    assert only(verdict, "p50").bound == 20
    assert "gates.serving.p50_ms" in only(verdict, "p50").remedy


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at_load", "failed", "reason"),
    [
        ("import flights_of_mine", "loads outside the run", "No module named 'flights_of_mine'"),
        ("import os; os.abort()", "loads outside the run", "ended by signal 6"),
        ("time.sleep(60)", "loads outside the run", "it did not end within 4 s"),
    ],
    ids=["import", "crash", "hang"],
)
def test_a_model_that_is_no_model_fails_a_check_and_not_the_step(world, at_load, failed, reason):
    verdict = world.probe({"timeout": "4s" if "sleep" in at_load else "60s"}, at_load)

    assert [check.name for check in verdict.failed] == [failed]
    assert reason in verdict.why
    assert reason.split("'")[0] in world.report.read_text()


@pytest.mark.slow
def test_other_predictions_than_in_analyze_fail_with_both(world):
    verdict = world.probe({}, before_answer="scores = scores * numpy.where(rows['distance'] > 1500, 1 + 2e-6, 1)")

    check = only(verdict, "same")
    assert (check.result, verdict.failed) == ("fail", (check,))
    assert re.search(r"\d+ of 1,000 rows are predicted otherwise", check.reason)


@pytest.mark.slow
def test_logged_requests_are_replayed_and_what_changes_is_held_against_its_bar(world):
    rows, judged = frame(2000, seed=1), world.with_champion()
    world.log(rows, scores(rows, middle=1200))
    world.log(rows, scores(rows, middle=0), version="3")
    expected = float(np.mean((scores(rows) >= 0.5) != (scores(rows, middle=1200) >= 0.5)))

    verdict = world.probe({"shadow": {"max_changed": 0.05}}, evaluation=judged)

    assert only(verdict, "changed").observed == pytest.approx(expected)
    assert verdict.facts["replayed"] == 2000
    assert [check.name for check in verdict.failed] == ["changed on logged requests"]
    page = world.report.read_text()
    assert "Where they differ most" in page
    assert "Rows that differ most" in page


def test_rows_are_taken_evenly_from_all_spans_in_the_order_of_the_predictions(world):
    rows, predicted = sample(world.examples, world.evaluation, ["distance"], most=100)

    assert rows.num_rows == predicted.num_rows == 100
    assert predicted["candidate"].to_numpy() == pytest.approx(scores(rows.to_pandas()).to_numpy())
    assert rows["distance"][0].as_py() == world.frame["distance"].iloc[0]
    assert rows["distance"][99].as_py() == world.frame["distance"].iloc[-1]


def test_predictions_of_other_rows_are_refused(world, tmp_path):
    other = worlds.evaluation(tmp_path / "other", world.frame[["span"]].assign(candidate=0.5).iloc[:-1])

    with pytest.raises(ArtifactError, match="predictions of 2999 rows, the examples have 3000"):
        sample(world.examples, other, ["distance"])


def test_a_gate_that_is_none_is_refused(world):
    with pytest.raises(ConfigError, match=r"p98_ms(.|\n)*write it as"):
        world.probe({"p98_ms": 1})


@pytest.mark.slow
def test_isolated_a_model_has_what_it_declares_and_no_more(world):
    """It declares nothing, so there is no MLflow."""
    verdict = world.probe({"isolated": True}, declares=False)

    assert only(verdict, "installs").result == "pass"
    assert [check.name for check in verdict.failed] == ["loads outside the run"]
    assert "No module named 'mlflow'" in verdict.why
    assert len(list((world.serving.parent / "environments").glob("*/ready"))) == 1


def test_what_a_model_declares_is_told_with_what_this_library_needs_and_without_itself(tmp_path):
    lines = ["mlflow==3.1.0", f"ai-flywheel=={version('ai-flywheel')}", "# a comment", "", "scikit-learn==1.6.0"]
    (tmp_path / "requirements.txt").write_text("\n".join(lines))

    found = requirements(tmp_path)

    assert {"mlflow==3.1.0", "scikit-learn==1.6.0"} < set(found)
    assert any(line.startswith("pydantic") for line in found)
    assert not any("flywheel" in line or "extra" in line for line in found)
