"""Metrics of the user's own: a function of predictions and rows is a metric like any other."""

import mlflow
import numpy as np
import pyarrow.parquet as pq
import pytest

from flywheel.archive import pack
from flywheel.config import ModelGate
from flywheel.errors import ConfigError, DataError
from flywheel.evaluation import estimates, metrics
from flywheel.evaluation.own import Own
from flywheel.evaluation.predictions import CANDIDATE, FILE, Predictions
from flywheel.steps.analyze import analyze
from flywheel.steps.decide import decide
from tests.evaluation import worlds

pytestmark = pytest.mark.filterwarnings("ignore:.*input example:UserWarning", "ignore::RuntimeWarning")

CODE = """
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def cost(batch):
    late, chance, hour = (batch.column(name).to_numpy() for name in ("label", "prediction", "hour"))
    return np.where(late == 1, 10.0 * (chance < 0.5), (chance >= 0.5) * hour)


def certain(batch):
    return pc.greater(pc.abs(pc.subtract(batch.column("prediction"), 0.5)), 0.1)


def short(batch):
    return pa.array([1.0])


def hollow(batch):
    return np.full(batch.num_rows, np.nan)


def broken(batch):
    return batch.column("hours")
"""
COST = {"function": "business:cost", "better": "lower", "columns": ["hour"]}
JUDGE = list(worlds.DAYS[4:])


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project") / "code"
    folder.mkdir()
    (folder / "business.py").write_text(CODE)
    return pack(folder, folder.parent / "archives")


@pytest.fixture(scope="module")
def judged(tmp_path_factory, code):
    """Give a function that analyzes with some metrics; the champion is the worse one."""
    folder = tmp_path_factory.mktemp("world")
    flights = worlds.examples(folder / "examples", worlds.rows())
    uri = f"sqlite:///{folder}/mlflow.db"
    worlds.model(folder / "champion", weight=0.3)
    client = mlflow.MlflowClient(uri, uri)
    client.create_registered_model("flights")
    client.create_model_version("flights", str(folder / "champion"))
    count = iter(range(100))

    def run(asked, given=code):
        settings = {"label": "late", "slices": ["carrier"], "metrics": asked}
        here = folder / str(next(count))
        candidate = worlds.model(here / "model")
        return analyze(flights, candidate, "models:/flights/1", JUDGE, settings, uri, here / "evaluation", code=given)

    return run


@pytest.fixture(scope="module")
def evaluation(judged):
    return judged({"cost": COST, "certain": {"function": "business:certain", "better": "higher", "columns": []}})


@pytest.fixture(scope="module")
def found(evaluation):
    return Predictions.read(evaluation.path / FILE)


def test_it_is_the_mean_of_what_the_function_gives_overall_and_by_slice(found, evaluation):
    frame = worlds.rows()
    frame = frame[frame["span"].isin(JUDGE)]
    chance = found.scores[CANDIDATE]
    worth = np.where(frame["late"] == 1, 10.0 * (chance < 0.5), (chance >= 0.5) * frame["hour"])
    groups = found.slices["carrier"]
    by_slice = metrics.by_group(found, CANDIDATE, groups)["cost"]

    assert metrics.overall(found, CANDIDATE)["cost"] == pytest.approx(worth.mean())
    assert by_slice[groups.keys.index("DL")] == pytest.approx(worth[(frame["carrier"] == "DL").to_numpy()].mean())
    assert evaluation.manifest.facts["overall"]["champion"]["cost"] > worth.mean()
    assert 0 < metrics.overall(found, CANDIDATE)["certain"] < 1


def test_less_is_better_of_a_cost_and_the_difference_is_paired_by_span(found):
    gained = estimates.difference(found, "cost")
    values = [found.own["cost"][name] for name in ("champion", "candidate")]
    by_span = found.spans.codes

    assert gained.value == pytest.approx(values[0].mean() - values[1].mean())
    assert gained.clusters == len(set(by_span))
    assert gained.lower() < gained.value < gained.upper()
    assert estimates.difference(found.select(by_span < 5), "cost").clusters == 5


def test_gates_judge_it_with_slices_and_the_report_has_it(evaluation, tmp_path):
    asked = [
        {"metric": "cost", "at_most": 1.0},
        {"metric": "cost", "no_worse_than": "champion", "margin": 0.1, "slices": ["carrier"]},
    ]
    verdict = decide(evaluation, asked, tmp_path / "report.html")
    by_name = {(check.name, check.slice): check for check in verdict.checks}

    assert by_name["cost at most 1", ""].result == "fail"
    assert "is above the bar of 1" in by_name["cost at most 1", ""].reason
    assert by_name["cost no worse than champion, margin 0.1", ""].result == "pass"
    assert by_name["cost no worse than champion, margin 0.1", "carrier=UA"].result == "pass"
    assert "cost" in (tmp_path / "report.html").read_text()


def test_it_stands_in_tfmas_files_too(evaluation):
    import tensorflow_model_analysis as tfma

    opened = dict(tfma.load_eval_result(str(evaluation.path), model_name="candidate").slicing_metrics)

    assert opened[()][""][""]["cost"]["doubleValue"] == pytest.approx(
        evaluation.manifest.facts["overall"]["candidate"]["cost"]
    )


def test_without_such_metrics_the_predictions_are_as_before(judged):
    assert pq.read_schema(judged({}).path / FILE).names == ["span", "label", "carrier", "candidate", "champion"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"function": "business:short"}, "business:short gives 1 values for .* rows"),
        ({"function": "business:hollow"}, "gives values that are no finite numbers for .* rows"),
        ({"function": "business:broken"}, "metric 'cost': business:broken fails on the judge's rows: KeyError"),
        ({"function": "business:costs"}, "business.py has no function 'costs'.*did you mean 'cost'"),
        ({"function": "busines:cost"}, "metric function 'busines:cost': there is no busines.py in the project"),
    ],
)
def test_a_function_that_gives_no_number_for_each_row_is_an_error(judged, changed, message):
    with pytest.raises(DataError, match=f"(?s){message}"):
        judged({"cost": COST | changed})


def test_a_column_that_is_not_there_is_named(judged):
    with pytest.raises(ConfigError, match="a metric needs the column 'fare', which is not in the examples"):
        judged({"cost": COST | {"columns": ["fare"]}})


def test_without_code_there_are_no_functions():
    with pytest.raises(ConfigError, match="need the project's code"):
        Own.of({"cost": COST}, None)


def test_a_gate_names_it_only_where_it_is_declared():
    gate = ModelGate(metric="cost", at_most=1)

    gate.fit("binary", {"cost"})
    with pytest.raises(ValueError, match="metric is none of the task"):
        gate.fit("binary")
