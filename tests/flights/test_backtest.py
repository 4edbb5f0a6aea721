"""A backtest on the flights: real models under several policies."""

import json

import pytest

from flywheel.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]
RANGE = ["--from", "2013-03-01", "--to", "2013-03-04"]
SMALL = ["--window", "7", "--set", "source.judge=7", "--set", "train.trainer=flywheel.trainers.boosting:train"]


def test_policies_are_replayed_with_real_models_and_a_longer_range_trains_what_is_new_alone(make_project, tmp_path):
    project, out = make_project(), tmp_path / "backtest.html"
    asked = ["backtest", *SMALL, "--policy", "every=2d", "--ungated", "never", "--json", "--out", out]

    first = project(*asked, *RANGE)
    longer = project(*asked, "--from", "2013-03-01", "--to", "2013-03-06")

    assert first.returncode == 0, first.stderr
    weekly, never = json.loads(first.stdout)
    assert (weekly["line"], never["line"]) == ("every=2d, 7 spans", "never, 7 spans, no gates")
    assert (weekly["trainings"], never["trainings"]) == (2, 1)
    assert 0.5 < weekly["mean"] < 0.9
    assert "every span" in out.read_text()
    assert [row["trainings"] for row in json.loads(longer.stdout)] == [3, 1]
    ledger = Ledger(f"sqlite:///{project.folder}/.flywheel/backtest/mlflow.db")
    assert len(ledger.client.search_runs([ledger.experiment("flight-delays")])) == 3


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "a backtest needs --from and --to"),
        ([*RANGE, *SMALL, "--policy", "sometimes"], "--policy 'sometimes': Input should be 'always'"),
        ([*RANGE, "--window", "0"], "--window 0 is no window"),
        ([*RANGE, "--set", "train.warm_start=true"], "a backtest starts every model cold"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_read(make_project, arguments, why):
    done = make_project()("backtest", *arguments)

    assert done.returncode == 2
    assert why in done.stderr
