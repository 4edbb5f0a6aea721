"""`monitor`: what is looked at once a model is in service, and when it is time to retrain or to wake somebody."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, field_validator

from flywheel.config.schedule import Schedule
from flywheel.config.strict import Duration, Strict

_Share = Annotated[float, Field(gt=0, le=1)]


class Monitor(Strict):
    """What is watched of a model in service; everything has a default, so the section may be left out."""

    labels: str | None = Field(
        None, description="SQL file with @start and @end: the labels that arrived then, with their `id` and `arrived`."
    )
    id: tuple[str, ...] = Field(
        ("flywheel_request",), min_length=1, description="Columns that a logged request and its label share."
    )
    arrived: str = Field("arrived", description="Column of `labels`: when a label became known.")
    delay: Duration = Field(timedelta(days=7), description="A label that is later than this is not waited for, as 7d.")
    spans: int = Field(14, ge=1, description="How many of the newest spans of requests live quality is measured on.")
    margin: float = Field(
        0.02, ge=0, description="How far live quality may fall below what the champion was judged at."
    )
    max_error_rate: float = Field(0.01, ge=0, le=1, description="Largest share of requests that the model fails.")
    p99_ms: float | None = Field(None, gt=0, description="Largest 99th percentile of the time of a request, in ms.")
    skew: dict[str, _Share] = Field(
        {}, description="Column: largest distance from the training window, where its own history is not to decide."
    )

    schedule: Schedule | None = Field(
        None, description="When a cluster looks, as {cron: 0 * * * *}; by `flywheel schedule apply`."
    )

    @field_validator("schedule")
    @classmethod
    def _looks_at_the_newest(cls, schedule: Schedule | None) -> Schedule | None:
        if schedule and schedule.catch_up != "latest":
            raise ValueError("monitoring looks at the newest span alone: leave catch_up out")
        return schedule

    @field_validator("labels")
    @classmethod
    def _a_file(cls, labels: str | None) -> str | None:
        if labels is not None and not labels.strip():
            raise ValueError("names no file; leave it out when there are no labels")
        return labels
