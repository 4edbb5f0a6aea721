"""Policies decide by evidence alone, and say why."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.config import Retrain
from flywheel.evaluation.paired import Estimate
from flywheel.retraining import Evidence, Gain, LossCurve, Reference, weigh
from flywheel.retraining.losses import SLOPE


def known(**more):
    """A champion of ten days ago, trained for then and never since."""
    told = {"span": "2013-06-11", "every": "day", "champion": "3", "age": 10, "since": 10, "trained": ("2013-06-01",)}
    return Evidence(**(told | {"metric": "auc"} | more))


def say(policy, **more):
    return weigh(Retrain.parse(policy), known(**more))


def measured(now, error=0.004, then=0.75):
    return {"then": Reference(then, 0.004, 14), "now": Estimate(now, error, 14, 13)}


@pytest.mark.parametrize("policy", ["never", "every=30d", "on_drift", "on_decay", "cost_aware=9"])
def test_the_first_model_is_always_trained(policy):
    assert say(policy, champion="").train
    assert not say(policy).train


def test_a_period_counts_from_the_last_training_whatever_became_of_its_model():
    assert say("every=10d").train
    assert not say("every=11d").train
    assert not say("every=10d", trained=("2013-06-01", "2013-06-05")).train
    assert say("every=7d").why == "the last training was for 2013-06-01, 10 days ago; one is due every 7 days"


def test_moved_columns_ask_for_a_training_once_the_cooldown_is_over():
    moved = {"temp": "temp of the last week is 30% from what it was", "dest": "dest too"}

    assert not say("on_drift").train
    assert say("on_drift", moved=moved).why == "temp of the last week is 30% from what it was (and 1 more)"
    assert not say("on_drift,columns=3", moved=moved).train
    assert say("on_drift,cooldown=14d", moved=moved).why == "the last training was 10 days ago, the cooldown is 14 days"


def test_decay_has_to_be_shown_not_only_seen():
    assert say("on_decay", **measured(0.73)).train
    assert not say("on_decay", **measured(0.73, error=0.04)).train
    assert not say("on_decay", **measured(0.76)).train
    assert not say("on_decay=0.05", **measured(0.73)).train
    assert say("on_decay").why == "whether the champion has lost quality cannot be told yet"


def test_a_metric_of_which_less_is_better_decays_upward():
    assert say("on_decay", better=-1, **measured(0.77)).train
    assert not say("on_decay", better=-1, **measured(0.73)).train


def test_monitoring_asks_where_a_policy_does_not_but_for_those_that_a_person_has_the_last_word_in():
    asked = {"asked": "monitoring of 2013-06-10: live auc fell"}

    for policy in ("every=30d", "on_drift", "on_decay", "cost_aware=9"):
        assert say(policy, **asked).why == asked["asked"]
        assert say(policy, **asked).train
        assert not say(f"{policy},on_monitor=false", **asked).train
    assert not say("never", **asked).train
    assert not weigh(Retrain(policy="function", function="mine:policy"), known(**asked), lambda seen: False).train
    resting = say("every=30d,cooldown=14d", **asked)
    assert not resting.train
    assert resting.why == f"{asked['asked']}; but the last training was 10 days ago, the cooldown is 14 days"


def test_age_asks_where_a_policy_does_not_and_a_budget_forbids_what_it_asks():
    assert say("never,max_age=10d").why == "the last training is 10 days old, max_age is 10 days"
    spent = say("always,budget=1,budget_period=30d")
    assert not spent.train
    assert spent.why == ("the budget is spent: 1 trainings in 30 days; otherwise: the policy is to train for each span")
    assert say("always,budget=1,budget_period=10d").train


def test_a_policy_of_ones_own_sees_the_evidence():
    retrain = Retrain(policy="function", function="mine:policy")

    assert weigh(retrain, known(), lambda seen: (seen.age > 5, "it is old")).why == "it is old"
    assert not weigh(retrain, known(), lambda seen: False).train
    with pytest.raises(TypeError, match="has to return a bool"):
        weigh(retrain, known(), lambda seen: 1.0)


def test_waiting_costs_more_the_longer_it_lasts_until_a_training_is_due():
    """By the default line the loss is 0.0005 a span: eleven spans cost 66 times that."""
    assert say(f"cost_aware={66 * SLOPE * 0.99}").train
    assert not say(f"cost_aware={66 * SLOPE * 1.01}").train
    assert say(f"cost_aware={66 * SLOPE * 1.01},loss_cost=1.1").train


def test_a_training_costs_its_hours_where_no_price_is_given():
    dear = say("cost_aware", seconds=3600.0, hourly_cost=2.5)

    assert not dear.train
    assert dear.facts["training_cost"] == 2.5
    assert say("cost_aware").why.startswith("what a training costs is not known yet")


def test_trainings_that_gained_nothing_are_learned_from():
    futile = tuple(Gain(age, 0.0, 0.001) for age in (5, 10, 15, 20) * 3)
    fruitful = tuple(Gain(age, 0.002 * age, 0.001) for age in (5, 10, 15, 20) * 3)

    assert not say("cost_aware=0.03", gains=futile).train
    assert say("cost_aware=0.03").train
    assert say("cost_aware=0.08", gains=fruitful).train
    assert not say("cost_aware=0.08").train


def test_many_observations_outweigh_the_line_and_few_do_not():
    many = LossCurve.fit([Gain(14, 0.028, 0.002)] * 100)
    one = LossCurve.fit([Gain(14, 0.028, 0.002)])

    assert many.at(14) == pytest.approx(0.028, abs=1e-3)
    assert 14 * SLOPE < one.at(14) < many.at(14)


def test_other_flywheels_give_the_line_while_history_is_short():
    others = [Gain(age, 0.003 * age, 0.001) for age in range(5, 60, 5)]

    assert LossCurve.fit([], others).at(7) == pytest.approx(0.021, rel=0.3)
    assert LossCurve.fit([]).at(7) == pytest.approx(7 * SLOPE)


@given(
    st.lists(
        st.builds(Gain, st.integers(0, 500), st.floats(-0.2, 0.2), st.floats(0, 0.1)),
        max_size=30,
    )
)
def test_the_loss_never_falls_with_age_and_is_never_below_zero(gains):
    curve = LossCurve.fit(gains)

    assert curve.at(0) == 0
    assert (curve.losses >= 0).all()
    assert (np.diff(curve.losses) >= -1e-12).all()


def test_where_loss_grows_steadily_the_period_is_the_one_that_costs_least():
    """Of all periods k, k = sqrt(2 cost / slope) has the least (cost + loss of k spans) / k."""
    cost = 0.05
    gains = [Gain(age, 0.001 * age, 0.0001) for age in range(1, 60)]
    waited = next(
        age for age in range(1, 100) if say(f"cost_aware={cost}", age=age, since=age, gains=tuple(gains)).train
    )

    def price(period):
        return (cost + sum(0.001 * age for age in range(1, period + 1))) / period

    assert abs(waited - min(range(1, 100), key=price)) <= 1


@pytest.mark.parametrize(
    "text", ["always", "every=7d", "on_decay=0.01,max_age=28d", "cost_aware=0.05,loss_cost=2", "on_drift,columns=2"]
)
def test_a_policy_is_written_as_it_is_read(text):
    assert str(Retrain.parse(text)) == text
    assert Retrain.parse(str(Retrain.parse(text))) == Retrain.parse(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sometimes", "Input should be 'always'"),
        ("every", "the policy 'every' needs `every`"),
        ("always=3", "'always' takes no value"),
        ("on_decay,28d", "'28d' is no setting"),
        ("on_drift,columns=0", "greater than or equal to 1"),
    ],
)
def test_what_is_no_policy_is_refused_with_a_reason(text, why):
    with pytest.raises(ValueError, match=why):
        Retrain.parse(text)


def test_durations_survive():
    assert Retrain.parse("every=12h").every == timedelta(hours=12)


def test_futile_trainings_of_young_champions_do_not_put_off_the_next_for_ever():
    """A cheap training is tried early and gains nothing, which says little of a champion that is four weeks old."""
    early = tuple(Gain(age, -0.002, 0.01) for age in (1, 2, 3, 2, 1, 3, 2, 1, 2, 3))

    assert say("cost_aware=0.05", age=28, since=26, gains=early).train


def test_what_a_step_is_handed_in_json_is_what_was_written_and_a_bare_number_in_yaml_is_none():
    written = Retrain.parse("on_decay=0.01,cooldown=36h,max_age=28d,budget=3")

    assert Retrain.told(written.model_dump(mode="json", exclude_none=True), "retrain", "…") == written
    with pytest.raises(ValueError, match="a duration is written as 90s"):
        Retrain.model_validate({"policy": "every", "every": 7})
