"""One page over the flywheels of a folder."""

import re
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from flywheel.artifacts import Check, Verdict
from flywheel.ledger import Ledger
from flywheel.ledger.overview import overview
from flywheel.steps.promote import promote
from tests.stores import ledger_in, model_in
from tests.test_config import FLIGHTS

NOW = datetime(2026, 1, 31, tzinfo=UTC)
MODEL = Verdict("model", (Check("auc", "pass"),), {"metric": "auc", "candidate": 0.7, "champion": 0.6})


@pytest.fixture
def fleet(tmp_path):
    """Three flywheels, one promoted, one failed after that, one never ran; and one whose flywheel.yaml is wrong."""
    for name in ("good", "failed", "new"):
        folder = tmp_path / "teams" / name
        folder.mkdir(parents=True)
        (folder / "flywheel.yaml").write_text(yaml.safe_dump(FLIGHTS | {"name": f"{name}-model", "hourly_cost": 2.0}))
    for name in ("good", "failed"):
        ledger = Ledger(ledger_in(tmp_path / "teams" / name))
        run = ledger.open(f"{name}-model", "2013-06-01", "one")
        ledger.record(run, MODEL)
        promote(model_in(tmp_path / f"model-{name}"), f"{name}-model", "2013-06-01", ledger, run)
        ledger.close(run, ok=True)
        if name == "failed":
            run = ledger.open("failed-model", "2013-06-02", "two")
            ledger.settle(run, "failed", "the <loss> is not finite")
            ledger.close(run, ok=False)
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "flywheel.yaml").write_text("name: 7")
    return tmp_path


def test_every_flywheel_is_a_line_and_what_needs_a_person_comes_first(command, fleet):
    done = command("dashboard", fleet, "--out", fleet / "board.html")

    assert done.out == f"4 flywheels in {fleet / 'board.html'}\n"
    page = (fleet / "board.html").read_text()
    lines = re.findall(r'<tr class="(\w+)"><th scope="row" title="([^"]*)">', page)
    assert lines == [("fail", "teams/failed"), ("fail", "wrong"), ("warn", "teams/new"), ("pass", "teams/good")]
    assert "the &lt;loss&gt; is not finite" in page
    assert not re.search(r"<script|src=|https?://(?!www\.w3\.org)", page)


def test_flywheels_of_one_name_are_told_apart_by_their_folders(command, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "flywheel.yaml").write_text(yaml.safe_dump(FLIGHTS))

    command("dashboard", tmp_path, "--out", tmp_path / "board.html")

    page = (tmp_path / "board.html").read_text()
    assert re.findall(r"</i>flight-delays <small>(\w+)</small>", page) == ["one", "two"]


def test_looking_makes_no_ledger(command, fleet):
    command("dashboard", fleet, "--out", fleet / "board.html")

    assert not (fleet / "teams" / "new" / ".flywheel").exists()


def test_a_folder_without_flywheels_is_an_error_that_says_so(command, tmp_path):
    done = command("dashboard", tmp_path)

    assert done.code == 2
    assert "no flywheel.yaml below" in done.err


def test_a_flywheel_that_stopped_running_is_to_be_looked_at(tmp_path):
    now = [NOW.timestamp() - 10 * 86400]
    ledger = Ledger(ledger_in(tmp_path), clock=lambda: now[0])
    for day in range(5):
        run = ledger.open("flights", f"2026-01-{day + 10}", f"job-{day}")
        ledger.settle(run, "kept-champion", "worse")
        now[0] += 3600
        ledger.close(run, ok=True)
        now[0] += 86400 - 3600
    ledger.client.create_registered_model("flights")
    ledger.client.create_model_version("flights", "file:///nowhere", tags={"flywheel.span": "2026-01-09"})
    ledger.client.set_registered_model_alias("flights", "champion", "1")

    fresh = overview(ledger, "flights", "", NOW - timedelta(days=5), hourly=2.0)
    late = overview(ledger, "flights", "", NOW, hourly=2.0)

    assert (fresh.health, fresh.cost) == ("pass", pytest.approx(10.0))
    assert (late.health, late.why) == ("warn", "no run for 6.0 d; usually one comes every 1.0 d")
