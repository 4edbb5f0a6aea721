"""`retrain`: when a model in service is worth a new training."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from flywheel.config.strict import FUNCTION, Duration, Strict

Policy = Literal["always", "never", "every", "on_drift", "on_decay", "cost_aware", "function"]
_MAIN = {"every": "every", "on_decay": "tolerated", "cost_aware": "training_cost", "function": "function"}
"""The setting that a policy is known by, for those that have one."""


class Retrain(Strict):
    """When a span's data is worth a training; the first model is always trained, and so is one for bad data never."""

    policy: Policy = Field(
        "always",
        description="always: for each span. every: after a time. on_drift: when columns have moved from what the "
        "champion was trained on. on_decay: when its quality is shown to have fallen. cost_aware: when the loss to be "
        "expected from waiting passes the cost of a training. function: one of your own. never: by hand alone.",
    )
    every: Duration | None = Field(None, description="For `every`: time from one training to the next, as 7d.")
    tolerated: float = Field(0.0, ge=0, description="For `on_decay`: loss of the metric that is no reason to train.")
    confidence: float = Field(
        0.9, gt=0.5, lt=1, description="For `on_decay`: how surely more than `tolerated` has to be lost."
    )
    columns: int = Field(1, ge=1, description="For `on_drift`: how many columns have to have moved.")
    training_cost: float | None = Field(
        None, gt=0, description="For `cost_aware`: what a training costs; by default its hours at `hourly_cost`."
    )
    loss_cost: float = Field(
        1.0,
        gt=0,
        description="For `cost_aware`: what it costs to serve for one span with a metric worse by 1; in the unit of "
        "`training_cost`.",
    )
    function: str | None = Field(
        None, pattern=FUNCTION, description="For `function`: module:function; it takes the evidence."
    )
    cooldown: Duration = Field(
        timedelta(0),
        description="Time after a training in which `on_drift`, `on_decay` and monitoring do not ask for another.",
    )
    on_monitor: bool = Field(
        True,
        description="Train also when `flywheel monitor` says `retrain` of the model in service and no training has "
        "answered that; not for `never` and `function`.",
    )
    max_age: Duration | None = Field(None, description="Time after which to train whatever the policy says, as 28d.")
    budget: int | None = Field(None, ge=1, description="Trainings in `budget_period` at most.")
    budget_period: Duration = Field(timedelta(days=30), description="Period of `budget`.")

    @model_validator(mode="after")
    def _has_what_its_policy_needs(self) -> Retrain:
        for policy in ("every", "function"):
            if self.policy == policy and getattr(self, policy) is None:
                raise ValueError(f"the policy {policy!r} needs `{policy}`")
        return self

    @classmethod
    def parse(cls, text: str) -> Retrain:
        """Return what `NAME[=VALUE][,SETTING=VALUE…]` says, as `every=7d` or `on_decay=0.01,max_age=28d`.

        Raises:
            ValueError: It says nothing of the kind.
        """
        first, *rest = [part.strip() for part in text.split(",")]
        name, _, value = first.partition("=")
        told: dict[str, Any] = {"policy": name}
        if value and name not in _MAIN:
            raise ValueError(f"{name!r} takes no value: write it as `{name}`, or `{name},max_age=28d`")
        if value:
            told[_MAIN[name]] = value
        for part in rest:
            key, equals, value = part.partition("=")
            if not equals:
                raise ValueError(f"{part!r} is no setting: write it as `max_age=28d`")
            told[key.strip()] = value.strip()
        return cls.model_validate(told)

    def __str__(self) -> str:
        """Return it as `parse` reads it."""
        told = self.model_dump(exclude_defaults=True)
        told.pop("policy", None)
        main = told.pop(_MAIN.get(self.policy, ""), None)
        first = self.policy if main is None else f"{self.policy}={_short(main)}"
        return ",".join([first, *(f"{key}={_short(value)}" for key, value in told.items())])


def _short(value: Any) -> str:
    if not isinstance(value, timedelta):
        return f"{value:g}" if isinstance(value, float) else str(value)
    seconds = value.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
