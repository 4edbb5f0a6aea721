"""A training that is killed at any moment and started again ends with the very weights of one that was left alone."""

import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from flywheel.training.checkpoints import Checkpoints
from tests.trainers.killed import train


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Examples, and the weights of a training that nobody disturbed."""
    folder = tmp_path_factory.mktemp("alone")
    return folder / "examples", train(folder / "examples", "").state_dict()


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("step", [3, 7, 15, 16, 40])
def test_a_training_goes_on_from_any_checkpoint(alone, tmp_path, monkeypatch, step):
    examples, expected = alone
    due = Checkpoints.due

    def stop(self, number):
        if number > step:
            self.join()
            raise Stopped
        return due(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "due", stop)
        with pytest.raises(Stopped):
            train(examples, str(tmp_path / "c"))
    assert len(list((tmp_path / "c").iterdir())) in (1, 2)

    assert_same(train(examples, str(tmp_path / "c")).state_dict(), expected)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(alone, tmp_path, capsys):
    examples, expected = alone
    train(examples, str(tmp_path / "c"))
    newest = max((tmp_path / "c").iterdir())
    newest.write_bytes(newest.read_bytes()[:1000])
    capsys.readouterr()

    assert_same(train(examples, str(tmp_path / "c")).state_dict(), expected)
    said = capsys.readouterr().out
    assert "cannot be read, the one before is taken" in said
    assert "goes on from the checkpoint of step" in said


def run(examples, folder):
    command = [sys.executable, "-m", "tests.trainers.killed", str(examples), str(folder / "c"), str(folder / "w")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def kept(folder):
    return sorted(file.name for file in (folder / "c").glob("*.checkpoint")) if (folder / "c").is_dir() else []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_a_training_killed_at_random_moments_ends_with_the_same_weights(alone, tmp_path, seed):
    examples, expected = alone
    chance, kills = random.Random(seed), []
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        process, before = run(examples, tmp_path), kept(tmp_path)
        while process.poll() is None and kept(tmp_path) == before:  # it has begun, and got further
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.6))
        process.send_signal(number)
        process.communicate()
        kills.append(process.returncode)
    last = run(examples, tmp_path)
    said, _ = last.communicate()

    assert kills[0] == -signal.SIGKILL
    assert set(kills) <= {-signal.SIGKILL, 143, 0}
    assert last.returncode == 0, said
    assert "goes on from the checkpoint" in said
    assert_same(torch.load(tmp_path / "w", weights_only=True), expected)


@pytest.mark.slow
def test_sigterm_keeps_a_last_checkpoint_and_ends_as_a_failure_that_can_be_retried(alone, tmp_path):
    process = run(alone[0], tmp_path)
    while not kept(tmp_path) and process.poll() is None:
        time.sleep(0.01)
    process.terminate()
    said, _ = process.communicate()

    assert process.returncode == 143
    assert said.rstrip().rsplit("\n", 1)[-1].startswith("checkpoint of step")
    assert not list((tmp_path / "c").glob("*.partial"))
