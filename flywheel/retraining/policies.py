"""Policies: from evidence to a decision, in words and numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flywheel.config import Retrain
from flywheel.retraining.evidence import Evidence, time_between
from flywheel.retraining.losses import LossCurve

Function = Callable[[Evidence], "bool | tuple[bool, str]"]


@dataclass(frozen=True)
class Choice:
    """Whether to train.

    Attributes:
        train: The decision.
        why: It in a sentence.
        facts: The figures behind it.
    """

    train: bool
    why: str
    facts: dict[str, Any] = field(default_factory=dict)


def weigh(retrain: Retrain, evidence: Evidence, function: Function | None = None) -> Choice:
    """Return whether a training is worth it.

    Without a champion it always is. A budget that is spent forbids what any policy wants; `max_age` asks for what any
    policy does not, and so does monitoring where the policy is neither `never` nor a function, which sees that it asks.

    Args:
        retrain: The policy, as `retrain` in flywheel.yaml.
        evidence: What is known.
        function: What the policy `function` asks.

    Raises:
        TypeError: The function does not answer as it should.
    """
    if not evidence.champion:
        return Choice(True, "there is no champion yet")
    choice = _POLICIES[retrain.policy](retrain, evidence, function)
    if not choice.train and evidence.asked and retrain.on_monitor and retrain.policy not in ("never", "function"):
        resting = _resting(retrain, evidence)
        choice = Choice(not resting, f"{evidence.asked}{resting and f'; but {resting}'}", choice.facts)
    if not choice.train and retrain.max_age and evidence.trained:
        waited = time_between(evidence.trained[-1], evidence.span, evidence.every)
        if waited >= retrain.max_age:
            choice = Choice(True, f"the last training is {_days(waited)} old, max_age is {_days(retrain.max_age)}")
    if choice.train and retrain.budget is not None:
        recent = [
            span
            for span in evidence.trained
            if time_between(span, evidence.span, evidence.every) < retrain.budget_period
        ]
        if len(recent) >= retrain.budget:
            spent = f"the budget is spent: {len(recent)} trainings in {_days(retrain.budget_period)}"
            return Choice(False, f"{spent}; otherwise: {choice.why}", choice.facts)
    return choice


def _always(retrain: Retrain, evidence: Evidence, function: Function | None) -> Choice:
    return Choice(True, "the policy is to train for each span")


def _never(retrain: Retrain, evidence: Evidence, function: Function | None) -> Choice:
    return Choice(False, "the policy is to train by hand alone: `flywheel run --set retrain.policy=always`")


def _every(retrain: Retrain, evidence: Evidence, function: Function | None) -> Choice:
    assert retrain.every is not None
    if not evidence.trained:
        return Choice(True, "no training is on record")
    waited = time_between(evidence.trained[-1], evidence.span, evidence.every)
    said = f"the last training was for {evidence.trained[-1]}, {_days(waited)} ago; one is due every "
    return Choice(waited >= retrain.every, said + _days(retrain.every))


def _on_drift(retrain: Retrain, evidence: Evidence, function: Function | None) -> Choice:
    facts = {"moved": sorted(evidence.moved)}
    if resting := _resting(retrain, evidence):
        return Choice(False, resting, facts)
    count = len(evidence.moved)
    if count >= retrain.columns:
        first = next(iter(evidence.moved.values()))
        more = f" (and {count - 1} more)" if count > 1 else ""
        return Choice(True, f"{first}{more}", facts)
    few = f"{count} column{'s' * (count != 1)} moved, {retrain.columns} have to" if count else "no column has moved"
    return Choice(False, f"{few} from what the champion was trained on", facts)


def _on_decay(retrain: Retrain, evidence: Evidence, function: Function | None) -> Choice:
    lost = evidence.lost
    if lost is None:
        return Choice(False, "whether the champion has lost quality cannot be told yet")
    low, high = lost.lower(1 - retrain.confidence), lost.upper(1 - retrain.confidence)
    facts = {"lost": lost.value, "lost_from": low, "lost_to": high}
    if resting := _resting(retrain, evidence):
        return Choice(False, resting, facts)
    assert evidence.then
    assert evidence.now
    said = (
        f"{evidence.metric} is {evidence.now.value:.4g} on the newest spans and was {evidence.then.value:.4g} at the "
        f"promotion: {low:+.2g} to {high:+.2g} lost"
    )
    if low > retrain.tolerated:
        return Choice(True, f"{said}, more than the {retrain.tolerated:g} that is tolerated", facts)
    return Choice(False, f"{said}; more than {retrain.tolerated:g} is not shown", facts)


def _cost_aware(retrain: Retrain, evidence: Evidence, function: Function | None) -> Choice:
    cost = retrain.training_cost
    if cost is None and evidence.hourly_cost is not None and evidence.seconds is not None:
        cost = evidence.seconds / 3600 * evidence.hourly_cost
    if cost is None:
        return Choice(True, "what a training costs is not known yet: set `training_cost`, or `hourly_cost`")
    curve = LossCurve.fit(evidence.gains, evidence.others)
    first = evidence.age - evidence.since + 1
    waiting = curve.between(first, evidence.age + 1) * retrain.loss_cost
    facts = {
        "training_cost": cost,
        "waiting_cost": waiting,
        "loss_now": curve.at(evidence.age),
        "observed": curve.observed,
        "curve": [round(curve.at(age), 6) for age in range(1, max(2 * evidence.age, 28) + 1)],
    }
    ago = f"{evidence.since} span{'s' * (evidence.since != 1)} ago"
    said = (
        f"waiting has cost an expected {waiting:.3g} since the last training, {ago} (the champion "
        f"is {evidence.age} old and {evidence.metric} worse by about {facts['loss_now']:.2g}, by {curve.observed} "
        f"earlier trainings); a training costs {cost:.3g}"
    )
    return Choice(waiting >= cost, said, facts)


def _function(retrain: Retrain, evidence: Evidence, function: Function | None) -> Choice:
    assert function is not None
    answer = function(evidence)
    train, why = answer if isinstance(answer, tuple) else (answer, "")
    if not isinstance(train, bool) or not isinstance(why, str):
        raise TypeError(f"it has to return a bool, or a bool and a sentence, and returned {answer!r}")
    return Choice(train, why or f"{retrain.function} says {'yes' if train else 'no'}")


_POLICIES: dict[str, Callable[[Retrain, Evidence, Function | None], Choice]] = {
    "always": _always,
    "never": _never,
    "every": _every,
    "on_drift": _on_drift,
    "on_decay": _on_decay,
    "cost_aware": _cost_aware,
    "function": _function,
}


def _resting(retrain: Retrain, evidence: Evidence) -> str:
    """Return why it is too early for another training; empty when it is not."""
    if not evidence.trained:
        return ""
    waited = time_between(evidence.trained[-1], evidence.span, evidence.every)
    if waited >= retrain.cooldown:
        return ""
    return f"the last training was {_days(waited)} ago, the cooldown is {_days(retrain.cooldown)}"


def _days(time: Any) -> str:
    days = time.total_seconds() / 86400
    return f"{days:g} day{'s' * (days != 1)}" if days >= 1 else f"{days * 24:g} hours"
