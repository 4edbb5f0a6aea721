"""What a trainer takes from `train.parameters`, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from flywheel.errors import ConfigError, meant

P = TypeVar("P", bound=BaseModel)


def read(model: type[P], given: Mapping[str, Any]) -> P:
    """Return `given` as a `model`, whole numbers as such: Kubeflow hands all numbers on as floating-point ones.

    Raises:
        ConfigError: One is not known, or has a value that it cannot have; all faults are named.
    """
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        known = list(model.model_fields)
        faults = [_fault(".".join(map(str, fault["loc"])), fault, known) for fault in error.errors()]
        raise ConfigError("train.parameters are wrong: " + "; ".join(faults), _list(known)) from None


def check_known(given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise a ConfigError for a name that is not in `known`."""
    for key in given:
        if key not in known:
            raise ConfigError(f"train.parameters are wrong: {key} is not known", meant(key, known) or _list(known))


def _list(known: Iterable[str]) -> str:
    return f"known here: {', '.join(known)}."


def _fault(key: str, fault: Any, known: list[str]) -> str:
    if fault["type"] == "extra_forbidden":
        return f"{key} is not known; {meant(key, known)}".rstrip("; ")
    return f"{key}: {fault['msg'].removeprefix('Value error, ')}; found {fault['input']!r}"
