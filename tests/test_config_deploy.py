import pytest

from flywheel import config
from flywheel.config import KServe, Local, TFServing
from flywheel.errors import ConfigError
from flywheel.workspace import Workspace

MINIMAL = """
name: flights
source: {warehouse: "duckdb:///w.duckdb", query: q.sql}
label: late
features: [{column: distance, as: numeric}]
"""
CANARY = "{target: kserve, metrics: 'http://prometheus:9090', canary: {hold: 2m, max_p99_ms: 200}}"


@pytest.fixture
def folder(tmp_path):
    def write(deploy):
        (tmp_path / config.FILE).write_text(f"{MINIMAL}deploy: {deploy}\n" if deploy else MINIMAL)
        return tmp_path

    return write


def test_without_a_word_the_champion_is_served_here(folder):
    workspace = Workspace.open(folder(""))

    assert workspace.target == str(workspace.folder / ".flywheel" / "serving") == str(workspace.serving)


def test_a_target_goes_through_its_string_unchanged(folder):
    deploy = config.load(folder(CANARY)).deploy

    assert isinstance(deploy, KServe)
    assert config.target_of(deploy.text()) == deploy


def test_a_plain_path_is_a_local_target():
    assert config.target_of("file:///srv/models") == Local(folder="file:///srv/models")


def test_a_relative_folder_is_of_the_projects_folder(folder):
    workspace = Workspace.open(folder("{target: tfserving, folder: models}"))

    assert config.target_of(workspace.target) == TFServing(target="tfserving", folder=str(workspace.folder / "models"))


@pytest.mark.parametrize(
    ("deploy", "said"),
    [
        ("{target: heroku}", "heroku"),
        ("{target: kserve, namspace: x}", "did you mean 'namespace'"),
        ("{target: kserve, canary: {}}", "give `metrics`, the Prometheus that has them"),
        ("{target: kserve, metrics: prometheus:9090}", "http://host:9090"),
        ("{target: kserve, metrics: 'http://me:secret@p:9090'}", "does not belong here"),
        ("{target: kserve, min_replicas: 4}", "max_replicas is less than min_replicas"),
        ("{target: kserve, metrics: 'http://p', canary: {steps: [50, 10]}}", "ascend to 100"),
        ("{target: kserve, metrics: 'http://p', canary: {hold: 1h}}", "patience is shorter than hold"),
        ("{target: tfserving}", "deploy.folder: is missing"),
        ("{target: ondevice, folder: f, quantise: int4}", "int8"),
        ("{target: batch, into: scores, every: hour}", "deploy.every is 'hour', and a span is a day(.*)leave it out"),
        ("{target: batch, into: scores, score: always}", "'promoted' or 'each_span'"),
    ],
)
def test_what_is_wrong_with_a_target_is_said(folder, deploy, said):
    with pytest.raises(ConfigError, match=said):
        config.load(folder(deploy))
