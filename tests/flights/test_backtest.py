"""A backtest on the flights: real models under several policies."""

import json

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]
RANGE = ["--from", "2013-03-01", "--to", "2013-03-04"]
SMALL = ["--window", "7", "--set", "source.judge=7", "--set", "train.trainer=flywheel.trainers.boosting:train"]


def test_policies_are_replayed_with_real_models_and_a_second_time_from_what_is_kept(make_project, tmp_path):
    project, out = make_project(), tmp_path / "backtest.html"
    asked = ["backtest", *RANGE, *SMALL, "--policy", "every=2d", "--ungated", "never", "--json", "--out", out]

    first = project(*asked)
    second = project(*asked)

    assert first.returncode == 0, first.stderr
    weekly, never = json.loads(first.stdout)
    assert (weekly["line"], never["line"]) == ("every=2d, 7 spans", "never, 7 spans, no gates")
    assert (weekly["trainings"], never["trainings"]) == (2, 1)
    assert 0.5 < weekly["mean"] < 0.9
    assert "every span" in out.read_text()
    again = json.loads(second.stdout)
    assert [row["mean"] for row in again] == [row["mean"] for row in (weekly, never)]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "a backtest needs --from and --to"),
        ([*RANGE, *SMALL, "--policy", "sometimes"], "--policy 'sometimes': Input should be 'always'"),
        ([*RANGE, "--window", "0"], "--window 0 is no window"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_read(make_project, arguments, why):
    done = make_project()("backtest", *arguments)

    assert done.returncode == 2
    assert why in done.stderr
