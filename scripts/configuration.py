"""Write docs/configuration.md and docs/flywheel.schema.json from the models of `flywheel.config`."""

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from flywheel import config
from flywheel.config import Project

DOCS = Path(__file__).parent.parent / "docs"
UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def schema() -> dict[str, Any]:
    """Return the JSON schema of flywheel.yaml, profiles included."""
    _, found = models_json_schema([(Project, "validation")], title="flywheel.yaml")
    project = found["$defs"]["Project"]
    project["properties"]["profiles"] = {
        "type": "object",
        "additionalProperties": {"type": "object"},
        "description": "Name: keys that `--profile` lays over the others.",
    }
    found = _plain(found)
    for name, model in found["$defs"].items():
        for key, field in getattr(config, name).model_fields.items():
            described = {"description": field.description} if field.description else {}
            model["properties"][field.alias or key] = _plain(model["properties"][field.alias or key] | described)
    return found | {"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": "#/$defs/Project"}


def _plain(node: Any) -> Any:
    """Return the schema as every version of pydantic would have written it: they say the same in several ways."""
    if isinstance(node, list):
        return [_plain(part) for part in node]
    if not isinstance(node, dict):
        return int(node) if isinstance(node, float) and node.is_integer() else node
    plain = {key: _plain(value) for key, value in node.items()}
    if len(plain.get("allOf", ())) == 1:
        plain |= plain.pop("allOf")[0]
    if "const" in plain:
        plain.pop("enum", None)
    if plain.get("additionalProperties") is True:
        del plain["additionalProperties"]
    return dict(sorted(plain.items()))


def reference(found: dict[str, Any]) -> str:
    """Return the page: one table a model, in the order in which they are met."""
    text = "# flywheel.yaml\n\nMade from `flywheel.config` by `make docs`. For completion in an editor, begin the file "
    text += "with\n`# yaml-language-server: $schema=<path to>/flywheel.schema.json`.\n"
    seen, waiting = set(), [("", "Project")]
    while waiting:
        path, name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        model = found["$defs"][name]
        text += f"\n## {path or 'Top level'}\n\n{model.get('description', '')}\n\n"
        text += "| key | type | default | meaning |\n|---|---|---|---|\n"
        for key, field in _in_order(name, model["properties"]):
            inner = _references(field)
            below = f"{path}.{key}".lstrip(".")
            waiting += [(f"{below} ({each})" if len(inner) > 1 else below, each) for each in inner]
            default = "required" if key in model.get("required", ()) else f"`{_written(field)}`"
            if inner and default != "required":
                default = ""
            text += f"| `{key}` | {_type(field)} | {default} | {field.get('description', '')} |\n"
    return text


def _written(field: dict[str, Any]) -> str:
    """Return a default as one would write it in flywheel.yaml."""
    default = field.get("default")
    if field.get("format") != "duration" or default is None:
        return json.dumps(default)
    seconds = int(TypeAdapter(timedelta).validate_python(default).total_seconds())
    size, unit = next((size, unit) for size, unit in UNITS if seconds % size == 0)
    return f"{seconds // size}{unit}"


def _in_order(model: str, fields: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the fields as the source has them, what is required by no model last."""
    declared = [field.alias or key for key, field in getattr(config, model).model_fields.items()]
    return sorted(fields.items(), key=lambda item: declared.index(item[0]) if item[0] in declared else len(declared))


def _references(field: Any) -> list[str]:
    if isinstance(field, dict):
        here = [field["$ref"].rsplit("/", 1)[1]] if "$ref" in field else []
        return here + [name for key, part in field.items() if key != "discriminator" for name in _references(part)]
    return [name for part in field for name in _references(part)] if isinstance(field, list) else []


def _type(field: dict[str, Any]) -> str:
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if "anyOf" in field:
        return " or ".join(_type(part) for part in field["anyOf"] if part.get("type") != "null")
    if field.get("type") == "array":
        return "list" if _references(field) else f"list of {_type(field['items'])}"
    return "keys" if _references(field) else str(field.get("type", "any"))


def main() -> None:
    """Write both files, or with --check say which is not what it should be."""
    found = schema()
    pages = {"flywheel.schema.json": json.dumps(found, indent=2) + "\n", "configuration.md": reference(found)}
    for name, text in pages.items():
        if "--check" not in sys.argv:
            (DOCS / name).write_text(text)
        elif (DOCS / name).read_text() != text:
            sys.exit(f"docs/{name} is not up to date: run `python scripts/configuration.py`")


if __name__ == "__main__":
    main()
