import itertools
import json

import mlflow
import numpy as np
import pyarrow.parquet as pq
import pytest

from flywheel.errors import ConfigError, DataError, LedgerError
from flywheel.evaluation import champion as champions
from flywheel.evaluation.answers import PredictionError
from flywheel.evaluation.champion import scorer
from flywheel.evaluation.predictions import Predictions
from flywheel.kept import KEPT
from flywheel.ledger.store import Client
from flywheel.steps.analyze import analyze
from tests.evaluation import worlds

pytestmark = pytest.mark.filterwarnings("ignore:.*input example:UserWarning", "ignore::RuntimeWarning")

SETTINGS = {"label": "late", "slices": ["carrier", "hour"]}
JUDGE = list(worlds.DAYS[4:])
CHAMPIONS_WEIGHT = -0.2


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
    return worlds.examples(tmp_path_factory.mktemp("data") / "examples", worlds.rows())


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """A registry whose model `flights` has one version."""
    folder = tmp_path_factory.mktemp("ledger")
    uri = f"sqlite:///{folder}/mlflow.db"
    worlds.model(folder / "champion", weight=CHAMPIONS_WEIGHT)
    client = mlflow.MlflowClient(uri, uri)
    client.create_registered_model("flights")
    client.create_model_version("flights", str(folder / "champion"))
    return uri


@pytest.fixture
def judge(flights, ledger, tmp_path):
    attempts = itertools.count()

    def run(champion="", settings=SETTINGS, spans=JUDGE, examples=flights, engine="local", **model):
        candidate, path = (tmp_path / f"{name}-{next(attempts)}" for name in ("model", "evaluation"))
        candidate = worlds.model(candidate, **model)
        return analyze(examples, candidate, champion, spans, settings, ledger, path, engine)

    return run


def test_the_champion_is_fetched_and_loaded_once_for_all_spans_that_it_is_scored_on(
    ledger, flights, tmp_path, monkeypatch
):
    fetched, loaded, download, load = [], [], Client.download, champions.load

    def noted(calls, function):
        return lambda *given: calls.append(given) or function(*given)

    monkeypatch.setattr(Client, "download", noted(fetched, download))
    monkeypatch.setattr(champions, "load", noted(loaded, load))
    score = scorer("models:/flights/1", ledger, flights, "late", "", tmp_path / "champion")

    assert len({score(span) for span in JUDGE[:3]}) == 3
    assert (len(fetched), len(loaded)) == (1, 1)


def test_rows_count_as_often_as_their_weight_says(judge, tmp_path):
    frame = worlds.rows()
    frame["worth"] = np.arange(len(frame)) % 3
    weighted = worlds.examples(tmp_path / "weighted", frame)
    repeated = worlds.examples(tmp_path / "repeated", frame.loc[frame.index.repeat(frame["worth"])])
    ours = judge(settings=SETTINGS | {"analyze": {"weight": "worth"}}, examples=weighted)
    theirs = judge(examples=repeated)

    figures = [each.manifest.facts["overall"]["candidate"] for each in (ours, theirs)]
    assert figures[0] == pytest.approx(figures[1])
    assert len(Predictions.read(ours.path / "predictions.parquet")) > len(JUDGE)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_a_weight_that_is_none_is_told(judge, tmp_path, value):
    frame = worlds.rows()
    frame["worth"] = 1.0
    frame.loc[frame.index[-1], "worth"] = value

    with pytest.raises(DataError, match=r"analyze\.weight is missing, negative or infinite in 1 rows of span"):
        judge(settings=SETTINGS | {"analyze": {"weight": "worth"}}, examples=worlds.examples(tmp_path / "bad", frame))


def test_the_champion_is_asked_once_about_the_rows_of_a_span_by_whatever_step(judge, ledger, tmp_path, monkeypatch):
    frame = worlds.rows()
    uri, rows, asked = "models:/flights/1", frame["span"].value_counts(), []
    predicted = worlds.Logistic.predict

    def predict(self, given, params=None):
        asked.extend([len(given)] if self.weight == CHAMPIONS_WEIGHT else [])
        return predicted(self, given, params)

    anew = pq.read_table(judge(uri).path / "predictions.parquet")
    monkeypatch.setattr(worlds.Logistic, "predict", predict)
    monkeypatch.setenv(KEPT, f"code:{tmp_path}")
    flights = worlds.examples(tmp_path / "flights", frame)

    score = scorer(uri, ledger, flights, "late", "", tmp_path / "scored")(JUDGE[-1])
    assert asked == [rows[JUDGE[-1]]]
    kept = judge(uri, examples=flights)
    assert asked[1:] == [rows[day] for day in JUDGE[:-1]]
    assert pq.read_table(kept.path / "predictions.parquet").equals(anew)
    assert scorer(uri, ledger, flights, "late", "", tmp_path / "again")(JUDGE[-1]) == score
    assert len(asked) == len(JUDGE)
    frame.loc[frame["span"] == JUDGE[3], worlds.SIGNAL] += 1.0
    judge(uri, examples=worlds.examples(tmp_path / "changed", frame))
    assert asked[len(JUDGE) :] == [rows[JUDGE[3]]]


def test_candidate_and_champion_are_measured_on_the_same_rows(judge, flights):
    found = judge("models:/flights/1")

    overall = found.manifest.facts["overall"]
    assert 0.6 < overall["candidate"]["auc"] < 0.9
    assert overall["champion"]["auc"] == pytest.approx(1 - overall["candidate"]["auc"], abs=1e-3)
    table = pq.read_table(found.path / "predictions.parquet")
    assert table.column_names == ["span", "label", "carrier", "hour", "candidate", "champion"]
    assert table.num_rows == found.manifest.counts["rows"] == flights.rows_of(JUDGE)
    assert set(table["span"].to_pylist()) == set(JUDGE)


def test_the_first_model_has_no_champion_beside_it(judge):
    found = judge()

    assert found.manifest.facts["overall"]["champion"] is None
    assert found.manifest.facts["champion"] == ""
    assert found.manifest.spans == tuple(JUDGE)
    assert pq.read_schema(found.path / "predictions.parquet").names[-1] == "candidate"


def test_tfma_opens_the_evaluation(judge):
    import tensorflow_model_analysis as tfma

    found = judge("models:/flights/1")

    opened = tfma.load_eval_result(str(found.path), model_name="candidate")
    slices = dict(opened.slicing_metrics)
    assert {(("carrier", "HA"),), (("hour", 5),), ()} <= set(slices)
    auc = slices[()][""][""]["auc"]["doubleValue"]
    assert auc == pytest.approx(found.manifest.facts["overall"]["candidate"]["auc"])


def test_the_manifest_holds_no_nan_and_says_what_was_judged(judge):
    found = judge(weight=0.0, settings={"label": "late"})

    facts = json.loads((found.path / "flywheel.json").read_text(), parse_constant=pytest.fail)["facts"]
    assert "precision" not in facts["overall"]["candidate"]
    assert (facts["label"], facts["slices"], facts["judge"]) == ("late", [], JUDGE)


@pytest.mark.long
def test_beam_gives_the_same_evaluation(judge):
    local, beam = (judge("models:/flights/1", spans=JUDGE[:4], engine=engine) for engine in ("local", "beam"))

    for model, metrics in local.manifest.facts["overall"].items():
        assert beam.manifest.facts["overall"][model] == pytest.approx(metrics, abs=1e-6)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nan", "gives 3 of .* rows no probability, as nan"),
        ("logits", "missing sigmoid"),
        ("short", "rows with .* predictions"),
        ("both classes", "probability of the positive class alone"),
        ("raises", "fails on the judge's rows: KeyError: 'no such layer'"),
    ],
)
def test_answers_that_cannot_be_judged_are_refused_and_leave_nothing_behind(judge, tmp_path, fault, message):
    with pytest.raises(PredictionError, match=message):
        judge(fault=fault)

    assert not list(tmp_path.glob("*evaluation*"))


def test_a_champion_that_the_registry_lost_is_named(judge):
    with pytest.raises(LedgerError, match="models:/flights/7 does not load"):
        judge("models:/flights/7")


def test_a_model_that_needs_a_column_that_is_not_there_is_refused(judge):
    with pytest.raises(DataError, match="the candidate needs the column 'weather'"):
        judge(columns=("signal", "weather"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.assign(late=rows["late"].where(rows.index > 2000)), "is missing in .* rows of span 2013-06"),
        (lambda rows: rows.assign(late=rows["late"] * 2), "is 2 in span"),
        (lambda rows: rows.assign(late=rows["late"].astype(str)), "is '[01]' in span"),
        (lambda rows: rows.assign(late=0), "is 0 in all rows"),
    ],
)
def test_labels_that_cannot_be_judged_are_refused(judge, tmp_path, change, message):
    flawed = worlds.examples(tmp_path / "flawed", change(worlds.rows()))

    with pytest.raises(DataError, match=message):
        judge(examples=flawed)


def test_labels_may_be_booleans_or_floats(judge, tmp_path):
    rows = worlds.rows()

    found = judge(examples=worlds.examples(tmp_path / "bool", rows.assign(late=rows["late"] == 1)))

    assert set(pq.read_table(found.path / "predictions.parquet")["label"].to_pylist()) == {0, 1}


def test_no_rows_to_judge_on_is_an_error_of_the_data(judge):
    with pytest.raises(DataError, match="judge on more spans"):
        judge(spans=[])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label": "delayed"}, "the label 'delayed' is not in the examples, only signal, late, carrier, hour"),
        ({"label": "late", "slices": ["airline"]}, "slice column 'airline' is not in the examples"),
    ],
)
def test_columns_that_are_not_there_are_named_with_those_that_are(judge, settings, message):
    with pytest.raises(ConfigError, match=message):
        judge(settings=settings)


def test_an_evaluation_is_the_same_content_when_made_again(judge):
    assert judge().digest == judge().digest


@pytest.mark.parametrize("cluster", ["carrier", "rows", ""])
def test_the_unit_of_evidence_is_kept_with_the_predictions(judge, cluster):
    settings = {"label": "late", "evidence": {"cluster": cluster, "test": "auto"}}
    found = Predictions.read(judge("models:/flights/1", settings).path / "predictions.parquet")
    missing = sum(carrier is None for carrier in worlds.rows().query("span in @JUDGE")["carrier"])

    assert len(found.units.keys) == {"carrier": 4 + missing, "rows": len(found), "": len(JUDGE)}[cluster]
    assert found.units.rows().sum() == len(found)
    assert found.evidence.unit == {"carrier": "carrier", "rows": "row", "": "span"}[cluster]


def test_a_cluster_that_is_not_there_is_named(judge):
    with pytest.raises(ConfigError, match=r"the column of `gates\.cluster` 'user' is not in the examples, only"):
        judge(settings={"label": "late", "evidence": {"cluster": "user", "test": "auto"}})


def test_lists_are_ranked_when_asked_for(judge):
    settings = {"label": "late", "ranking": {"group": "hour", "at": [3]}}
    evaluation = judge("models:/flights/1", settings)
    found = Predictions.read(evaluation.path / "predictions.parquet")

    assert found.ranked.keys == (5, 6, 7, 8)
    assert {"ndcg_3", "map_3"} < set(evaluation.manifest.facts["overall"]["candidate"])
    with pytest.raises(ConfigError, match=r"the column of `ranking\.group` 'query' is not in the examples"):
        judge(settings={"label": "late", "ranking": {"group": "query", "at": [3]}})
