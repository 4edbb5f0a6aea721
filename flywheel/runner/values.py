"""Values of parameters: as the backend converts and checks them, except that an int stays an int."""

from __future__ import annotations

import json
from typing import Any

from flywheel.runner.errors import InputError
from flywheel.runner.spec import BOOLEAN, DOUBLE, INTEGER, LIST, STATUS, STRING, STRUCT, TASK_CONFIG, Parameter

_PYTHON = {
    INTEGER: "an int", DOUBLE: "a float", STRING: "a str", BOOLEAN: "a bool", LIST: "a list", STRUCT: "a dict",
    STATUS: "a task status", TASK_CONFIG: "a task config",
}  # fmt: skip
_EXACT = 2**53
"""Beyond this a double does not hold every integer, so a float that large is left as it is."""


def convert(value: Any, parameter: Parameter, where: str) -> Any:
    """Return `value` as a parameter of this type receives it.

    Anything may become a string, as on a cluster; nothing else is converted.

    Args:
        value: A JSON value, not None.
        parameter: What the component declares.
        where: What to call the input in an error.

    Raises:
        InputError: The value has another type, or is not one of the literals allowed.
    """
    converted = _convert(value, parameter.type, where)
    if parameter.literals and not any(converted == literal for literal in map(integral, parameter.literals)):
        allowed = ", ".join(repr(literal) for literal in parameter.literals)
        raise InputError(f"{where}: {converted!r} is not allowed", f"allowed: {allowed}.")
    return converted


def _convert(value: Any, kind: str, where: str) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == STRING:
        return value if isinstance(value, str) else to_text(value)
    if kind == DOUBLE and is_number:
        return float(value)
    if kind == INTEGER and is_number and value == integral(value) and isinstance(integral(value), int):
        return integral(value)
    if kind == BOOLEAN and isinstance(value, bool):
        return value
    if kind == LIST and isinstance(value, list):
        return integral(value)
    if kind in (STRUCT, STATUS, TASK_CONFIG) and isinstance(value, dict):
        return integral(value)
    hint = " Declare the list that it loops over with its item type, as in `List[int]`." if "loop-item" in where else ""
    raise InputError(f"{where}: expected {_PYTHON[kind]}, got {value!r:.80}", f"give {_PYTHON[kind]}.{hint}")


def integral(value: Any) -> Any:
    """Return `value` with every whole float as an int: JSON knows one kind of number, kfp writes 2 as 2.0."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    if isinstance(value, list):
        return [integral(each) for each in value]
    if isinstance(value, dict):
        return {key: integral(each) for key, each in value.items()}
    return value


def to_text(value: Any) -> str:
    """Return `value` as it stands in text: numbers without a trailing `.0`, the rest as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(integral(value), separators=(",", ":"), ensure_ascii=False)


def from_text(text: str, parameter: Parameter, where: str) -> Any:
    """Return the value that `text` (a command line argument, an output file) stands for.

    Raises:
        InputError: It is no value of that type.
    """
    if parameter.type == STRING:
        return convert(text, parameter, where)
    try:
        value = json.loads(text.lower() if parameter.type == BOOLEAN else text)
    except (ValueError, RecursionError):
        raise InputError(
            f"{where}: expected {_PYTHON[parameter.type]}, got {text!r:.80}", "write it as JSON."
        ) from None
    return convert(value, parameter, where)
