import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flywheel import config
from flywheel.errors import ConfigError

FLIGHTS = {
    "name": "flight-delays",
    "source": {"warehouse": "duckdb:///w.duckdb", "query": "flights.sql"},
    "label": "late",
    "features": [{"column": "distance", "as": "numeric"}, {"column": "carrier", "as": "category", "top": 100}],
    "gates": {"model": [{"metric": "auc", "at_least": 0.6}]},
    "profiles": {"week": {"source": {"window": 7}}},
}


@pytest.fixture
def project(tmp_path):
    def write(**changes):
        (tmp_path / config.FILE).write_text(yaml.safe_dump(FLIGHTS | changes))
        return tmp_path

    return write


def test_what_is_not_said_has_a_default(project):
    found = config.load(project())

    assert (found.source.window, found.source.judge, found.source.every) == (28, 14, "day")
    assert found.train.trainer == "trainer:train"
    assert found.deploy.target == "local"


def test_a_list_of_labels_is_a_task_and_all_of_them_are_asked_of_the_query(project):
    gate = {"metric": "macro_auc", "no_worse_than": "champion", "margin": 0.1, "labels": True}
    found = config.load(project(label=["late", "far"], gates={"model": [gate, {"metric": "auc_far", "at_least": 0.6}]}))

    assert (found.task, found.labels, found.label) == ("multilabel", ("late", "far"), "late, far")
    assert {"late", "far"} <= set(found.columns)


def test_a_profile_is_laid_over_and_an_override_over_both(project):
    assert config.load(project(), "week").source.window == 7
    assert config.load(project(), "week").source.query == "flights.sql"
    assert config.load(project(), "week", ["source.window=3"]).source.window == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lable": "late"}, "lable: unknown key; did you mean 'label'"),
        ({"source": FLIGHTS["source"] | {"windw": 3}}, "source.windw: unknown key; did you mean 'window'"),
        (
            {"features": [{"column": "a", "as": "category", "tops": 3}]},
            "features.0.tops: unknown key; did you mean 'top'",
        ),
        ({"features": [{"column": "a", "as": "words"}]}, "features.0: .*'numeric', 'category', 'bucket'"),
        ({"source": FLIGHTS["source"] | {"window": "many"}}, "source.window: .*integer.* found 'many'"),
        ({"source": {"warehouse": "duckdb:///w"}}, "source.query: is missing; add it"),
        ({"label": "carrier"}, "the label 'carrier' stands in features too"),
        ({"gates": {"data": {"new_keys_at_most": 0.3}}}, "say which columns are one in gates.data.key"),
        ({"label": ["late"]}, "label: .*two columns or more"),
        ({"label": ["late", "late"]}, "label: the label 'late' stands there twice"),
        ({"label": ["a,b", "late"]}, "label: the name of a label .* has no comma; found 'a,b'"),
        ({"label": ["late", "far"], "task": "binary"}, "a list where task is 'multilabel'.*found 2 labels"),
        ({"task": "multilabel"}, "a list where task is 'multilabel'.*found the one label 'late'"),
        ({"label": ["late", "far"]}, "gates.model.0: .*did you mean 'auc_late'|known are macro_auc"),
        ({"features": [{"as": "numeric"}]}, "features.0: a feature needs `column`"),
        ({"features": [{"columns": ["a"], "as": "cross"}]}, "a cross needs at least two `columns`"),
        ({"features": [{"columns": ["a", "b"], "as": "hash"}]}, "several columns need a `function`"),
        ({"features": [{"column": "a", "function": "f:g", "as": "hash"}]}, "what a function makes needs a `name`"),
        ({"features": [{"column": "a", "as": "bucket", "boundaries": [2, 1]}]}, "boundaries ascend"),
        ({"features": [{"column": "a", "as": "numeric", "clip": [2, 1]}]}, r"clip is \[lowest, highest\]"),
        ({"features": [{"column": "a", "as": "multi_hot", "topp": 1}]}, "topp: unknown key; did you mean 'top'"),
        (
            {"features": [{"column": "a", "as": "image", "height": 1, "width": 1, "channels": 2}]},
            "channels are 1, 3 or 4; found 2",
        ),
        ({"features": FLIGHTS["features"] * 2}, "column 'carrier' stands twice"),
        ({"gates": {"model": [{"metric": "auc"}]}}, "gates.model.0: a gate needs one of"),
        (
            {"metrics": {"auc": {"function": "a:b", "better": "lower"}}},
            "metrics.auc: the task 'binary' has a metric of",
        ),
        ({"metrics": {"cost": {"function": "a", "better": "lower"}}}, "metrics.cost.function"),
        (
            {
                "gates": {"model": [{"metric": "auc", "no_worse_than": "baseline", "margin": 0.1}]},
                "train": {"baseline": False},
            },
            "gates.model.0: needs a baseline, and train.baseline is false",
        ),
        ({"gates": {"model": [{"metric": "auc", "no_worse_than": "champion"}]}}, "needs a margin above 0"),
        ({"gates": {"model": [{"metrc": "auc"}]}}, "gates.model.0.metrc: unknown key; did you mean 'metric'"),
        ({"ledger": {"tracking_uri": "https://me:secret@host"}}, "set MLFLOW_TRACKING_USERNAME and _PASSWORD$"),
        (
            {"train": {"tune": {"parameters": {"C": [1, 2]}}, "resources": {"nodes": 2, "volume": {"claim": "c"}}}},
            "tune and resources.nodes do not go together",
        ),
        ({"name": "Flight Delays"}, "name: it takes 2 to 63 small letters.* found 'Flight Delays'"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_cure(project, changes, message):
    with pytest.raises(ConfigError, match=message):
        config.load(project(**changes))


def test_all_faults_are_named_at_once(project):
    with pytest.raises(ConfigError, match=r"(?s)wrong in 2 places.*lable.*nme"):
        config.load(project(lable="late", nme="x"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML"),
        ("- a", "holds list"),
        ("", "holds NoneType"),
        ("profiles: 3", "profiles is 3"),
        ("name: 2013-02-30", "not YAML"),
    ],
)
def test_a_file_that_is_no_declaration_is_refused(tmp_path, text, message):
    (tmp_path / config.FILE).write_text(text)
    with pytest.raises(ConfigError, match=message):
        config.load(tmp_path)


def test_a_folder_without_a_declaration_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="write that file"):
        config.load(tmp_path)


def test_a_duration_that_no_clock_has_is_refused(project):
    with pytest.raises(ConfigError, match=r"source\.grace: a duration is at most"):
        config.load(project(), overrides=["source.grace=99999999999w"])


def test_an_unknown_profile_is_answered_with_those_there_are(project):
    with pytest.raises(ConfigError, match="those it has: week"):
        config.load(project(), "prod")


@pytest.mark.parametrize("override", ["window", "=3", "source..window=3", "a=[1", "a=2013-02-30"])
def test_an_override_that_is_none_is_refused(project, override):
    with pytest.raises(ConfigError, match="--set"):
        config.load(project(), overrides=[override])


def test_the_reference_and_the_editors_schema_say_what_the_models_say():
    script = Path(__file__).parent.parent / "scripts" / "configuration.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def tuned(project, **tune):
    return config.load(project(train={"tune": {"parameters": {"rate": {"low": 0.1, "high": 1}}, **tune}})).train.tune


def test_a_range_of_whole_numbers_is_one_also_after_kubeflow_made_them_floating_point(project):
    spaces = {"units": {"low": 8, "high": 64}, "rate": {"low": 1e-4, "high": 1e-2, "log": True}, "size": [16, 32]}
    found = tuned(project, parameters=spaces, time_budget="10m").model_dump(mode="json", exclude_none=True)

    assert found["parameters"]["units"]["whole"]
    assert not found["parameters"]["rate"]["whole"]
    assert (found["time_budget"], found["trials"]) == (600.0, 20)


@pytest.mark.parametrize(
    ("tune", "said"),
    [
        ({"parameters": {"rate": {"low": 1, "high": 1}}}, "not below high"),
        ({"parameters": {"rate": {"low": 0, "high": 1, "log": True}}}, "above 0"),
        ({"parameters": {"units": []}}, "units has nothing to choose from"),
        ({"parameters": {}}, "at least 1"),
        ({"metric": "rmse"}, "train.tune: metric is none of the task 'binary'"),
        ({"storage": "postgresql://ann:secret@host/studies"}, "a user or password does not belong here"),
    ],
)
def test_a_search_that_cannot_be_is_refused(project, tune, said):
    with pytest.raises(ConfigError, match=said) as error:
        tuned(project, **tune)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("baseline", "trainer"),
    [(True, "flywheel.trainers.boosting:train"), ("simple:train", "simple:train"), (False, None)],
)
def test_the_baseline_is_trees_unless_it_is_said(project, baseline, trainer):
    given = {"baseline": baseline, "parameters": {"units": 3}, "weight": "w", "resources": {"gpu": 1}}
    train = config.load(project(train=given)).train.for_baseline()

    assert (train and train.trainer) == trainer
    if train:
        assert (train.parameters, train.weight, train.resources.gpu, train.tune) == ({}, "w", 0, None)


def test_a_trainer_that_is_the_baseline_is_not_trained_twice(project):
    trees = {"trainer": "flywheel.trainers.boosting:train"}

    assert config.load(project(train=trees)).train.for_baseline() is None
    assert config.load(project(train=trees | {"parameters": {"max_iter": 9}})).train.for_baseline()
    gates = {"model": [{"metric": "auc", "no_worse_than": "baseline", "margin": 0.01}]}
    with pytest.raises(ConfigError, match=r"needs a baseline, and train\.baseline is the very trainer"):
        config.load(project(train=trees, gates=gates))


def test_the_column_of_weights_is_asked_of_the_query(project):
    assert "w" in config.load(project(train={"weight": "w"})).columns
    assert "w" in config.load(project(analyze={"weight": "w"})).columns


def test_a_weight_in_what_is_measured_is_no_feature_and_not_of_a_ranking(project):
    with pytest.raises(ConfigError, match="'distance' is a label or feature"):
        config.load(project(analyze={"weight": "distance"}))
    with pytest.raises(ConfigError, match="rows of a ranking count by their list"):
        config.load(project(analyze={"weight": "w"}, ranking={"group": "search"}))


def test_a_metric_of_a_ranking_needs_a_ranking_and_a_score(project):
    gates = {"model": [{"metric": "ndcg_5", "at_least": 0.5}]}
    ranking = {"group": "search"}

    assert "search" in config.load(project(ranking=ranking, gates=gates)).columns
    with pytest.raises(ConfigError, match="metric is none of the task 'binary'"):
        config.load(project(gates=gates))
    with pytest.raises(ConfigError, match="ranking needs one score a row"):
        config.load(project(ranking=ranking, task="multiclass"))


def test_a_threshold_has_one_bar_and_a_class(project):
    train = {"thresholds": {"1": {"precision": 0.9}}}

    assert config.load(project(train=train)).train.thresholds["1"].precision == 0.9
    with pytest.raises(ConfigError, match="a threshold has one bar: precision or recall"):
        config.load(project(train={"thresholds": {"1": {"precision": 0.9, "recall": 0.5}}}))
    with pytest.raises(ConfigError, match=r"thresholds\.1 needs one bar, precision or recall"):
        config.load(project(train={"thresholds": {"1": {}}}))
    with pytest.raises(ConfigError, match=r"together needs a bar.*two classes or more"):
        config.load(project(train={**train, "together": {"recall": 0.5}}))
    joint = {"thresholds": {"late": {}, "far": {"recall": 0.5}}, "together": {"precision": 0.9}}
    assert config.load(project(label=["late", "far"], train=joint, gates={})).train.together.precision == 0.9
    with pytest.raises(ConfigError, match="'near' is no label; there are late, far"):
        config.load(project(label=["late", "far"], train={"thresholds": {"near": {"recall": 0.5}}}, gates={}))
    with pytest.raises(ConfigError, match="of a binary task there is the class '1' alone; found 'spam'"):
        config.load(project(train={"thresholds": {"spam": {"recall": 0.5}}}))
    with pytest.raises(ConfigError, match="a number has no classes"):
        config.load(project(task="regression", train=train, gates={}))
