"""Derive trainjob.schema.json from the models that Kubeflow Trainer publishes; see README.md.

Run where `kubeflow-trainer-api` is installed: it needs a newer pydantic than Flywheel's older family of dependencies.
"""

import json
import sys
from pathlib import Path

from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

UNUSED = {
    "TrainerV1alpha1TrainJobSpec": {"initializer"},
    "TrainerV1alpha1PodSpecPatch": {"initContainers", "schedulingGates", "securityContext", "affinity"},
    "TrainerV1alpha1ContainerPatch": {"securityContext"},
    "IoK8sApimachineryPkgApisMetaV1ObjectMeta": {"managedFields"},
}
VOLUMES = {"name", "persistentVolumeClaim", "emptyDir", "ephemeral", "secret", "configMap"}
QUANTITY = "IoK8sApimachineryPkgApiResourceQuantity"  # published as a class around a union; the API takes the value


def plain(node):
    """Return a schema without texts, and without the null that its models take where the API takes an absent key."""
    if isinstance(node, list):
        return [plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {key: plain(value) for key, value in node.items() if key not in ("description", "title", "default")}
    if "anyOf" in kept:
        choices = [each for each in kept["anyOf"] if each != {"type": "null"}]
        if len(choices) == 1:
            kept = {key: value for key, value in kept.items() if key != "anyOf"} | choices[0]
        else:
            kept["anyOf"] = choices
    return kept


def properties(schema):
    """Yield every model of a schema and its name."""
    yield from schema["$defs"].items()
    yield "TrainerV1alpha1TrainJob", schema


def used(schema):
    """Return the names of the models that can be reached."""
    found, waiting = set(), [{key: value for key, value in schema.items() if key != "$defs"}]
    while waiting:
        for name in json.dumps(waiting.pop()).split('"#/$defs/')[1:]:
            name = name.split('"')[0]
            if name not in found:
                found.add(name)
                waiting.append(schema["$defs"][name])
    return found


def derive():
    """Return the schema, unknown keys refused as `fieldValidation=Strict` refuses them."""
    raw = TrainerV1alpha1TrainJob.model_json_schema(by_alias=True)
    for name, model in properties(raw):  # a property may be called `title` or `default`: only schemas lose those
        model["properties"] = {
            key: plain(value) for key, value in model["properties"].items() if key not in UNUSED.get(name, set())
        }
        if name == "IoK8sApiCoreV1Volume":
            model["properties"] = {key: value for key, value in model["properties"].items() if key in VOLUMES}
        model["additionalProperties"] = False
        for key in ("description", "title"):
            model.pop(key, None)
    raw["$defs"][QUANTITY] = {"type": ["string", "number"], "pattern": r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"}
    raw["$defs"] = {name: raw["$defs"][name] for name in sorted(used(raw))}
    return raw


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(derive(), sort_keys=True, separators=(",", ":")) + "\n")
