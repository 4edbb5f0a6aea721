"""The OpenAPI description as the generated client has it: its operations and models, asked of the client itself."""

import inspect
import re
from dataclasses import dataclass
from datetime import datetime

import kfp_server_api

_NUMBERS_AS_TEXT = {"max_concurrency", "interval_second", "long_value"}  # int64: proto's JSON takes either
_TYPED = re.compile(r":param (?P<old>[\w\[\], ()]+?) (?P<name>\w+):|:type (?P<new>\w+): (?P<type>[^\n]+)")


@dataclass(frozen=True)
class Operation:
    """One call: verb, path, what may be asked, and of which model request and answer are."""

    id: str
    verb: str
    path: re.Pattern
    query: dict
    body: str | None
    answer: str | None
    files: bool


class _Recorder(kfp_server_api.ApiClient):
    """Takes down what a generated method would send."""

    def call_api(self, path, verb, path_params=None, query_params=None, header_params=None, **rest):
        answer = rest.get("response_type") or (rest.get("response_types_map") or {}).get(200)
        return path, verb, [name for name, _ in query_params], rest.get("body"), answer, bool(rest.get("files"))


def _operations():
    for api in vars(kfp_server_api).values():
        if not (inspect.isclass(api) and api.__name__.endswith("ServiceApi")):
            continue
        client = api(_Recorder())
        for name, method in inspect.getmembers(client, inspect.ismethod):
            if name.endswith("_with_http_info"):
                yield _operation(name.removesuffix("_with_http_info"), method)


def _operation(name, method):
    types = {}
    for found in _TYPED.finditer(method.__doc__):
        types[found["name"] or found["new"]] = (found["old"] or found["type"]).removesuffix(", optional")
    own = {each: type for each, type in types.items() if not each.startswith("_") and each != "async_req"}
    path, verb, query, body, answer, files = method(**{each: f"<{each}>" for each in own})
    pattern = re.compile(re.sub(r"\\?\{(\w+)\\?\}", r"(?P<\1>[^/:]+)", path.replace(".", r"\.")))
    return Operation(name, verb, pattern, {each: own[each] for each in query},
                     own[body.strip("<>")] if body else None, answer, files)  # fmt: skip


class OpenApi:
    """Holds exchanges against the description."""

    def __init__(self):
        self._operations = list(_operations())

    def find(self, verb, path):
        """Return the operation that is called and the values in its path; None when there is none."""
        for operation in self._operations:
            if operation.verb == verb and (found := operation.path.fullmatch(path)):
                return operation, {name: value for name, value in found.groupdict().items()}
        return None, {}

    def check_call(self, operation, query, body):
        """Return what is wrong with a request."""
        wrong = [f"{operation.id}: unknown parameter {name!r}" for name in query if name not in operation.query]
        wrong += [
            f"{operation.id}: parameter {name!r} is {value!r}"
            for name, value in query.items()
            if operation.query.get(name) == "int" and not value.isdigit()
        ]
        if operation.body and operation.body in vars(kfp_server_api.models):
            return wrong + self.check(body, operation.body, operation.id, asked=True)
        return wrong

    def check(self, value, kind, at, *, asked=False):
        """Return where `value` is not of a type, as the generated models name it."""
        if value is None or kind == "object":
            return []
        if found := re.fullmatch(r"list\[(.+)\]", kind):
            parts = value if isinstance(value, list) else [value]
            wrong = [] if isinstance(value, list) else [f"{at}: {value!r} is no list"]
            return wrong + [each for part in parts for each in self.check(part, found[1], f"{at}[]", asked=asked)]
        if found := re.fullmatch(r"dict\(str, (.+)\)", kind):
            if not isinstance(value, dict):
                return [f"{at}: {value!r} is no object"]
            return [
                each for key, part in value.items() for each in self.check(part, found[1], f"{at}.{key}", asked=asked)
            ]
        if kind in ("str", "int", "bool", "float", "datetime"):
            return self._check_plain(value, kind, at, asked)
        return self._check_model(value, getattr(kfp_server_api.models, kind), at, asked)

    def _check_plain(self, value, kind, at, asked):
        if kind == "datetime":
            try:
                datetime.fromisoformat(value)
            except (TypeError, ValueError):
                return [f"{at}: {value!r} is no time"]
            return []
        if asked and kind == "str" and at.rsplit(".", 1)[-1] in _NUMBERS_AS_TEXT and isinstance(value, int):
            return []
        ok = isinstance(value, {"str": str, "int": int, "bool": bool, "float": (int, float)}[kind])
        return [] if ok and not (kind == "int" and isinstance(value, bool)) else [f"{at}: {value!r} is no {kind}"]

    def _check_model(self, value, model, at, asked):
        if not model.openapi_types:
            known = getattr(model, "allowable_values", None)
            return [] if known is None or value in known else [f"{at}: {value!r} is none of {known}"]
        if not isinstance(value, dict):
            return [f"{at}: {value!r} is no {model.__name__}"]
        kinds = {model.attribute_map[name]: kind for name, kind in model.openapi_types.items()}
        wrong = [f"{at}: {model.__name__} has no field {name!r}" for name in value if name not in kinds]
        return wrong + [
            each for name, part in value.items() if name in kinds
            for each in self.check(part, kinds[name], f"{at}.{name}", asked=asked)
        ]  # fmt: skip
