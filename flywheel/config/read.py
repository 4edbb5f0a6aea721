"""How `flywheel.yaml` is read, with profiles and overrides, and what is said of what is wrong in it."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from flywheel.config.project import Project
from flywheel.config.strict import PATTERNS
from flywheel.errors import ConfigError, meant

FILE = "flywheel.yaml"


def load(folder: Path, profile: str | None = None, overrides: Iterable[str] = ()) -> Project:
    """Return the project declared in `folder`, with a profile and `key.sub=value` overrides laid over it.

    Raises:
        ConfigError: The file is missing, is no YAML, or a key or value in it is wrong; all faults are named.
    """
    file = folder / FILE
    values = _read(file)
    profiles = values.pop("profiles", None) or {}
    if not isinstance(profiles, dict):
        raise ConfigError(f"{file}: profiles is {profiles!r}", "write `profiles: {name: {key: value}}`.")
    if profile is not None:
        if profile not in profiles:
            known = ", ".join(sorted(profiles)) or "none"
            raise ConfigError(f"{file} has no profile {profile!r}", f"those it has: {known}.")
        values = _merge(values, profiles[profile])
    for override in overrides:
        values = _merge(values, _parse_override(override))
    try:
        return Project.model_validate(values)
    except ValidationError as error:
        faults = [_explain(fault, values) for fault in error.errors()]
        places = "1 place" if len(faults) == 1 else f"{len(faults)} places"
        raise ConfigError(f"{file} is wrong in {places}:\n  " + "\n  ".join(faults)) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {FILE} in {str(file.parent)!r}", "give the folder of a flywheel, or write that file."
        ) from None
    except NotADirectoryError:
        raise ConfigError(f"{str(file.parent)!r} is not a folder", "give the folder of a flywheel.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text: {error}", "save it as UTF-8.") from None
    except (yaml.YAMLError, ValueError) as error:  # the latter for 2013-02-30, a date that there is not
        raise ConfigError(f"{file} is not YAML: {error}", "mend it at that line.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file} holds {type(values).__name__}, not keys and values", "begin with `name: …`.")
    return values


def _merge(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {key: _merge(below.get(key), value) for key, value in above.items()}


def _parse_override(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"--set {text!r} is not understood", "write it as key.sub=value, as source.window=7.")
    try:
        nested: Any = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"--set {text!r}: {value!r} is not a YAML value", "quote it.") from None
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return dict(nested)


def _explain(fault: Mapping[str, Any], values: dict[str, Any]) -> str:
    """Say in one line which key is wrong and what to write instead."""
    loc = fault["loc"]
    if fault["type"] == "value_error" and loc and isinstance(around := _locate(loc[:-1], values)[1], dict):
        loc = loc if loc[-1] in around else loc[:-1]  # what is wrong is a whole model, named by its union tag
    where, found = _locate(loc, values)
    key = ".".join(str(part) for part in where)
    if fault["type"] == "extra_forbidden":
        known = sorted(_known_keys(fault["loc"][:-1], values))
        hint = meant(str(where[-1]), known).rstrip() or f"known here: {', '.join(known)}."
        return f"{key}: unknown key; {hint}"
    if fault["type"] == "missing":
        return f"{key}: is missing; add it."
    told = PATTERNS.get(fault["ctx"]["pattern"]) if fault["type"] == "string_pattern_mismatch" else None
    message = told or str(fault["msg"]).removeprefix("Value error, ")
    secret = key in ("ledger.tracking_uri", "train.tune.storage")
    return (
        (f"{key}: " if key else "")
        + message
        + ("" if secret or isinstance(found, dict | list) else f"; found {found!r}")
    )


def _locate(loc: tuple[Any, ...], values: Any) -> tuple[list[Any], Any]:
    """Return the user's own path to a fault, without the union tags that pydantic puts between, and the value there."""
    path: list[Any] = []
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(values, dict) and part not in values and not last:
            continue
        path.append(part)
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            values = None
    return path, values


def _known_keys(loc: tuple[Any, ...], values: dict[str, Any]) -> set[str]:
    """Return the keys that the model at `loc` knows."""
    models: list[type[BaseModel]] = [Project]
    for part in _locate((*loc, ""), values)[0][:-1]:
        if not isinstance(part, int):
            fields = [
                field for model in models for name, field in model.model_fields.items() if part in (name, field.alias)
            ]
            models = [model for field in fields for model in _models_in(field.annotation)]
    if loc and len(models) > 1:
        models = [model for model in models if str(loc[-1]).replace("_", "") == model.__name__.lower()] or models
    return {field.alias or name for model in models for name, field in model.model_fields.items()}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and get_origin(annotation) is None:
        return [annotation]
    if get_origin(annotation) in (tuple, Union, types.UnionType, Annotated):
        return [model for part in get_args(annotation) for model in _models_in(part)]
    return []
