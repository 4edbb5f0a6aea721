"""What `{{$...}}` stands for, in inputs and in container commands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from flywheel.runner.errors import InputError, PipelineError
from flywheel.runner.values import to_text

_ANY = re.compile(r"\{\{\$(?P<path>[^{}]*)\}\}")
_INPUT = re.compile(r"\.inputs\.parameters\[(['\"])(?P<name>.+?)\1\]")
_ARTIFACT = re.compile(r"\.(?P<side>inputs|outputs)\.artifacts\[(['\"])(?P<name>.+?)\2\]\.(?P<what>uri|path|value)")
_METADATA = re.compile(
    r"\.(?P<side>inputs|outputs)\.artifacts\[(['\"])(?P<name>.+?)\2\]\.metadata(\[(['\"])(?P<key>.+?)\5\])?"
)
_OUTPUT = re.compile(r"\.outputs\.parameters\[(['\"])(?P<name>.+?)\1\]\.output_file")


def fill(value: Any, parameters: Mapping[str, Any], job: Mapping[str, str]) -> Any:
    """Return a constant of the pipeline with its placeholders replaced, also inside text, lists and dicts.

    What is put in is never looked at again: data cannot smuggle placeholders in.

    Args:
        value: The constant.
        parameters: The task's other parameters, for `{{$.inputs.parameters['name']}}`.
        job: What the run is called, by placeholder: `{"pipeline_job_uuid": ...}`.

    Raises:
        InputError: A placeholder has no value.
    """
    if isinstance(value, list):
        return [fill(each, parameters, job) for each in value]
    if isinstance(value, dict):
        return {fill(key, parameters, job): fill(each, parameters, job) for key, each in value.items()}
    if not isinstance(value, str) or "{{$" not in value:
        return value

    def replace(match: re.Match[str]) -> str:
        path = match["path"]
        if path[1:] in job:
            return job[path[1:]]
        wanted = _INPUT.fullmatch(path)
        if wanted is None:
            raise InputError(
                f"the placeholder {match[0]!r} is not known here", "known: job, task and input parameters."
            )
        if parameters.get(wanted["name"]) is None:
            raise InputError(f"the placeholder {match[0]!r} has no value", "give the parameter, or a default.")
        return to_text(parameters[wanted["name"]])

    return _ANY.sub(replace, value)


def command(parts: tuple[str, ...], executor_input: Mapping[str, Any], job: Mapping[str, str]) -> list[str]:
    """Return a container's command with placeholders, Concat and IfPresent resolved."""
    inputs = executor_input["inputs"]
    present = {*inputs["parameterValues"], *inputs["artifacts"]}
    resolved: list[str] = []
    for part in parts:
        for text in _flatten(_structure(part, present)):
            resolved.append(_ANY.sub(_command_value(executor_input, job), text))
    return resolved


def _structure(part: str, present: set[str]) -> Any:
    if not part.startswith(('{"Concat":', '{"IfPresent":')):
        return part
    try:
        return _resolve(json.loads(part), present)
    except (ValueError, KeyError, RecursionError) as error:
        raise PipelineError(f"the placeholder {part!r:.200} is malformed", "compile the pipeline anew.") from error


def _resolve(node: Any, present: set[str]) -> Any:
    if isinstance(node, str) or node is None:
        return node
    if isinstance(node, list):
        return [_resolve(each, present) for each in node]
    if "Concat" in node:
        return "".join(_flatten([_resolve(each, present) for each in node["Concat"]]))
    choice = node["IfPresent"]
    return _resolve(choice["Then"] if choice["InputName"] in present else choice.get("Else"), present)


def _flatten(node: Any) -> list[str]:
    if node is None:
        return []
    return [node] if isinstance(node, str) else [text for each in node for text in _flatten(each)]


def _command_value(executor_input: Mapping[str, Any], job: Mapping[str, str]) -> Callable[[re.Match[str]], str]:
    inputs, outputs = executor_input["inputs"], executor_input["outputs"]

    def replace(match: re.Match[str]) -> str:
        path = match["path"]
        if path == "":
            return json.dumps(executor_input)
        if path in (".outputs.output_file", ".outputMetadataUri"):
            return str(outputs["outputFile"])
        if path[1:] in job:
            return job[path[1:]]
        if wanted := _INPUT.fullmatch(path):
            return to_text(inputs["parameterValues"].get(wanted["name"]))
        if wanted := _OUTPUT.fullmatch(path):
            return str(outputs["parameters"][wanted["name"]]["outputFile"])
        if wanted := _ARTIFACT.fullmatch(path):
            return str(_first(executor_input, wanted)["uri"])
        if wanted := _METADATA.fullmatch(path):
            metadata = _first(executor_input, wanted)["metadata"]
            return to_text(metadata.get(wanted["key"]) if wanted["key"] else metadata)
        raise PipelineError(f"the placeholder {match[0]!r} is not known", "a newer flywheel may know it.")

    return replace


def _first(executor_input: Mapping[str, Any], wanted: re.Match[str]) -> Any:
    found = executor_input[wanted["side"]]["artifacts"].get(wanted["name"])
    if not found or not found["artifacts"]:
        raise InputError(f"there is no artifact {wanted['name']!r} for {wanted[0]!r}")
    return found["artifacts"][0]
