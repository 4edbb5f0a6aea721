import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import flywheel

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights"
PROBED = ["--set", "source.window=7", "--set", "source.judge=7", "--set", "train.parameters={epochs: 4, batch: 128}"]
SMALL = [*PROBED, "--set", "gates.serving=null"]


@dataclass
class Flywheel:
    """The command, in a folder of its own: called in this process, or started as one of its own."""

    folder: Path

    def __call__(self, command, *arguments):
        return flywheel(command, self.folder, *arguments)

    def start(self, command, *arguments):
        called = [sys.executable, "-m", "flywheel", command, str(self.folder), *map(str, arguments)]
        return subprocess.Popen(called, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def rows(self):
        done = self("status", "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory):
    """The flights year in a DuckDB file, made once."""
    file = tmp_path_factory.mktemp("warehouse") / "warehouse.duckdb"
    subprocess.run([sys.executable, FLIGHTS / "load.py", "--into", file], check=True, capture_output=True)
    return file


@pytest.fixture
def make_project(tmp_path, warehouse):
    """Copy the example, warehouse and all, to a folder with a name that needs quoting."""

    def make(into=tmp_path):
        folder = into / "mes vols, l'été"
        shutil.copytree(FLIGHTS, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "schema.pbtxt"))
        (folder / ".flywheel").mkdir()
        shutil.copy(warehouse, folder / ".flywheel" / "warehouse.duckdb")
        return Flywheel(folder)

    return make


def wait_for(process, text, seconds=200):
    """Read a process's progress until `text` comes."""
    deadline, seen = time.monotonic() + seconds, ""
    for line in process.stderr:
        seen += line
        if text in line:
            return
        assert time.monotonic() < deadline, seen
    raise AssertionError(f"ended without {text!r}:\n{seen}")


def interrupt(process):
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err
