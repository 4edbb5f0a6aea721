"""Folders for what does not fit into memory: gone with their process, however it ends."""

import os
import signal
import subprocess
import sys

import pytest

from flywheel.warehouse.spill import Spill

HOLD = "import sys, time; from flywheel.warehouse.spill import Spill; print(Spill().path, flush=True); time.sleep(60)"


@pytest.fixture
def other(tmp_path, monkeypatch):
    """Another process with a folder of its own that is some minutes old: (process, folder)."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    command = [sys.executable, "-c", HOLD.replace("Spill().path", "(spill := Spill()).path")]
    with subprocess.Popen(command, env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE) as process:
        folder = process.stdout.readline().decode().strip()
        os.utime(f"{folder}/.lock", (0, 0))
        yield process, folder
        process.kill()


def test_a_folder_is_gone_when_it_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    Spill().close()

    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(other):
    process, folder = other
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert os.path.isdir(folder)

    Spill().close()

    assert not os.path.isdir(folder)


def test_what_another_process_uses_stays(other):
    _, folder = other

    Spill().close()

    assert os.path.isdir(folder)
