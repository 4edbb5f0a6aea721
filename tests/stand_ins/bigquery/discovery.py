"""Holds exchanges against the discovery documents that Google publishes: a field that they do not have is an error."""

import json
import re
from pathlib import Path

_TOLERATED = {"jobs.get": {"projection"}, "jobs.cancel": {"projection"}}
"""What Google's own client sends all the same; the document does not have it, and BigQuery passes over it."""

_WHOLE = re.compile(r"-?\d+")
_TYPES = {"integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list, "string": str}


class Discovery:
    """One API's document.

    Args:
        name: `bigquery.v2` or `storage.v1`.
    """

    def __init__(self, name):
        file = Path(__file__).parent / "discovery" / f"{name}.json"
        self._document = json.loads(file.read_text())
        self._routes = [(self._route(each), id, each) for id, each in self._document["methods"].items()]

    def _route(self, method):
        path = re.sub(r"\{\+?(\w+)\}", r"(?P<\1>[^/]+)", method["path"])
        return re.compile(self._document["basePath"] + path)

    def method(self, verb, path):
        """Return (id, values in the path) of the method that is called; (None, {}) when there is none."""
        for route, id, method in self._routes:
            if method["httpMethod"] == verb and (found := route.fullmatch(path)):
                return id, found.groupdict()
        return None, {}

    def check_call(self, id, query, body):
        """Return what is wrong with a request."""
        method = self._document["methods"][id]
        known = {**self._document["parameters"], **method.get("parameters", {})}
        tolerated = _TOLERATED.get(id, set())
        wrong = [f"{id}: unknown parameter {name!r}" for name in query if name not in known and name not in tolerated]
        wrong += [
            f"{id}: parameter {name!r} is {value!r}"
            for name, value in query.items()
            if name in known and not _fits_text(value, known[name])
        ]
        if "request" in method:
            wrong += self.check(body, method["request"], id)
        elif body not in (None, {}):
            wrong.append(f"{id}: a body, where there is to be none")
        return wrong

    def check_answer(self, id, body):
        """Return what is wrong with a response."""
        method = self._document["methods"][id]
        return self.check(body, method["response"], f"answer to {id}") if "response" in method else []

    def check(self, value, schema, at):
        """Return where `value` is not of `schema`."""
        if "$ref" in schema:
            schema = self._document["schemas"][schema["$ref"]]
        kind = schema.get("type", "any")
        if kind == "any":
            return []
        if not isinstance(value, _TYPES[kind]) or (kind in ("integer", "number") and isinstance(value, bool)):
            return [f"{at}: {value!r} is no {kind}"]
        if kind == "string":
            return self._check_text(value, schema, at)
        if kind == "array":
            return [wrong for each in value for wrong in self.check(each, schema["items"], f"{at}[]")]
        return self._check_object(value, schema, at) if kind == "object" else []

    def _check_text(self, value, schema, at):
        if schema.get("format") in ("int64", "uint64") and not _WHOLE.fullmatch(value):
            return [f"{at}: {value!r} is no {schema['format']}"]
        if "enum" in schema and value not in schema["enum"]:
            return [f"{at}: {value!r} is none of {schema['enum']}"]
        return []

    def _check_object(self, value, schema, at):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties")
        wrong = []
        for name, each in value.items():
            if name in known:
                wrong += self.check(each, known[name], f"{at}.{name}")
            elif rest is not None:
                wrong += self.check(each, rest, f"{at}.{name}")
            else:
                wrong.append(f"{at}: there is no field {name!r}")
        return wrong


def _fits_text(value, schema):
    if schema["type"] == "integer":
        return bool(_WHOLE.fullmatch(value))
    if schema["type"] == "boolean":
        return value.lower() in ("true", "false")
    return "enum" not in schema or value in schema["enum"]
