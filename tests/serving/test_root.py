"""Which models there are to serve, and what is logged of their requests."""

import json
from datetime import timedelta

import pytest

from flywheel.cli.serve import _root
from flywheel.config import RequestLog
from flywheel.errors import ConfigError, ServingError
from flywheel.serving.ports import Ports
from flywheel.serving.root import Logged, Roots, ServingRoot, distinct
from tests.serving.toys import NAME, put_in_service, toy


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return toy(tmp_path_factory.mktemp("toy") / "model", "1")


@pytest.fixture
def root(tmp_path, model):
    put_in_service(model, tmp_path, 1)
    put_in_service(model, tmp_path, 3, "other")
    (tmp_path / "empty").mkdir()
    (tmp_path / "a file").touch()
    return ServingRoot(tmp_path)


def log(folder):
    return Logged(folder, RequestLog(sample=0.5, redact=("carrier",), every=timedelta(seconds=90)))


def test_every_model_in_service_is_found(root):
    found = Roots((root,)).require()

    assert {name: each.version for name, each in found.items()} == {NAME: "1", "other": "3"}
    assert Roots((root,)).folder("other").current() == found["other"]
    assert ServingRoot(root.path / "absent").in_service() == {}


def test_two_folders_with_a_model_of_one_name_are_refused(root, tmp_path_factory, model):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    put_in_service(model, elsewhere, 1)

    with pytest.raises(ServingError, match="two of the folders hold a model called 'toy'"):
        Roots((root, ServingRoot(elsewhere))).in_service()


def test_a_folder_that_is_named_twice_is_served_once_with_both_logs(root, tmp_path):
    one = ServingRoot(root.path, {NAME: log(tmp_path / "a")})
    other = ServingRoot(root.path / "empty" / "..", {"other": log(tmp_path / "b")})

    (merged,) = distinct([one, other]).roots
    assert merged.logs == {**one.logs, **other.logs}


def test_it_comes_back_from_json_as_it_was(root, tmp_path):
    given = ServingRoot(root.path, {NAME: log(tmp_path / "log")})

    assert ServingRoot.from_json(json.loads(json.dumps(given.to_json()))) == given


def test_a_serving_folder_is_served_as_it_stands_and_anything_else_is_no_project(root, tmp_path):
    assert _root(root.path) == (ServingRoot(root.path), root.path)
    with pytest.raises(ConfigError, match=r"flywheel\.yaml"):
        _root(tmp_path / "empty")


def test_one_port_cannot_be_had_twice():
    with pytest.raises(ServingError, match="port 9000 is asked for twice"):
        Ports(rest=9000, grpc=9000).check()
