"""What the server keeps: lists of objects as the API has them, found by filters, in order, page by page."""

import base64
import json

import yaml

_OPERATIONS = ["", "EQUALS", "NOT_EQUALS", "GREATER_THAN", "", "GREATER_THAN_EQUALS", "LESS_THAN", "LESS_THAN_EQUALS",
               "IN", "IS_SUBSTRING"]  # fmt: skip
_FIELDS = {"recurring_runs": "recurringRuns"}  # the one name of this kind in the description
KEYS = {
    "experiments": {"id", "experiment_id", "name", "display_name", "created_at", "namespace", "storage_state"},
    "pipelines": {"id", "pipeline_id", "name", "display_name", "created_at", "description", "namespace"},
    "pipeline_versions": {"id", "pipeline_version_id", "name", "display_name", "created_at", "description"},
    "runs": {"id", "run_id", "name", "display_name", "created_at", "finished_at", "description", "scheduled_at",
             "storage_state", "namespace", "experiment_id", "state", "recurring_run_id"},
    "recurring_runs": {"id", "recurring_run_id", "name", "display_name", "created_at", "updated_at", "description"},
}  # fmt: skip
"""What each kind may be filtered and sorted by."""


class Refused(Exception):
    """An answer other than 200.

    Args:
        status: Of HTTP.
        message: For the client.
    """

    def __init__(self, status, message):
        super().__init__(message)
        self.status, self.message = status, message


def page(kind, found, query):
    """Return the answer of a list method: the page asked for of those that pass the filter, sorted.

    Raises:
        Refused: The filter, the order or the token is not understood.
    """
    tests = [_test(kind, predicate) for predicate in _predicates(query.get("filter"))]
    rows = [row for row in found if all(test(row) for test in tests)]
    by, _, order = (query.get("sort_by") or "created_at asc").partition(" ")
    _known(kind, by)
    rows.sort(key=lambda row: str(row.get(by, "")), reverse=order == "desc")
    start = _offset(query.get("page_token"), query)
    size = min(int(query.get("page_size") or 0) or 10, 200)
    shown = [public(row) for row in rows[start : start + size]]
    answer = {_FIELDS.get(kind, kind): shown} if shown else {}
    if start + size < len(rows):
        answer["next_page_token"] = _token(start + size, query)
    return answer | {"total_size": len(rows)}


def public(row):
    """Return an object without what the server keeps to itself."""
    return {name: value for name, value in row.items() if not name.startswith("_")}


def _predicates(text):
    if not text:
        return []
    try:
        return json.loads(text)["predicates"]
    except (ValueError, KeyError, TypeError):
        raise Refused(400, f"Invalid input error: failed to parse valid filter from {text!r}") from None


def _known(kind, key):
    if key not in KEYS[kind]:
        raise Refused(400, f"Invalid input error: no support for filtering or sorting {kind} on {key!r}")


def _test(kind, predicate):
    key, operation = predicate["key"], predicate["operation"]
    operation = _OPERATIONS[operation] if isinstance(operation, int) else operation
    _known(kind, key)
    value = next((given for name, given in predicate.items() if name not in ("key", "operation")), None)
    if isinstance(value, dict):
        value = value["values"]
    key = "display_name" if key == "name" else key
    tests = {
        "EQUALS": lambda has: has == value,
        "NOT_EQUALS": lambda has: has != value,
        "GREATER_THAN": lambda has: has > value,
        "GREATER_THAN_EQUALS": lambda has: has >= value,
        "LESS_THAN": lambda has: has < value,
        "LESS_THAN_EQUALS": lambda has: has <= value,
        "IN": lambda has: has in value,
        "IS_SUBSTRING": lambda has: value.lower() in has.lower(),
    }
    if operation not in tests:
        raise Refused(400, f"Invalid input error: operation {operation!r}")
    return lambda row: tests[operation](row.get(key, ""))


def _token(offset, query):
    kept = {name: query.get(name) for name in ("filter", "sort_by")}
    return base64.b64encode(json.dumps([offset, kept]).encode()).decode()


def _offset(token, query):
    if not token:
        return 0
    try:
        offset, kept = json.loads(base64.b64decode(token))
    except ValueError:
        raise Refused(400, f"Invalid input error: page token {token!r}") from None
    if kept != {name: query.get(name) for name in ("filter", "sort_by")}:
        raise Refused(400, "Invalid input error: page token does not match the filter or the order")
    return offset


def spec_of(package):
    """Return the pipeline spec in an uploaded file.

    Raises:
        Refused: It is none.
    """
    try:
        documents = list(yaml.load_all(package, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
        spec = documents[0]
        spec["pipelineInfo"]["name"], spec["root"]["dag"]["tasks"], spec["schemaVersion"]
    except (yaml.YAMLError, KeyError, TypeError, IndexError):
        raise Refused(400, "Invalid input error: the file is no compiled pipeline") from None
    return spec if len(documents) == 1 else {"pipeline_spec": spec, "platform_spec": documents[1]}


def check_arguments(spec, given):
    """Refuse arguments that a pipeline does not declare, and the lack of those that it wants."""
    root = spec.get("pipeline_spec", spec)["root"]
    declared = root.get("inputDefinitions", {}).get("parameters", {})
    if unknown := sorted(set(given) - set(declared)):
        raise Refused(400, f"Invalid input error: parameter {unknown[0]} is not found in the pipeline spec")
    kinds = {"STRING": str, "STRUCT": dict, "LIST": list, "BOOLEAN": bool,
             "NUMBER_DOUBLE": (int, float), "NUMBER_INTEGER": (int, float)}  # fmt: skip
    for name, about in declared.items():
        if name not in given and "defaultValue" not in about and not about.get("isOptional"):
            raise Refused(400, f"Invalid input error: parameter {name} is required, and has neither default nor value")
        if name in given and not isinstance(given[name], kinds[about["parameterType"]]):
            raise Refused(400, f"Invalid input error: input parameter {name} requires type {about['parameterType']}")
