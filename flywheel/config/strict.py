"""What all models of `flywheel.yaml` share."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _duration(value: Any) -> Any:
    """Read `90s`, `30m`, `6h`, `2d` or `1w`."""
    if isinstance(value, timedelta):
        return value
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", str(value).strip())
    if not parts:
        raise ValueError("a duration is written as 90s, 30m, 6h, 2d or 1w")
    try:
        return timedelta(**{_UNITS[parts[2]]: float(parts[1])})
    except OverflowError:
        raise ValueError("a duration is at most some million years") from None


def _seconds(duration: timedelta) -> float:
    return duration.total_seconds()


Duration = Annotated[
    timedelta, BeforeValidator(_duration), PlainSerializer(_seconds, return_type=float, when_used="json")
]
"""A time that passes, as `6h`; in JSON it is seconds."""


class Strict(BaseModel):
    """Unknown keys are refused, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
