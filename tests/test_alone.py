"""Locks that end with their process."""

import threading
import time

from flywheel.alone import alone


def test_who_comes_second_is_told_who_has_it_and_goes_on_when_it_is_free(tmp_path):
    order, busy, began = [], [], threading.Event()

    def first():
        with alone(tmp_path / "lock", busy.append):
            began.set()
            time.sleep(0.3)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    began.wait()
    with alone(tmp_path / "lock", busy.append):
        order.append("second")
    thread.join()

    assert order == ["first", "second"]
    assert [who.startswith("process ") for who in busy] == [True]
