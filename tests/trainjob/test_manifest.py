"""What Kubernetes is told, held against the schema that Kubeflow Trainer publishes."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.config import Resources
from flywheel.trainjob.manifest import Plan, body, name_of
from tests.stand_ins.kubernetes.server import SCHEMA

jsonschema = pytest.importorskip("jsonschema")


def plan_of(**asked):
    return Plan("flights-0a1b2c3d4e", Resources(nodes=2, volume={"claim": "shared"}, **asked), "image", ("python",))


def pod_of(job):
    (patch,) = job["spec"]["runtimePatches"]
    (node,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    return node["template"]["spec"]["template"]["spec"]


def test_nodes_gpus_and_memory_are_asked_for_a_node():
    trainer = body(plan_of(gpu=8, memory="64Gi", cpu=16), 0, 0, spot=False)["spec"]["trainer"]

    assert trainer["numNodes"] == 2
    assert trainer["resourcesPerNode"] == {
        "requests": {"cpu": "16", "memory": "64Gi", "nvidia.com/gpu": "8"},
        "limits": {"memory": "64Gi", "nvidia.com/gpu": "8"},
    }


def test_a_queue_holds_it_back_until_there_is_room_for_all_nodes():
    job = body(plan_of(queue="team-a"), 0, 0, spot=False)

    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert job["spec"]["suspend"] is True
    assert "suspend" not in body(plan_of(), 0, 0, spot=False)["spec"]


def test_spot_nodes_are_asked_for_until_they_are_not():
    asked = plan_of(spot=True, gpu=1, gpu_kind="nvidia-l4")
    spot, rest = (pod_of(body(asked, 0, 0, spot=spot)) for spot in (True, False))

    assert spot["nodeSelector"] == {
        "cloud.google.com/gke-accelerator": "nvidia-l4",
        "cloud.google.com/gke-spot": "true",
    }
    assert rest["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    assert len(spot["tolerations"]) == len(rest["tolerations"]) + 1


def test_the_storage_is_mounted_and_shared_memory_has_its_size():
    pod = pod_of(body(plan_of(shared_memory="8Gi"), 0, 0, spot=False))
    (container,) = pod["containers"]

    assert [each["mountPath"] for each in container["volumeMounts"]] == ["/mnt/flywheel", "/dev/shm"]
    assert pod["volumes"][1]["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}


def test_it_goes_with_its_owner_and_runs_as_the_step_does():
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "run", "uid": "u"}
    secret = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "mlflow", "key": "token"}}}
    plan = replace(plan_of(), owner=owner, pod={"serviceAccountName": "runner"}, env=(secret,))
    job = body(plan, 0, 0, spot=False)

    assert job["metadata"]["ownerReferences"] == [owner]
    assert pod_of(job)["serviceAccountName"] == "runner"
    assert job["spec"]["trainer"]["env"] == [secret]


def test_a_retry_has_the_name_of_its_step_and_no_other_step_has():
    first = "/minio/mlpipeline/v2/artifacts/flights/run-1/train/7/model"

    assert name_of("flights", first) == name_of("flights", first)
    assert name_of("flights", first) != name_of("flights", first.replace("run-1", "run-2"))
    assert name_of("a" * 40, "x").startswith("a" * 30 + "-")
    assert len(name_of("a" * 63, "x") + "-10-node-0-15") <= 63


def test_files_of_secrets_and_a_disk_of_its_own_come_to_every_node():
    job = body(plan_of(secrets=[{"name": "keys", "path": "/keys"}], ephemeral_storage="200Gi"), 0, 0, spot=False)
    pod = pod_of(job)
    (container,) = pod["containers"]
    mounted = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    sources = {each["name"]: each for each in pod["volumes"]}

    assert sources[mounted["/keys"]]["secret"] == {"secretName": "keys"}
    assert sources[mounted["/tmp"]]["emptyDir"] == {"sizeLimit": "200Gi"}
    assert job["spec"]["trainer"]["resourcesPerNode"]["requests"]["ephemeral-storage"] == "200Gi"


def test_a_disk_of_a_class_is_a_volume_of_its_own():
    disk = {"size": "1Ti", "storage_class": "fast", "path": "/scratch"}
    job = body(plan_of(ephemeral_storage=disk), 0, 0, spot=False)
    (source,) = [each["ephemeral"] for each in pod_of(job)["volumes"] if "ephemeral" in each]

    assert source["volumeClaimTemplate"]["spec"]["storageClassName"] == "fast"
    assert "resourcesPerNode" not in job["spec"]["trainer"] or not job["spec"]["trainer"]["resourcesPerNode"]


def test_limits_stand_beside_what_is_asked_for():
    amounts = body(plan_of(cpu=2, memory="8Gi", limits={"cpu": 4, "memory": "16Gi"}), 0, 0, spot=False)

    assert amounts["spec"]["trainer"]["resourcesPerNode"] == {
        "requests": {"cpu": "2", "memory": "8Gi"},
        "limits": {"cpu": "4", "memory": "16Gi"},
    }


def test_a_queue_knows_its_priority():
    labels = body(plan_of(queue="team-a", priority="nightly"), 0, 0, spot=False)["metadata"]["labels"]

    assert labels["kueue.x-k8s.io/priority-class"] == "nightly"


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "cpu": st.sampled_from(["2", "500m"]),
            "memory": st.sampled_from(["16Gi", "512M"]),
            "gpu": st.sampled_from([1, 8]),
            "shared_memory": st.just("8Gi"),
            "spot": st.sampled_from([True, {"fallback": "none", "label": "karpenter.sh/capacity-type=spot"}]),
            "queue": st.just("team"),
            "timeout": st.sampled_from(["90s", "2d"]),
            "tolerations": st.sampled_from([[{"key": "a"}], [{"key": "a", "operator": "Equal", "value": "b"}]]),
            "node_selector": st.just({"pool": "train"}),
            "pool": st.just("train"),
            "platform": st.sampled_from(["gke", "eks", "aks-pools"]),
            "limits": st.sampled_from([{"cpu": 4}, {"memory": "32Gi"}]),
            "ephemeral_storage": st.sampled_from(["200Gi", {"size": "1Ti", "storage_class": "fast"}]),
            "secrets": st.just([{"name": "mlflow", "env": ["TOKEN"]}, {"name": "keys", "path": "/keys"}]),
            "config_maps": st.just([{"name": "team", "path": "/team"}]),
            "labels": st.just({"team": "ml"}),
            "annotations": st.just({"example.com/why": "because it is so"}),
            "retries": st.just(3),
        },
    ),
    st.booleans(),
    st.integers(0, 60),
)
def test_whatever_is_asked_for_is_of_the_published_shape(asked, spot, attempt):
    job = body(plan_of(**asked), attempt, attempt, spot=spot)

    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(job)))


def test_the_schema_refuses_what_an_older_trainer_called_it():
    job = body(plan_of(), 0, 0, spot=False)
    job["spec"]["podTemplateOverrides"] = []

    with pytest.raises(jsonschema.ValidationError, match="podTemplateOverrides"):
        jsonschema.Draft202012Validator(SCHEMA).validate(job)
