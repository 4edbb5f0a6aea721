import numpy as np
import pytest

from flywheel.profiles.bars import Bars, check_of, column_of

NAMES = [f"{check} of c{i}" for i in range(8) for check in ("distance", "nulls", "level", "surprise")] + ["rows"]


def spans(count, seed, scale=1.0):
    """Return measures of exchangeable spans that move together a little, as those of one day do."""
    chance = np.random.default_rng(seed)
    common = chance.normal(size=(count, 1))
    values = np.abs(chance.normal(size=(count, len(NAMES))) + 0.7 * common) * scale
    return [dict(zip(NAMES, row, strict=True)) for row in values]


def unusual(bars, span):
    return any(bars.score(name, value) > bars.bar(name) for name, value in span.items())


@pytest.mark.parametrize("past", [40, 150])
def test_spans_like_those_before_are_called_unusual_no_more_often_than_said(past):
    told = [unusual(Bars(spans(past, seed), 0.02), span) for seed in range(30) for span in spans(20, 1000 + seed)]

    assert np.mean(told) <= 0.02 + 3 * np.sqrt(0.02 * 0.98 / len(told))


def test_a_span_far_out_in_one_measure_is_called_unusual():
    bars = Bars(spans(150, 1), 0.01)
    span = spans(1, 2)[0] | {"nulls of c3": 12.0}

    assert unusual(bars, span)
    assert bars.score("nulls of c3", 12.0) > bars.score("nulls of c3", 6.0) > bars.bar("nulls of c3")


def test_the_usual_range_ends_where_the_bar_is():
    bars = Bars(spans(100, 3), 0.01)
    low, high = bars.range("level of c0")

    assert bars.score("level of c0", high) == pytest.approx(bars.bar("level of c0"), rel=1e-6)
    assert bars.score("level of c0", low) == pytest.approx(bars.bar("level of c0"), rel=1e-6)


def test_fewer_false_alarms_mean_higher_bars_and_so_does_a_short_history():
    strict, loose = Bars(spans(100, 4), 0.001), Bars(spans(100, 4), 0.1)
    young = Bars(spans(12, 4), 0.01)

    assert strict.bar("rows") > loose.bar("rows")
    assert young.bar("rows") > Bars(spans(100, 4), 0.01).bar("rows")
    assert not Bars(spans(5, 4), 0.01).learnt


def test_what_never_changed_may_change_by_next_to_nothing_only():
    bars = Bars([{"nulls of c0": 0.0, "rows": float(i % 3)} for i in range(60)], 0.01)

    assert bars.range("nulls of c0")[1] < 0.15


def test_a_family_with_nothing_on_most_days_is_not_blind_for_the_few_on_which_it_has():
    chance = np.random.default_rng(5)
    names = [f"between of c{i}" for i in range(8)]
    past = [{name: 0.15 * (chance.random() < 0.04) for name in names} for _ in range(150)]

    assert unusual(Bars(past, 0.01 / 12), dict.fromkeys(names, 0.0) | {"between of c3": 0.8})


def test_a_column_may_have_any_name():
    bars = Bars([{"nulls of cost of goods": i % 5 / 50, "rows": float(i % 3)} for i in range(60)], 0.01)

    assert (check_of("nulls of cost of goods"), column_of("nulls of cost of goods")) == ("nulls", "cost of goods")
    assert column_of("link with the label of x") == "x"
    assert (check_of("rows"), column_of("rows")) == ("rows", "")
    assert bars.score("nulls of cost of goods", 0.9) > bars.bar("nulls of cost of goods")


def test_a_measure_without_a_past_of_its_own_is_not_known():
    assert not Bars(spans(50, 5), 0.01).knows("nulls of new")
