"""What all models of `flywheel.yaml` share."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError, ValidationInfo

from flywheel.errors import ConfigError

FUNCTION = r"^[\w.]+:\w+$"
NAME = r"^[a-z][a-z0-9-]{0,61}[a-z0-9]$"
WORD = r"^[A-Za-z_]\w*$"
PATTERNS = {
    FUNCTION: "write it as module:function",
    NAME: "it takes 2 to 63 small letters, digits and hyphens, a letter first",
    WORD: "it takes letters, digits and _, no digit first",
}
"""What to write where a text does not match, by the pattern."""
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _duration(value: Any, info: ValidationInfo) -> Any:
    """Read `90s`, `30m`, `6h`, `2d` or `1w`, and in JSON the seconds that are written there."""
    if isinstance(value, timedelta):
        return value
    if info.mode == "json" and isinstance(value, int | float) and not isinstance(value, bool):
        return timedelta(seconds=value)
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

    @classmethod
    def told(cls, values: Mapping[str, Any], where: str, example: str) -> Self:
        """Return what a step was handed of flywheel.yaml, as JSON values.

        Args:
            values: As `model_dump(mode="json")` gave them.
            where: The section, for messages.
            example: How it is written.

        Raises:
            ConfigError: They are none.
        """
        try:
            return cls.model_validate_json(json.dumps(dict(values)))
        except ValidationError as error:
            fault = error.errors()[0]
            at = ".".join(str(part) for part in fault["loc"]) or "it"
            raise ConfigError(f"{where} is wrong: {at}: {fault['msg']}", f"write it as `{example}`.") from None
