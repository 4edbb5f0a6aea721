"""The smaller examples, run as a reader runs them: filled, run for two spans, looked at."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import flywheel

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(folder, *arguments):
    done = flywheel(arguments[0], folder, *arguments[1:])
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copied(name, into):
    folder = into / name
    shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    subprocess.run([sys.executable, folder / "load.py"], check=True, capture_output=True)
    return folder


def judged(folder, *spans):
    """Run for each of `spans`; return what the ledger says of each."""
    for span in spans:
        run(folder, "run", "--span", span)
    return [json.loads(line) for line in run(folder, "status", "--json").splitlines()]


def test_departures_are_forecast_better_than_by_last_weeks(tmp_path):
    folder = copied("forecast", tmp_path)
    first, second = judged(folder, "2013-06-17", "2013-06-24")
    facts = first["decisions"]["model"]["facts"]

    assert first["outcome"] == "promoted"
    assert second["outcome"] in ("promoted", "kept-champion")
    assert facts["metric"] == second["decisions"]["model"]["facts"]["metric"] == "mae"
    assert 0 < facts["candidate"] < 2
    assert facts["baseline"] is not None
    assert second["decisions"]["model"]["facts"]["champion"] is not None
    assert "mae" in run(folder, "status")


def test_photos_are_told_apart(tmp_path):
    pytest.importorskip("flywheel.trainers.torch_image")
    folder = copied("images", tmp_path)
    (row,) = judged(folder, "2024-02-04")
    facts = row["decisions"]["model"]["facts"]

    assert row["outcome"] == "promoted"
    assert facts["metric"] == "accuracy"
    assert facts["candidate"] > 0.9
    assert facts["baseline"] > 0.5


def test_comments_are_moderated_under_one_bar_on_all_labels(tmp_path):
    folder = copied("moderation", tmp_path)
    first, second = judged(folder, "2024-02-05", "2024-02-12")
    facts = second["decisions"]["model"]["facts"]

    assert first["outcome"] == "promoted"
    assert facts["metric"] == "macro_auc"
    assert facts["champion"] > 0.8
    assert "precision of any of them" in (folder / ".flywheel/reports/2024-02-12/decide.html").read_text()
