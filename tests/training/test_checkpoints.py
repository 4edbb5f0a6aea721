"""Checkpoints: whole or not there, on a disk and in object storage."""

import os

import fsspec
import pytest

from flywheel.training.checkpoints import Checkpoints, best_interval


@pytest.fixture(params=["disk", "memory"])
def folder(request, tmp_path):
    """A folder on this disk, and one in storage that fsspec knows."""
    yield str(tmp_path / "c") if request.param == "disk" else "memory://bucket/c"
    fsspec.filesystem("memory").store.clear()


def saved(checkpoints, *numbers):
    for number in numbers:
        checkpoints.save(number, lambda number=number: b"state %d" % number, wait=True)
    return checkpoints


def test_the_newest_come_first_and_two_stay(folder):
    saved(Checkpoints(folder), 3, 20, 100)

    assert list(Checkpoints(folder).newest()) == [(100, b"state 100"), (20, b"state 20")]


def test_nothing_is_there_before_the_first_and_after_all_are_cleared(folder):
    checkpoints = Checkpoints(folder)
    assert list(checkpoints.newest()) == []
    checkpoints.clear()
    saved(checkpoints, 1).clear()

    assert list(checkpoints.newest()) == []
    assert not fsspec.core.url_to_fs(folder)[0].exists(folder)


def test_a_process_that_dies_while_writing_leaves_the_former_one(tmp_path, monkeypatch):
    checkpoints = saved(Checkpoints(str(tmp_path / "c")), 1)

    def die(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(OSError, match="no space left"):
        saved(checkpoints, 2)

    assert list(checkpoints.newest()) == [(1, b"state 1")]


def test_an_error_of_the_thread_that_writes_is_raised_by_the_next_call(folder):
    checkpoints = Checkpoints(folder)
    checkpoints.save(1, lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        checkpoints.join()
    checkpoints.join()


def test_they_are_due_by_time_or_by_steps_and_never_without_a_folder(folder):
    now = [0.0]
    by_time = Checkpoints(folder, every=60, clock=lambda: now[0])
    assert not by_time.due(1)
    now[0] = 60.0
    assert by_time.due(2)
    saved(by_time, 2)
    assert not by_time.due(3)

    assert [step for step in range(1, 9) if Checkpoints(folder, steps=4).due(step)] == [4, 8]
    assert not Checkpoints("", steps=1).due(1)


def test_the_best_interval_is_youngs():
    assert best_interval(write=2, failure=3600) == 120
