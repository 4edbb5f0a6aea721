import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("kfp")

from tests.stand_ins.kfp import StandIn

FLYWHEEL = """\
name: flights
source: {warehouse: "bigquery://my-project", query: flights.sql}
label: late
features: [{column: distance, as: numeric}]
ledger: {tracking_uri: "http://127.0.0.1:9"}
"""
TRAINER = """\
def train(context):
    raise AssertionError("the stand-in runs no step, so this must not be called")
"""


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """Where pipelines are compiled once for all tests."""
    return tmp_path_factory.mktemp("compiled")


def write(folder, compiled, name="flights", more=""):
    """Write a flywheel that a cluster could run; nothing is trained here."""
    (folder / ".flywheel").mkdir(parents=True)
    (folder / ".flywheel" / "compiled").symlink_to(compiled)
    (folder / "flywheel.yaml").write_text(FLYWHEEL.replace("flights\n", f"{name}\n", 1) + more)
    (folder / "flights.sql").write_text("SELECT late, distance FROM flights WHERE day >= @start AND day < @end\n")
    (folder / "trainer.py").write_text(TRAINER)
    return folder


@pytest.fixture
def flywheel(tmp_path, compiled):
    """Make a folder with a flywheel that a cluster could run."""
    return lambda name="flights", more="": write(tmp_path / name, compiled, name, more)


@pytest.fixture
def kubeflow():
    with StandIn(now=datetime(2026, 3, 2, tzinfo=UTC), token="let me in") as stand_in:
        yield stand_in
        assert stand_in.violations == []


@pytest.fixture
def root(tmp_path):
    """Where code is put."""
    return tmp_path / "root"


@pytest.fixture
def where(kubeflow, root):
    """What leads to the stand-in: overrides, and how to talk to it."""
    overrides = [f"kubeflow.endpoint={kubeflow.url}", f"kubeflow.pipeline_root=file://{root}"]
    return overrides, {"environment": {"FLYWHEEL_KFP_TOKEN": "let me in"}, "sleep": lambda seconds: None}


def edit(folder: Path, old, new):
    """Change the declaration in a folder."""
    file = folder / "flywheel.yaml"
    file.write_text(file.read_text().replace(old, new))


def copy(folder: Path, to: Path):
    """Copy a flywheel, as to a second one."""
    return Path(shutil.copytree(folder, to, symlinks=True))
