"""A request that a model answers, in the Open Inference Protocol, made from its own input example."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import yaml

_DATATYPES = {
    "boolean": "BOOL",
    "integer": "INT32",
    "long": "INT64",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
    "datetime": "BYTES",
    "binary": "BYTES",
}


def example_request(model: Path) -> dict[str, Any] | None:
    """Return a V2 request for one row of the model's input example, without MLflow; None when it has no example.

    Args:
        model: MLflow model folder with a signature of named columns.
    """
    about = yaml.safe_load((model / "MLmodel").read_text())
    saved, signature = about.get("saved_input_example_info"), about.get("signature")
    if not saved or not signature or not (model / saved["artifact_path"]).is_file():
        return None
    example = json.loads((model / saved["artifact_path"]).read_text())
    types = {column.get("name"): column["type"] for column in json.loads(signature["inputs"])}
    if not isinstance(example, dict) or not set(types) <= set(example.get("columns", ())):
        return None
    whole = [row for row in example["data"] if None not in row]
    row = dict(zip(example["columns"], (whole or example["data"])[0], strict=True))
    return {
        "inputs": [
            {"name": name, "datatype": _DATATYPES[kind], "shape": [1, 1], "data": [_sent(row[name], kind)]}
            for name, kind in types.items()
        ]
    }


def _sent(value: Any, kind: str) -> Any:
    """Return a value of an input example as a request carries it."""
    # MLflow breaks base64 into lines, and MLServer takes what has line ends for the bytes themselves.
    return "".join((value or "").split()) if kind == "binary" else value


def curl_line(serving: Path, name: str, url: str) -> str:
    """Return the command that asks the server at `url` for a prediction of the model in service.

    Args:
        serving: The serving folder.
        name: Of the model.
        url: Where the server listens, as `http://127.0.0.1:8080`.
    """
    request = example_request(serving / name / "current")
    if request is None:
        return f"curl -s {url}/v2/models/{name}"
    body = shlex.quote(json.dumps(request, ensure_ascii=False))
    return f"curl -s {url}/v2/models/{name}/infer -H 'content-type: application/json' -d {body}"
