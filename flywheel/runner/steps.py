"""From a task with its inputs to the job of a process, and from what that has left to the task's outputs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flywheel.runner.errors import InputError, OutputError
from flywheel.runner.folder import RunFolder, room
from flywheel.runner.program import Program
from flywheel.runner.result import Artifact, Outputs
from flywheel.runner.spec import Component, Container
from flywheel.runner.values import convert, from_text

_OUTPUT_FILE = "executor_output.json"


def executor_input(component: Component, inputs: Outputs, folder: Path) -> dict[str, Any]:
    """Return kfp's ExecutorInput: what a step is given, and where it has to write.

    Args:
        component: What the step runs.
        inputs: Its parameters and artifacts.
        folder: Where its outputs go.
    """
    artifacts = {name: {"artifacts": [each.to_runtime() for each in many]} for name, many in inputs.artifacts.items()}
    outputs = {
        name: {"artifacts": [Artifact(name, str(folder / name), {}, slot.title, slot.version).to_runtime()]}
        for name, slot in component.out_artifacts.items()
    }
    return {
        "inputs": {"parameterValues": dict(inputs.parameters), "artifacts": artifacts},
        "outputs": {
            "parameters": {name: {"outputFile": str(folder / name)} for name in component.out_parameters},
            "artifacts": outputs,
            "outputFile": str(folder / _OUTPUT_FILE),
        },
    }


def make_job(
    task: str,
    container: Container,
    program: Program,
    given: Mapping[str, Any],
    folder: RunFolder,
    environment: Mapping[str, str],
    cores: int,
    digests: Path | None,
) -> dict[str, Any]:
    """Return what `child` runs; the component's source is written where tracebacks will find it."""
    source = folder.program(container.label)
    path = source / "ephemeral_component.py"
    if not path.exists():
        with room(folder.path):
            source.mkdir(parents=True, exist_ok=True)
            path.write_text(program.source, encoding="utf-8")
    return {
        "task": task,
        "program": str(source),
        "function": program.function,
        "executor_input": given,
        "log": str(folder.log(task)),
        "discard": str(folder.artifacts(task)),
        "cwd": os.getcwd(),
        "env": {**environment, **container.env, "_KFP_RUNTIME": "true"},
        "cores": cores,
        "digests": str(digests or ""),
    }


def read_outputs(component: Component, given: Mapping[str, Any]) -> Outputs:
    """Return what a step that ended well has given.

    Args:
        component: What the step ran.
        given: Its ExecutorInput.

    Raises:
        OutputError: An output is missing, or not of the type declared.
    """
    outputs = given["outputs"]
    written = _read_output_file(Path(outputs["outputFile"]))
    values = written.get("parameterValues") or {}
    parameters = {}
    for name, declared in component.out_parameters.items():
        try:
            if values.get(name) is not None:
                parameters[name] = convert(values[name], declared, f"output {name!r}")
            else:
                text = Path(outputs["parameters"][name]["outputFile"]).read_text(encoding="utf-8")
                parameters[name] = from_text(text, declared, f"output {name!r}")
        except InputError as error:
            raise OutputError(error.message, error.remedy) from error
        except (OSError, UnicodeDecodeError):
            raise OutputError(
                f"the step ended well without its output {name!r}",
                "return it, or write it to its path; None is no value.",
            ) from None
    artifacts = {name: _artifact(name, outputs, written) for name in component.out_artifacts}
    return Outputs(parameters, artifacts)


def _read_output_file(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise OutputError(
            f"what the step has written to {path} cannot be read: {error}", "leave that file to kfp."
        ) from error
    return value if isinstance(value, dict) else {}


def _artifact(name: str, outputs: Mapping[str, Any], written: Mapping[str, Any]) -> tuple[Artifact, ...]:
    planned = outputs["artifacts"][name]["artifacts"][0]
    changed = ((written.get("artifacts") or {}).get(name) or {}).get("artifacts") or [{}]
    kind = planned["type"]
    made = []
    for each in changed:
        uri = str(each.get("uri") or planned["uri"])
        _adopt(each.get("custom_path"), Path(uri))
        metadata = dict(each.get("metadata") or {})
        made.append(Artifact(str(each.get("name") or name), uri, metadata, kind["schemaTitle"], kind["schemaVersion"]))
    return tuple(made)


def _adopt(custom_path: str | None, path: Path) -> None:
    """Bring an artifact that a step has written elsewhere (`artifact.custom_path`) to where its URI points."""
    if not custom_path or Path(custom_path) == path or not Path(custom_path).exists() or path.exists():
        return
    with room(path.parent):
        if Path(custom_path).is_dir():
            shutil.copytree(custom_path, path)
        else:
            shutil.copy2(custom_path, path)
