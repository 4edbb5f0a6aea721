import json
import re

import numpy as np
import pandas as pd
import pytest

from flywheel.artifacts import Verdict
from flywheel.errors import ConfigError
from flywheel.steps.decide import decide
from tests.evaluation import worlds

AT_LEAST = {"metric": "auc", "at_least": 0.6}
NO_WORSE = {"metric": "auc", "no_worse_than": "champion", "margin": 0.03}
BY_CARRIER = {**NO_WORSE, "slices": ["carrier"]}
CARRIERS = ("UA", "DL", "AA", "B6", "HA")


def frame(days=14, size=300, worse_in=None, noise=0.35, champion_noise=0.35, seed=0, champion=True):
    """Rows with predictions of two models; the candidate knows nothing of the carrier `worse_in`."""
    draw = np.random.default_rng(seed)
    sizes = draw.poisson(size, days)
    day = np.repeat(np.arange(days), sizes)
    count = len(day)
    carrier = draw.choice(CARRIERS, count, p=[0.4, 0.3, 0.15, 0.13, 0.02])
    signal = draw.normal(size=count)
    labels = (draw.random(count) < 1 / (1 + np.exp(1 - 1.5 * signal))).astype("int8")

    def scores(by):
        shifted = signal + draw.normal(0, 0.1, days)[day] + draw.normal(0, by, count)
        return 1 / (1 + np.exp(1 - shifted))

    candidate = scores(noise)
    if worse_in:
        candidate = np.where(carrier == worse_in, draw.random(count), candidate)
    spans = [worlds.DAYS[index] for index in day]
    made = pd.DataFrame({"span": spans, "label": labels, "carrier": carrier, "candidate": candidate})
    return made.assign(champion=scores(champion_noise)) if champion else made


@pytest.fixture
def judged(tmp_path):
    def run(gates, table=None, **world):
        found = worlds.evaluation(tmp_path / "evaluation", frame(**world) if table is None else table, ("carrier",))
        return decide(found, gates, tmp_path / "reports" / "report.html")

    return run


def only(verdict, **wanted):
    found = [c for c in verdict.checks if all(getattr(c, name) == value for name, value in wanted.items())]
    assert len(found) == 1, verdict.checks
    return found[0]


def test_a_candidate_as_good_as_the_champion_passes(judged):
    verdict = judged([AT_LEAST, BY_CARRIER])

    assert verdict.ok
    check = only(verdict, name="auc no worse than champion, margin 0.03", slice="")
    assert check.bound == -0.03
    assert check.interval[0] > -0.03
    assert "where 0.03 is accepted" in check.reason or "better by" in check.reason


def test_facts_hold_both_auc_and_their_difference_for_the_ledger(judged):
    verdict = judged([{"metric": "accuracy", "at_least": 0.5}])

    facts = verdict.facts
    assert facts["metric"] == "auc"
    assert facts["delta"] == pytest.approx(facts["candidate"] - facts["champion"])
    assert facts["interval"][0] < facts["delta"] < facts["interval"][1]
    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict


def test_a_worse_model_is_blocked_and_told_by_how_much(judged):
    verdict = judged([NO_WORSE], noise=2.0)

    assert not verdict.ok
    assert verdict.why.startswith("shown to be worse: auc 0.")
    assert "raise `margin`" in verdict.failed[0].remedy


def test_a_model_worse_in_one_slice_is_kept_back_however_good_it_is_overall(judged):
    verdict = judged([{**BY_CARRIER, "margin": 0.1}], worse_in="B6")

    assert [check.slice for check in verdict.failed] == ["carrier=B6"]
    assert "allowing for 4 slices looked at" in verdict.why
    assert "set `margin` in a gate of its own for carrier" in verdict.failed[0].remedy


def test_a_slice_too_small_to_judge_is_said_and_does_not_block(judged):
    verdict = judged([{**BY_CARRIER, "margin": 0.1}], worse_in="HA")

    check = only(verdict, slice="carrier=HA")
    assert check.result == "pass"
    assert re.fullmatch(r"not judged: \d+ rows, fewer than `minimum_rows` 100", check.reason)


def test_a_slice_of_one_class_is_said_and_does_not_block(judged):
    table = frame()
    table.loc[table["carrier"] == "DL", "label"] = 0

    check = only(judged([BY_CARRIER], table), slice="carrier=DL")

    assert (check.result, check.observed) == ("pass", None)
    assert check.reason == "not judged: auc is undefined on these rows"


def test_too_little_data_is_undecided_and_says_how_many_spans_would_decide(judged):
    verdict = judged([{**NO_WORSE, "margin": 0.005}], days=6, size=150)

    assert not verdict.ok
    assert verdict.undecided
    assert not verdict.failed
    more, rows, judge = re.search(
        r"about (\d+) more spans? \(([\d,]+) rows\) would decide: set `source.judge` to (\d+)",
        verdict.undecided[0].remedy,
    ).groups()
    assert int(judge) == 6 + int(more)
    assert int(rows.replace(",", "")) == pytest.approx(int(more) * 150, rel=0.2)


@pytest.mark.parametrize("days", [1, 4])
def test_fewer_spans_than_can_show_anything_are_undecided_even_when_all_agree(judged, days):
    verdict = judged([NO_WORSE], days=days, noise=0.0, champion_noise=2.0)

    assert [check.result for check in verdict.checks] == ["undecided"]
    assert verdict.checks[0].remedy == "judge on more spans: set `source.judge` to 5 or more."
    assert verdict.facts["interval"] is None


def test_a_first_model_is_judged_by_absolute_bars_alone_and_that_is_said(judged):
    verdict = judged([AT_LEAST, BY_CARRIER], champion=False)

    assert verdict.ok
    assert only(verdict, bound=None).reason.startswith("not judged: there is no champion yet")
    assert verdict.facts["champion"] is None


def test_a_first_model_that_no_absolute_bar_judges_is_kept_back(judged):
    verdict = judged([NO_WORSE], champion=False)

    assert not verdict.ok
    assert "no absolute bar" in verdict.why
    assert "at_least" in verdict.failed[0].remedy


def test_a_handful_of_rows_clears_no_bar(judged):
    verdict = judged([AT_LEAST], size=4, champion=False)

    assert not verdict.ok
    assert "100 are the least" in verdict.why
    assert "minimum_rows" in verdict.undecided[0].remedy


def test_without_gates_nothing_is_promoted(judged):
    verdict = judged([])

    assert not verdict.ok
    assert "`gates.model`" in verdict.failed[0].remedy


@pytest.mark.parametrize(
    ("gate", "result", "reason"),
    [
        ({"metric": "auc", "at_least": 0.6}, "pass", "auc 0.[78][0-9]* clears the bar of 0.6"),
        ({"metric": "auc", "at_least": 0.95}, "fail", "auc 0.[78][0-9]* is below the bar of 0.95"),
        ({"metric": "log_loss", "at_most": 0.6}, "pass", "log_loss 0.[0-9]+ clears the bar of 0.6"),
        ({"metric": "brier", "at_most": 0.1}, "fail", "brier 0.1[0-9]* is above the bar of 0.1"),
    ],
)
def test_absolute_bars_hold_the_overall_figure_and_show_its_interval(judged, gate, result, reason):
    check = judged([gate]).checks[0]

    assert check.result == result
    assert re.fullmatch(reason, check.reason)
    assert check.interval[0] < check.observed < check.interval[1]


def test_absolute_bars_block_a_slice_that_is_shown_to_miss_them(judged):
    verdict = judged([{**AT_LEAST, "slices": ["carrier"]}], worse_in="DL")

    assert [check.slice for check in verdict.failed] == ["carrier=DL"]
    assert "is shown to be below the bar of 0.6" in verdict.why


def test_less_is_better_where_it_is(judged):
    verdict = judged([{"metric": "log_loss", "no_worse_than": "champion", "margin": 0.01}], noise=2.0)

    assert verdict.failed
    assert verdict.checks[0].observed < -0.01


def test_a_metric_that_is_undefined_fails_with_its_reason(judged):
    table = frame().assign(candidate=0.3)

    verdict = judged([{"metric": "precision", "at_least": 0.1}, {**NO_WORSE, "metric": "precision"}], table)

    assert [check.result for check in verdict.checks] == ["fail", "fail"]
    assert verdict.why.startswith("precision of the candidate is undefined: no row is predicted positive")
    assert verdict.checks[0].observed is None


def test_the_same_model_twice_is_no_worse_than_itself(judged):
    table = frame()

    verdict = judged([{**NO_WORSE, "margin": 0.0001}], table.assign(champion=table["candidate"]))

    assert verdict.ok
    assert verdict.facts["delta"] == 0


def test_the_verdict_does_not_depend_on_the_order_of_rows(judged):
    table = frame()

    first, again = judged([BY_CARRIER], table), judged([BY_CARRIER], table.sample(frac=1, random_state=0))

    assert [check.result for check in first.checks] == [check.result for check in again.checks]
    assert again.facts["delta"] == pytest.approx(first.facts["delta"], abs=1e-12)


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ({"metric": "f2", "at_least": 0.1}, "gates.model is wrong: metric"),
        ({"metric": "auc"}, "a gate needs one of at_least, at_most, no_worse_than"),
        ({**NO_WORSE, "slices": ["origin"]}, "slices by 'origin', evaluated were carrier"),
    ],
)
def test_a_gate_that_is_none_is_named(judged, gate, message):
    with pytest.raises(ConfigError, match=message):
        judged([gate])


def test_the_report_shows_verdict_checks_slices_and_curves_in_one_file(judged, tmp_path):
    verdict = judged([AT_LEAST, {**BY_CARRIER, "margin": 0.1}], worse_in="B6")

    html = (tmp_path / "reports" / "report.html").read_text()
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "<script" not in html
    for text in ("Blocked", verdict.failed[0].slice, "Slices, most harmed first", "ROC", "Calibration", "2013-06-14"):
        assert text in html
    assert html.count("<svg") == 6


def test_the_report_of_a_first_model_without_slices_is_whole(judged, tmp_path):
    judged([AT_LEAST], champion=False)

    html = (tmp_path / "reports" / "report.html").read_text()
    assert "First candidate" in html
    assert "none yet" in html
