"""Derive objects.schema.json from the schemas that `kubernetes-validate` carries: Kubernetes' own, and strict.

uv pip install kubernetes-validate
python tests/stand_ins/kubernetes/derive_objects.py tests/stand_ins/kubernetes/objects.schema.json
"""

import json
import sys
from pathlib import Path

import kubernetes_validate

VERSION = "v1.31.0-local-strict"
KINDS = {
    "CronJob": "io.k8s.api.batch.v1.CronJob",
    "Role": "io.k8s.api.rbac.v1.Role",
    "RoleBinding": "io.k8s.api.rbac.v1.RoleBinding",
    "ServiceAccount": "io.k8s.api.core.v1.ServiceAccount",
}
UNUSED = {"status", "managedFields", "ephemeralContainers", "initContainers", "lifecycle", "livenessProbe"}
UNUSED |= {"readinessProbe", "startupProbe", "affinity", "topologySpreadConstraints", "dnsConfig", "resourceClaims"}
VOLUME, SOURCES = "io.k8s.api.core.v1.Volume", {"name", "emptyDir", "projected", "secret", "configMap"}
FORM = "#/definitions/"


def derive():
    """Return the definitions that the kinds need, without texts and what Flywheel never writes."""
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / VERSION
    known = json.loads((folder / "_definitions.json").read_text())["$defs"]
    found, waiting = {}, list(KINDS.values())
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = plain(known[name])
        if name == VOLUME:
            found[name]["properties"] = {key: said for key, said in found[name]["properties"].items() if key in SOURCES}
        waiting += [part.split('"')[0] for part in json.dumps(found[name]).split(f'"{FORM}')[1:]]
    return {"definitions": found, "kinds": KINDS}


def plain(node):
    """Return a schema without texts and what Flywheel never writes, references within this file, keys refused."""
    if isinstance(node, list):
        return [plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, value in node.items():
        if key == "$ref":
            kept[key] = FORM + value.rpartition("/")[2].removesuffix(".json")
        elif key == "properties":
            kept[key] = {each: plain(said) for each, said in value.items() if each not in UNUSED}
            kept.setdefault("additionalProperties", False)
        elif key not in ("description", "$schema") and not key.startswith("x-"):
            kept[key] = plain(value)
    return kept


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(derive(), sort_keys=True, separators=(",", ":")) + "\n")
