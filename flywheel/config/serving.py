"""`deploy.log` and `gates.serving`: what is kept of requests, and what a model has to do before it serves."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, field_validator

from flywheel.config.strict import Duration, Strict

_Positive = Annotated[float, Field(gt=0)]


class RequestLog(Strict):
    """Which requests the server keeps, with their answers, for monitoring and for replay."""

    sample: float = Field(gt=0, le=1, description="The share of requests that is kept, from 0 to 1.")
    redact: tuple[str, ...] = Field((), description="Columns that are never written.")
    columns: tuple[str, ...] = Field(
        (), description="Inputs to keep, all of the model's by default; what is no input of it is kept as text."
    )
    rows: int = Field(50_000, ge=1, description="How many rows make a file full.")
    every: Duration = Field(timedelta(minutes=1), description="How long a row may wait until it is in a file, as 1m.")

    @field_validator("every")
    @classmethod
    def _some_time(cls, every: timedelta) -> timedelta:
        """Refuse a file for each moment."""
        if every < timedelta(seconds=1):
            raise ValueError("a file is written once a second at most; give at least 1s")
        return every


class Shadow(Strict):
    """How much the candidate may answer otherwise than the champion did, on logged requests."""

    max_changed: float = Field(ge=0, lt=1, description="Largest share of logged rows whose class changes.")
    rows: int = Field(5000, ge=1, description="How many of the newest logged rows are replayed, at most.")


class ServingGate(Strict):
    """What the packaged model has to do outside the run, before it is promoted; bars hold for each batch size."""

    p50_ms: _Positive | None = Field(None, description="Largest median time of a call, in ms.")
    p99_ms: _Positive | None = Field(None, description="Largest 99th percentile of the time of a call, in ms.")
    batch: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        (1, 32), min_length=1, description="Rows of a call; each size is measured."
    )
    throughput: _Positive | None = Field(None, description="Fewest rows a second, many at once.")
    max_mb: _Positive | None = Field(None, description="Largest size on disk, in MB.")
    memory_mb: _Positive | None = Field(None, description="Largest resident memory of a process that serves it, in MB.")
    parity: bool = Field(True, description="Whether it has to predict what it did when it was analyzed.")
    isolated: bool = Field(False, description="Load it in an environment with only what it declares.")
    shadow: Shadow | None = Field(None, description="Bar for logged requests that the candidate answers too.")
    timeout: Duration = Field(timedelta(minutes=5), description="How long all of it may take, as 5m.")
