"""What is shipped, what it weighs to import, and what the locks promise."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = sorted((ROOT / "locks").glob("[!ti]*-py3.*.txt"))  # beside them lie PyTorch's own, and those of the images
HEAVY = ["kfp", "tensorflow", "apache_beam", "mlflow", "pandas", "pyarrow", "numpy", "duckdb", "sqlglot", "mlserver"]


def loaded_by(module):
    code = f"import sys, json, {module}; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    return set(json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout))


@pytest.mark.parametrize("module", ["flywheel", "flywheel.cli.main"])
def test_importing_loads_nothing_heavy(module):
    assert not set(HEAVY) & loaded_by(module)


def test_a_deployment_that_asks_no_workers_loads_no_beam():
    assert not {"apache_beam", "tensorflow"} & loaded_by("flywheel.serving.targets.ondevice")


def test_every_package_folder_is_shipped():
    folders = [path.parent for path in (ROOT / "flywheel").rglob("__init__.py")]
    packages = {".".join(folder.relative_to(ROOT).parts) for folder in folders}

    assert packages | {"flywheel.components", "flywheel.pipelines"} == set(PROJECT["tool"]["setuptools"]["packages"])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    for name in ("flywheel", "components", "pipelines"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools import build_meta; build_meta.build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, check=True)
    return next(source.glob("*.whl"))


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {"flywheel": "flywheel", "components": "flywheel/components", "pipelines": "flywheel/pipelines"}
    files = {
        f"{target}/{path.relative_to(ROOT / folder)}"
        for folder, target in sources.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert shipped == files


def test_the_wheel_works_away_from_the_repository(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = "import flywheel.pipelines as p, flywheel.components as c; print(p.__file__, c.__file__, sep='\\n')"

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert all(line.startswith(str(tmp_path / "site")) for line in done.stdout.splitlines())


def locked(lock: Path) -> dict[str, str]:
    return {
        canonicalize_name(name): version
        for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(), re.M)
    }


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_is_within_the_ranges(lock):
    """A change of pyproject.toml that forgets `make locks` is found here."""
    system, python = lock.stem.split("-")[0], lock.stem.rsplit("-py")[1]
    environment = {**default_environment(), "python_version": python, "sys_platform": system, "extra": ""}
    project = PROJECT["project"]
    wanted = [
        *project["dependencies"],
        *project["optional-dependencies"]["local"],
        *project["optional-dependencies"]["kubeflow"],
        *project["optional-dependencies"]["bigquery"],
        *PROJECT["dependency-groups"]["dev"],
        *PROJECT["dependency-groups"]["docs"],
    ]
    versions = locked(lock)

    for requirement in map(Requirement, wanted):
        if requirement.name != project["name"] and (not requirement.marker or requirement.marker.evaluate(environment)):
            assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("lock", sorted((ROOT / "locks").glob("*.txt")), ids=lambda lock: lock.stem)
def test_a_lock_has_hashes_for_everything_and_names_no_index(lock):
    entries = re.split(r"\n(?=\S)", lock.read_text().strip())

    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"://|--(extra-)?index-url|--find-links", lock.read_text())


@pytest.fixture
def checkout(tmp_path):
    """What `make setup` reads, in a folder where it may do as it likes."""
    for name in ("scripts", "locks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def set_up(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, checkout / "scripts" / "setup.py"]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def test_setup_says_first_that_there_is_no_compiler(checkout):
    done = set_up(checkout, CC="no-such-compiler", PYTHON=sys.executable)

    assert done.returncode == 1
    assert re.fullmatch(r"setup: no C\+\+ compiler \('no-such-compiler' .*\n", done.stderr)
    assert not (checkout / ".venv").exists()


def test_setup_says_first_that_the_python_is_wrong(checkout):
    done = set_up(checkout, PYTHON="no-such-python")

    assert done.returncode == 1
    assert re.fullmatch(r"setup: this platform needs Python 3\.1.*found 'no-such-python': .*PYTHON=.*\n", done.stderr)


def test_setup_says_that_a_platform_has_no_lock(checkout):
    shutil.rmtree(checkout / "locks")

    done = set_up(checkout)

    assert done.returncode == 1
    assert "there is no locked set for" in done.stderr


def test_setup_leaves_alone_an_environment_that_it_did_not_make(checkout):
    (checkout / ".venv").mkdir()

    done = set_up(checkout)

    assert done.returncode == 1
    assert "move it away" in done.stderr
    assert (checkout / ".venv").exists()
