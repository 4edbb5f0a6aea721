"""An engine that draws for others, beside the runner that they belong to."""

import os
import time

import pytest

from flywheel import drawing
from flywheel.reports import charts

POINTS = {"rose": [(0.0, 1.0), (1.0, 2.0)]}


@pytest.fixture
def place(monkeypatch, tmp_path):
    monkeypatch.setattr(drawing.tempfile, "gettempdir", lambda: str(tmp_path))
    there = drawing.place_of(os.getpid())
    monkeypatch.setenv(drawing.CHARTS, there)
    yield there
    if os.path.exists(there):
        os.unlink(there)  # it goes when its place is taken
    drawing._start.cache_clear()


def test_a_chart_is_the_same_whoever_draws_it(place):
    alone = charts.lines(POINTS, "a line")  # nobody listens yet: this starts one that does
    deadline = time.monotonic() + 60
    while not os.path.exists(place):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    assert drawing.drawn({"mark": "nonsense"}) == ""
    assert drawing.drawn({"data": {"values": []}, "mark": "bar"}).startswith("<svg")
    assert charts.lines(POINTS, "a line") == alone


def test_where_others_could_listen_nobody_is_asked(monkeypatch, tmp_path):
    (tmp_path / f"flywheel-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"flywheel-{os.getuid()}").chmod(0o777)
    monkeypatch.setattr(drawing.tempfile, "gettempdir", lambda: str(tmp_path))

    assert drawing.place_of(1) == ""
