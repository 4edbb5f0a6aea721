"""What stands in the compiled form of anybody's pipeline, and what the local runner makes of it."""

import pytest
import yaml

kfp = pytest.importorskip("kfp")

from kfp import compiler, dsl  # noqa: E402
from kfp.kubernetes import kubernetes_executor_config_pb2 as platform  # noqa: E402

from flywheel.errors import ConfigError  # noqa: E402
from flywheel.kubeflow import resources  # noqa: E402
from flywheel.runner import run  # noqa: E402


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def fit(steps: int) -> int:
    return steps * 2


def compiled(tmp_path, **keys):
    """Return container, Kubernetes settings and task of a pipeline with one step that asks for `keys`."""

    @dsl.pipeline(name="anybodys")
    def pipeline():
        resources(fit(steps=3), **keys)

    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    spec, *rest = yaml.safe_load_all(path.read_text())
    settings = rest[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-fit"] if rest else {}
    # What kfp's own messages do not know is an error, as on a cluster.
    from google.protobuf import json_format

    json_format.ParseDict(settings, platform.KubernetesExecutorConfig())
    container = spec["deploymentSpec"]["executors"]["exec-fit"]["container"]
    return container, settings, spec["root"]["dag"]["tasks"]["fit"]


def test_what_is_not_asked_for_is_not_there(tmp_path):
    container, settings, task = compiled(tmp_path)

    assert "resources" not in container
    assert settings == {}
    assert "retryPolicy" not in task


def test_cores_memory_and_gpus_are_asked_for(tmp_path):
    container, settings, _ = compiled(tmp_path, cpu="4", memory="16Gi", gpu=2, gpu_kind="nvidia-l4")
    asked = container["resources"]

    assert container["image"] == "python:3.11"
    assert asked["resourceCpuRequest"] == "4"
    assert asked["resourceMemoryRequest"] == asked["resourceMemoryLimit"] == "16Gi"
    assert asked["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert asked["accelerator"]["resourceCount"] == "2"
    assert settings["nodeSelector"]["labels"] == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    assert settings["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_spot_nodes_are_preferred_and_it_is_tried_again(tmp_path):
    _, settings, task = compiled(tmp_path, spot=True)

    assert "nodeSelector" not in settings
    assert settings["tolerations"] == [
        {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}
    ]
    assert settings["nodeAffinity"] == [
        {
            "matchExpressions": [{"key": "cloud.google.com/gke-spot", "operator": "In", "values": ["true"]}],
            "weight": 100,
        }
    ]
    assert task["retryPolicy"]["maxRetryCount"] == 3
    assert task["retryPolicy"]["backoffDuration"] == "30s"


def test_without_a_fallback_spot_nodes_are_required(tmp_path):
    spot = {"retries": 0, "fallback": "none", "label": "karpenter.sh/capacity-type=spot"}
    _, settings, task = compiled(tmp_path, spot=spot, node_selector={"pool": "train"})

    assert settings["nodeSelector"]["labels"] == {"karpenter.sh/capacity-type": "spot", "pool": "train"}
    assert "nodeAffinity" not in settings
    assert "retryPolicy" not in task


def test_shared_memory_volume_taints_and_time_are_asked_for(tmp_path):
    tolerations = [{"key": "team", "operator": "Equal", "value": "ml", "effect": "NoExecute"}]
    _, settings, _ = compiled(
        tmp_path, shared_memory="8Gi", volume={"claim": "shared"}, timeout="2h", tolerations=tolerations
    )

    (mount,) = settings["emptyDirMounts"]
    assert mount == {"volumeName": "shared-memory", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": "8Gi"}
    assert settings["pvcMount"][0]["mountPath"] == "/mnt/flywheel"
    assert settings["activeDeadlineSeconds"] == "7200"
    assert settings["tolerations"] == tolerations


def test_limits_are_apart_from_what_is_asked_for(tmp_path):
    container, *_ = compiled(tmp_path, cpu=2, memory="8Gi", limits={"cpu": "3500m", "memory": "16Gi"})
    asked = container["resources"]

    assert (asked["resourceCpuRequest"], asked["resourceCpuLimit"]) == ("2", "3500m")
    assert (asked["resourceMemoryRequest"], asked["resourceMemoryLimit"]) == ("8Gi", "16Gi")


def test_secrets_and_config_maps_are_given_by_name(tmp_path):
    secrets = [
        {"name": "mlflow", "env": {"MLFLOW_TRACKING_USERNAME": "user", "MLFLOW_TRACKING_PASSWORD": "password"}},
        {"name": "keys", "path": "/keys"},
    ]
    maps = [{"name": "team", "env": ["MLFLOW_S3_ENDPOINT_URL"], "path": "/team"}]
    _, settings, _ = compiled(tmp_path, secrets=secrets, config_maps=maps)

    (variables,) = settings["secretAsEnv"]
    assert variables["secretName"] == "mlflow"
    assert variables["keyToEnv"] == [
        {"envVar": "MLFLOW_TRACKING_USERNAME", "secretKey": "user"},
        {"envVar": "MLFLOW_TRACKING_PASSWORD", "secretKey": "password"},
    ]
    (files,) = settings["secretAsVolume"]
    assert (files["secretName"], files["mountPath"]) == ("keys", "/keys")
    assert settings["configMapAsEnv"][0]["keyToEnv"] == [
        {"envVar": "MLFLOW_S3_ENDPOINT_URL", "configMapKey": "MLFLOW_S3_ENDPOINT_URL"}
    ]
    assert settings["configMapAsVolume"][0]["mountPath"] == "/team"


def test_one_key_may_be_read_by_several_variables(tmp_path):
    _, settings, _ = compiled(tmp_path, secrets=[{"name": "s3", "env": {"A": "key", "B": "key", "C": "other"}}])

    given = {pair["envVar"]: pair["secretKey"] for each in settings["secretAsEnv"] for pair in each["keyToEnv"]}
    assert given == {"A": "key", "B": "key", "C": "other"}


def test_an_image_is_pulled_as_said_with_the_registrys_credentials(tmp_path):
    said = {"image": "ghcr.io/team/flights:1", "pull_policy": "Always", "pull_secrets": ["registry"]}
    container, settings, _ = compiled(tmp_path, **said)

    assert container["image"] == "ghcr.io/team/flights:1"
    assert settings["imagePullPolicy"] == "Always"
    assert [each["secretName"] for each in settings["imagePullSecret"]] == ["registry"]


def test_a_disk_of_its_own_takes_temporary_files(tmp_path):
    _, settings, _ = compiled(tmp_path, ephemeral_storage="200Gi", shared_memory="1Gi")

    assert settings["emptyDirMounts"] == [
        {"volumeName": "shared-memory", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": "1Gi"},
        {"volumeName": "ephemeral-storage", "mountPath": "/tmp", "sizeLimit": "200Gi"},
    ]


def test_a_disk_of_a_storage_class_is_a_volume(tmp_path):
    _, settings, _ = compiled(tmp_path, ephemeral_storage={"size": "200Gi", "storage_class": "fast", "path": "/big"})

    (disk,) = settings["genericEphemeralVolume"]
    assert (disk["size"], disk["mountPath"], disk["storageClassName"]) == ("200Gi", "/big", "fast")


def test_labels_annotations_queue_and_priority_mark_the_pod(tmp_path):
    said = {"labels": {"team": "ml"}, "annotations": {"why": "a test"}, "queue": "team-a", "priority": "nightly"}
    _, settings, _ = compiled(tmp_path, **said)

    assert settings["podMetadata"] == {
        "labels": {
            "team": "ml",
            "kueue.x-k8s.io/queue-name": "team-a",
            "kueue.x-k8s.io/priority-class": "nightly",
        },
        "annotations": {"why": "a test"},
    }


def test_failures_are_tried_again_apart_from_lost_spot_nodes(tmp_path):
    retries = {"times": 2, "backoff": "1m", "factor": 1.5, "at_most": "30m"}
    *_, task = compiled(tmp_path, retries=retries)
    *_, both = compiled(tmp_path, retries=retries, spot={"retries": 5})

    assert task["retryPolicy"] == {
        "maxRetryCount": 2,
        "backoffDuration": "60s",
        "backoffFactor": 1.5,
        "backoffMaxDuration": "1800s",
    }
    assert both["retryPolicy"] == task["retryPolicy"] | {"maxRetryCount": 7}


def test_settings_made_before_are_kept(tmp_path):
    from kfp import kubernetes

    @dsl.pipeline(name="anybodys")
    def pipeline():
        task = kubernetes.add_node_selector(fit(steps=3), "zone", "a")
        assert resources(task, spot=True) is task
        kubernetes.add_pod_label(task, "team", "ml")
        (said,) = [task.platform_config["kubernetes"]]
        assert said["nodeSelector"]["labels"] == {"zone": "a"}
        assert said["nodeAffinity"]
        assert said["podMetadata"]["labels"] == {"team": "ml"}

    compiler.Compiler().compile(pipeline, str(tmp_path / "pipeline.yaml"))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"memory": "16GB"}, "memory: memory is written as 16Gi.*found '16GB'"),
        ({"gpu": 1, "gpu_kind": "a100"}, "gpu_kind: this kind of GPU is not known.*found 'a100'"),
        ({"gpus": 1}, r"(?s)gpus: .*known are cpu, memory, limits"),
        ({"gpu": 1, "gpu_kind": "nvidia-a10g"}, "nodes of gke do not say so"),
        ({"memory": "8Gi", "limits": {"memory": "4Gi"}}, "limits.memory is '4Gi', below memory, '8Gi'"),
        ({"secrets": [{"name": "Mine!", "path": "/x"}]}, r"secrets.0.name: .*found 'Mine!'"),
        ({"nodes": 2, "volume": {"claim": "c"}}, "a task is one pod"),
    ],
)
def test_a_wrong_wish_is_refused_when_compiling(tmp_path, keys, message):
    with pytest.raises(ConfigError, match=message):
        compiled(tmp_path, **keys)


def test_one_machine_runs_it_as_if_nothing_was_asked(tmp_path):
    """Retries cost nothing when nothing fails; nodes, taints and storage are for the cluster."""

    @dsl.pipeline(name="anybodys")
    def pipeline() -> int:
        wanted = {"secrets": [{"name": "s", "env": ["A"]}], "ephemeral_storage": "1Gi", "labels": {"team": "ml"}}
        wanted |= {"spot": True, "shared_memory": "8Gi", "volume": {"claim": "c"}, "gpu": 1, "gpu_kind": "nvidia-l4"}
        return resources(fit(steps=3), **wanted).output

    first, second = run(pipeline, root=tmp_path), run(pipeline, root=tmp_path)

    assert first.outputs == second.outputs == {"Output": 6}
    assert first.tasks["fit"].attempts == 1
    assert second.tasks["fit"].state == "CACHED"
