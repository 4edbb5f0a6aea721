"""Conditions and selectors: the Common Expression Language, by a library, with the backend's meaning."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from flywheel.runner.errors import ConditionError, MissingLibrary
from flywheel.runner.values import integral, to_text

_FIELD = re.compile(r'parseJson\(string_value\)\["([^"\\]*)"\]')
"""What kfp compiles a loop's `item.field` to; CEL gives the same, in 10 ms more."""


def holds(condition: str, parameters: Mapping[str, Any]) -> bool:
    """Return whether a task's condition is true.

    Args:
        condition: A CEL expression over `inputs.parameter_values`.
        parameters: The task's parameters; numbers are doubles in CEL, as on a cluster.

    Raises:
        ConditionError: It cannot be evaluated, or is neither true nor false. That is not the same as false.
    """
    values = {name: integral_to_double(value) for name, value in parameters.items()}
    result = _evaluate(condition, {"inputs": {"parameter_values": values}})
    if not isinstance(result, _types().BoolType):
        raise ConditionError(f"the condition {condition!r} gives {result!r}, neither true nor false")
    return bool(result)


def select(selector: str, value: Any) -> Any:
    """Return the part of `value` that a parameter's selector means.

    Raises:
        ConditionError: There is no such part.
    """
    field = _FIELD.fullmatch(selector)
    if field:
        inner = json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value
        if isinstance(inner, dict) and field[1] in inner:
            return inner[field[1]]
        raise ConditionError(f"there is no {field[1]!r} in {value!r:.200}", "give every item of the loop that key.")
    celpy = _library()
    result = _evaluate(selector, {"string_value": to_text(value)})
    return integral(json.loads(json.dumps(result, cls=celpy.CELJSONEncoder)))


def integral_to_double(value: Any) -> Any:
    """Return `value` with every number as a float: a protobuf value has no other."""
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, list):
        return [integral_to_double(each) for each in value]
    if isinstance(value, dict):
        return {key: integral_to_double(each) for key, each in value.items()}
    return value


def _evaluate(expression: str, variables: Mapping[str, Any]) -> Any:
    celpy = _library()
    try:
        program = _environment().program(
            _compiled(expression), functions={"parseJson": _parse_json, "_==_": _equal, "_!=_": _not_equal}
        )
        return program.evaluate({name: celpy.json_to_cel(value) for name, value in variables.items()})
    except (celpy.CELEvalError, celpy.CELParseError, TypeError, ValueError, KeyError, RecursionError) as error:
        reason = str(error.args[0] if error.args else error).split(" (in activation")[0].splitlines()[0]
        raise ConditionError(
            f"the expression {expression!r} cannot be evaluated: {reason}",
            f"it was given {json.dumps(variables, default=str)[:500]}.",
        ) from error


def _library() -> Any:
    try:
        import celpy
    except ImportError as error:
        raise MissingLibrary(
            "this pipeline has conditions, and the library for them is missing", "pip install 'ai-flywheel[local]'"
        ) from error
    return celpy


@cache
def _environment() -> Any:
    return _library().Environment()


@cache
def _compiled(expression: str) -> Any:
    return _environment().compile(expression)


def _types() -> Any:
    from celpy import celtypes

    return celtypes


def _parse_json(text: Any) -> Any:
    celpy = _library()
    return celpy.json_to_cel(json.loads(str(text)))


def _equal(left: Any, right: Any) -> Any:
    """Compare as cel-go does: numbers by value whatever their type, values of different types are not equal."""
    kinds = _types()
    numbers = (kinds.IntType, kinds.UintType, kinds.DoubleType)
    if isinstance(left, numbers) and isinstance(right, numbers):
        return kinds.BoolType(float(left) == float(right))
    if isinstance(left, Exception):
        return left
    if isinstance(right, Exception):
        return right
    return kinds.BoolType(type(left) is type(right) and bool(left == right))


def _not_equal(left: Any, right: Any) -> Any:
    result = _equal(left, right)
    return result if isinstance(result, Exception) else _types().BoolType(not result)
