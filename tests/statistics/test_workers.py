import os
import signal

import pytest

from flywheel.errors import DataError
from flywheel.statistics import workers
from flywheel.statistics.workers import cores, spread


@pytest.fixture
def three(monkeypatch):
    """Three processes, whatever the machine; the threads of pytest's plug-ins hold no lock that a child needs."""
    monkeypatch.setattr(workers, "WORTH_A_FORK", 1)
    monkeypatch.setattr(workers, "cores", lambda: 3)
    monkeypatch.setattr(workers, "_may_fork", lambda: True)


def test_results_come_in_the_order_of_the_tasks_from_several_processes(three):
    found = list(spread(lambda task: (task, os.getpid()), range(10), [10, 1, 1, 1, 5, 1, 1, 1, 1, 1]))

    assert [task for task, _ in found] == list(range(10))
    assert len({process for _, process in found} - {os.getpid()}) == 3


def test_little_work_is_done_here(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 3)
    monkeypatch.setattr(workers, "_may_fork", lambda: True)

    assert set(spread(lambda task: os.getpid(), range(3), [10, 10, 10])) == {os.getpid()}


def test_what_a_process_says_is_wrong_is_raised_here(three):
    def work(task):
        if task == 4:
            raise DataError("row 7 is wrong", "mend it.")
        return task

    results = spread(work, range(6), [1] * 6)
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(DataError, match=r"row 7 is wrong\n  mend it\."):
        next(results)


def test_a_process_that_is_killed_is_said_with_its_signal(three):
    def work(task):
        if task == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return task

    with pytest.raises(DataError, match="died \\(signal 9\\)") as error:
        list(spread(work, range(6), [1] * 6))
    assert "lack of memory" in error.value.remedy


def test_no_process_is_left_when_the_results_are_not_wanted_to_the_end(three, monkeypatch):
    started = []
    fork = os.fork
    monkeypatch.setattr(workers.os, "fork", lambda: started.append(fork()) or started[-1])
    results = spread(lambda task: task, range(6), [1] * 6)
    assert next(results) == 0
    results.close()

    assert len(started) == 3
    for process in started:
        with pytest.raises(ChildProcessError):
            os.waitpid(process, 0)


def test_the_share_of_cores_is_what_the_runner_gave(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert cores() == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert cores() == len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
