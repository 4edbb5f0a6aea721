"""Trials of packaged models: forked from a clean process that learns what they import, or in one of their own."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from flywheel.serving import outside
from flywheel.serving.outside import attempt
from tests.serving.toys import toy

ROWS = pa.table({"distance": [1.5] * 40, "carrier": ["AA"] * 40, "hour": [9.0] * 40})
QUICK = {"repeats": 1, "seconds": 0.01, "calls": 20}
CODE = """
import os, sys
import mlflow, numpy

class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, rows, params=None):
        return numpy.full(len(rows), WHAT)

mlflow.models.set_model(Model())
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A place of this test's alone for the template's socket, short enough for one."""
    with tempfile.TemporaryDirectory(prefix="fw") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder, f"flywheel-{os.getuid()}")
    for process in templates(folder):
        os.kill(process, signal.SIGKILL)


@pytest.fixture
def model(tmp_path):
    def build(what, name="model"):
        return toy(tmp_path / name, "0", CODE.replace("WHAT", what), whole="double").path

    return build


def commands():
    """Command lines of all processes, by number."""
    return {each.pid: " ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])}


def templates(home):
    """Processes of the templates whose sockets are in a folder."""
    return [number for number, said in commands().items() if "flywheel.serving.template" in said and str(home) in said]


def answer(outcome):
    assert outcome.stage == "done", outcome.error
    return outcome.answers.column(0).to_pylist()[0]


def test_trials_are_forked_from_one_process_that_has_imported_what_the_first_needed(home, model):
    asked = model("os.getppid()")
    first, second, third = (attempt(asked, ROWS, None, **QUICK) for _ in range(3))
    seconds = [outcome.found["load_seconds"] for outcome in (first, second, third)]

    assert len(templates(home)) == 1
    assert len({answer(outcome) for outcome in (first, second, third)}) == 3  # each has its own keeper
    assert max(seconds[1:]) < seconds[0] / 5
    assert second.found["memory_mb"] == pytest.approx(first.found["memory_mb"], rel=0.1)


def test_nothing_of_a_models_own_code_reaches_the_next_trial(home, model):
    own = "len([name for name in sys.modules if name.startswith('own_')])"
    asked = model(own)
    (asked / "own_rules.py").write_text("")
    code = (asked / "model.py").read_text()
    (asked / "model.py").write_text(f"import sys; sys.path.insert(0, {str(asked)!r}); import own_rules\n{code}")

    assert answer(attempt(asked, ROWS, None, **QUICK)) == 1
    assert answer(attempt(model(own, "other"), ROWS, None, **QUICK)) == 0


def test_a_template_that_is_killed_is_replaced(home, model):
    asked = model("1.0")
    assert answer(attempt(asked, ROWS, None, **QUICK)) == 1
    [before] = templates(home)
    os.kill(before, signal.SIGKILL)

    assert answer(attempt(asked, ROWS, None, **QUICK)) == 1
    assert templates(home) != [before]


def test_what_leaves_threads_behind_is_given_up_for_good(home, model, tmp_path):
    (tmp_path / "threaded.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    )
    home.mkdir(mode=0o700)
    path = outside._socket(sys.executable)
    modules = path.with_name(f"{path.name}.modules")
    modules.write_text('["threaded"]')
    code = (
        f"import pathlib, sys; sys.path.insert(0, {str(tmp_path)!r}); from flywheel.serving import template;"
        f"forks = template._import(pathlib.Path({str(modules)!r})); import os; os._exit(forks)"
    )

    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert modules.read_text() == "null"
    assert [answer(attempt(model("1.0"), ROWS, None, **QUICK)), modules.read_text()] == [1, "null"]


def test_a_template_goes_with_its_owner(home):
    home.mkdir(mode=0o700)
    owner = subprocess.Popen(["sleep", "60"])
    command = [sys.executable, "-I", "-m", "flywheel.serving.template", str(home / "it"), str(owner.pid)]
    process = subprocess.Popen(command)
    while not (home / "it").exists():
        time.sleep(0.01)
    owner.kill()
    owner.wait()

    assert process.wait(20) == 0
    assert list(home.iterdir()) == []


def test_a_trial_that_takes_too_long_is_ended_with_what_it_started(home, model):
    asked = model("__import__('subprocess').Popen(['sleep', '61']).wait()")
    outcome = attempt(asked, ROWS, None, timeout=6, **QUICK)

    assert outcome.error == "it did not end within 6 s"
    deadline = time.monotonic() + 10
    while [said for said in commands().values() if said.startswith("sleep 61")]:
        assert time.monotonic() < deadline  # a process that was killed is gone a moment later
        time.sleep(0.05)


def test_a_folder_that_others_may_write_to_is_not_trusted(home, model):
    home.mkdir(mode=0o777)
    home.chmod(0o777)

    assert answer(attempt(model("1.0"), ROWS, None, **QUICK)) == 1
    assert templates(home) == []
    assert outside._socket(sys.executable) is None
