"""Read untrusted YAML: every value is checked for its type, every key must be known, every error names its place."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from flywheel.runner.errors import PipelineError

LARGEST = 64 * 2**20
"""Bytes; a compiled pipeline is far smaller (a cluster takes about 1 MB)."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .\-]{0,250}")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_documents(text: str) -> list[Any]:
    """Return the YAML documents of `text`, without ever expanding an alias.

    Raises:
        PipelineError: It is no YAML, is too large, nested too deep, or uses aliases.
    """
    if len(text) > LARGEST:
        raise PipelineError(f"the pipeline is {len(text)} characters long, more than {LARGEST}", "split it.")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_Loader)):
            raise PipelineError("the pipeline uses YAML aliases, which kfp never writes", "compile it anew with kfp.")
        return [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
    except (yaml.YAMLError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        problem = getattr(error, "problem", None) or str(error)
        raise PipelineError(f"the pipeline is no YAML: {problem}{line}", "compile it anew with kfp.") from error
    except RecursionError as error:
        raise PipelineError("the pipeline is nested too deep to be read", "compile it anew with kfp.") from error


def check_name(name: object, where: str) -> str:
    """Return `name` if it may become part of a path; else say where it stands."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or ".." in name:
        raise PipelineError(
            f"{where}: {name!r} is not a name that a file can have",
            "use letters, digits, `_`, `-`, `.` and single spaces, starting with a letter or digit.",
        )
    return name


class Map:
    """A YAML mapping that knows where in the pipeline it stands."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise PipelineError(f"{where}: expected a mapping, found {value!r:.80}", "compile the pipeline anew.")
        self.value: dict[str, Any] = value
        self.where = where

    def __contains__(self, key: str) -> bool:
        return key in self.value

    def only(self, *known: str) -> Map:
        """Return itself, if it has no other keys than these."""
        for key in self.value:
            if key not in known:
                raise PipelineError(
                    f"{self.where}: {key!r} is not something this runner knows",
                    f"known here: {', '.join(known)}. A newer flywheel may know it.",
                )
        return self

    def map(self, key: str) -> Map:
        """Return the mapping under `key`, empty when there is none."""
        return Map(self.value.get(key) or {}, f"{self.where}.{key}")

    def maps(self, key: str) -> Iterator[tuple[str, Map]]:
        """Yield name and mapping of each entry under `key`; the names are checked."""
        inner = self.map(key)
        for name, value in inner.value.items():
            yield check_name(name, inner.where), Map(value if value is not None else {}, f"{inner.where}.{name}")

    def list_of_maps(self, key: str) -> list[Map]:
        """Return the mappings in the list under `key`."""
        return [Map(value, f"{self.where}.{key}[{at}]") for at, value in enumerate(self.items(key))]

    def items(self, key: str) -> list[Any]:
        """Return the list under `key`, empty when there is none."""
        value: list[Any] = self._typed(key, list, "a list", [])
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the list of strings under `key`."""
        for value in self.items(key):
            if not isinstance(value, str):
                raise PipelineError(f"{self.where}.{key}: expected strings, found {value!r:.80}")
        return tuple(self.items(key))

    def text(self, key: str, default: str = "") -> str:
        """Return the string under `key`."""
        return str(self._typed(key, str, "a string", default))

    def flag(self, key: str) -> bool:
        """Return the boolean under `key`, false when there is none."""
        return bool(self._typed(key, bool, "true or false", False))

    def number(self, key: str, default: float = 0.0) -> float:
        """Return the non-negative number under `key`; kfp writes some as strings."""
        value = self.value.get(key, default)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, bool) or not 0 <= number < math.inf:
            raise PipelineError(f"{self.where}.{key}: expected a number of at least 0, found {value!r:.80}")
        return number

    def seconds(self, key: str, default: float = 0.0) -> float:
        """Return the duration under `key`, written as `3.5s`."""
        text = self.text(key)
        if not text:
            return default
        if not re.fullmatch(r"\d+(\.\d+)?s", text):
            raise PipelineError(f"{self.where}.{key}: expected a duration like '60s', found {text!r:.80}")
        return float(text[:-1])

    def json(self, key: str) -> Any:
        """Return the JSON value under `key`."""
        return _json(self.value.get(key), f"{self.where}.{key}")

    def _typed(self, key: str, kind: type, expected: str, default: Any) -> Any:
        value = self.value.get(key)
        if value is None:
            return default
        if not isinstance(value, kind):
            raise PipelineError(f"{self.where}.{key}: expected {expected}, found {value!r:.80}")
        return value


def _json(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise PipelineError(f"{where}: the key {key!r:.80} is not a string", "quote it.")
        return {key: _json(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, list):
        return [_json(inner, f"{where}[{at}]") for at, inner in enumerate(value)]
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise PipelineError(f"{where}: {value!r:.80} is not a JSON value", "quote it, to make a string of it.")
