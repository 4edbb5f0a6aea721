"""`train.resources`: what is taken, what is refused and what is said then."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flywheel.config import Pod, Resources, Spot, laid_over


def refused(**keys):
    with pytest.raises(ValidationError) as caught:
        Resources(**keys)
    return " ".join(fault["msg"] for fault in caught.value.errors())


@pytest.mark.parametrize("cpu", ["2", "0.5", "500m", 2, 0.5])
def test_cores_are_written_as_kubernetes_has_them(cpu):
    assert Resources(cpu=cpu).cpu == str(cpu)


@pytest.mark.parametrize("cpu", ["two", "0", "0m", "1.5m", "-1", "2 cores", True])
def test_what_is_no_number_of_cores_is_refused(cpu):
    assert refused(cpu=cpu)


@pytest.mark.parametrize("memory", ["16Gi", "512Mi", "2T", "17179869184", "1048576Ki"])
def test_memory_is_written_as_kubernetes_has_it(memory):
    assert Resources(memory=memory).memory == memory


@pytest.mark.parametrize("memory", ["16GB", "16gi", "16K", "1.5Gi", "100m", "", "a lot"])
def test_memory_that_the_cluster_would_refuse_is_refused_here(memory):
    assert "written as 16Gi" in refused(memory=memory)


def test_sixteen_bytes_are_taken_for_a_slip():
    assert "write 16Gi" in refused(memory=16)


def test_a_kind_of_gpu_becomes_the_label_of_googles_nodes():
    assert Resources(gpu=1, gpu_kind="nvidia-t4").selector == {"cloud.google.com/gke-accelerator": "nvidia-tesla-t4"}
    assert (
        Resources(gpu=8, gpu_kind="nvidia-h100-80gb").selector["cloud.google.com/gke-accelerator"].endswith("h100-80gb")
    )


def test_any_other_cluster_names_its_own_label():
    asked = Resources(gpu=1, gpu_kind="nvidia.com/gpu.product=Tesla-T4", node_selector={"pool": "train"})

    assert asked.selector == {"pool": "train", "nvidia.com/gpu.product": "Tesla-T4"}


def test_an_unknown_kind_is_answered_with_those_known():
    message = refused(gpu=1, gpu_kind="nvidia-a1000")

    assert "nvidia-a10g, nvidia-b200" in message
    assert "name the label" in message


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"gpu_kind": "nvidia-l4"}, "set gpu: 1 or more"),
        ({"gpu": 3}, "0, 1, 2, 4, 8 or 16"),
        ({"nodes": 2}, "volume: {claim"),
        ({"nodes": 0, "volume": {"claim": "c"}}, "greater than or equal to 1"),
        ({"cpu": 4, "limits": {"cpu": "3500m"}}, "limits.cpu is '3500m', below cpu, '4'"),
        ({"memory": "16Gi", "limits": {"memory": "16G"}}, "limits.memory is '16G', below memory, '16Gi'"),
        ({"ephemeral_storage": "200GB"}, "written as 16Gi"),
        ({"labels": {"my team": "ml"}}, "'my team' is no name of a label"),
        ({"labels": {"team": "machine learning"}}, "write other text as an annotation"),
        ({"annotations": {"a/b/c": "x"}}, "no name of a label or annotation"),
        ({"secrets": [{"name": "mlflow"}]}, "mlflow is given neither as variables nor as files"),
        ({"secrets": [{"name": "a", "env": ["T"]}, {"name": "b", "env": {"T": "k"}}]}, "variable 'T' is given twice"),
        (
            {"secrets": [{"name": "a", "path": "/x"}], "volume": {"claim": "c", "path": "/x"}},
            "path '/x' is given twice",
        ),
        ({"secrets": [{"name": "a", "env": {"a b": "k"}}]}, "should match pattern"),
        ({"pull_policy": "Sometimes"}, "'Always', 'IfNotPresent' or 'Never'"),
        ({"platform": "openshift"}, "'gke', 'eks'"),
        ({"platform": "aks", "gpu": 1, "gpu_kind": "nvidia-l4"}, "known there: nvidia-a10, nvidia-a100"),
        ({"platform": "eks-groups", "gpu": 1, "gpu_kind": "nvidia-l4"}, "name a pool or a label of nodes"),
        ({"retries": {"times": 2, "at_most": "2h"}}, "at most an hour"),
        ({"retries": 99}, "less than or equal to 50"),
        ({"node_selector": {"a b": "c"}}, "name=value"),
        ({"spot": {"label": "spot"}}, "name=value"),
        ({"spot": "maybe"}, "write true, or {retries"),
        ({"spot": {"fallback": "later"}}, "'on_demand' or 'none'"),
        ({"tolerations": [{"key": "a", "value": "b"}]}, "operator is Equal"),
        ({"gpus": 1}, "Extra inputs"),
    ],
)
def test_what_does_not_fit_together_is_refused(keys, why):
    assert why in refused(**keys)


@pytest.mark.parametrize(
    ("platform", "gpu", "spot", "pool"),
    [
        ("eks", {"karpenter.k8s.aws/instance-gpu-name": "t4"}, "karpenter.sh/capacity-type", "karpenter.sh/nodepool"),
        ("eks-auto", {"eks.amazonaws.com/instance-gpu-name": "t4"}, "karpenter.sh/capacity-type",
         "karpenter.sh/nodepool"),
        ("aks", {"karpenter.azure.com/sku-gpu-name": "T4"}, "karpenter.sh/capacity-type", "karpenter.sh/nodepool"),
        ("gke", {"cloud.google.com/gke-accelerator": "nvidia-tesla-t4"}, "cloud.google.com/gke-spot",
         "cloud.google.com/gke-nodepool"),
    ],
)  # fmt: skip
def test_each_platform_has_its_own_labels(platform, gpu, spot, pool):
    asked = Resources(platform=platform, gpu=1, gpu_kind="nvidia-t4", spot=True, pool="train")

    assert asked.selector == {pool: "train", **gpu}
    assert asked.spot_label[0] == spot


def test_the_memory_of_a_gpu_tells_amazons_two_a100_apart():
    asked = [Resources(platform="eks", gpu=8, gpu_kind=f"nvidia-a100-{size}gb").selector for size in (40, 80)]

    assert [each["karpenter.k8s.aws/instance-gpu-memory"] for each in asked] == ["40960", "81920"]


def test_what_a_step_says_stands_over_what_all_steps_say():
    below = Pod(memory="2Gi", labels={"team": "ml", "tier": "1"}, secrets=[{"name": "mlflow", "env": ["TOKEN"]}])
    above = Resources(memory="16Gi", labels={"tier": "2"}, secrets=[{"name": "keys", "path": "/keys"}], gpu=1)

    asked = laid_over(below, above)

    assert (asked.memory, asked.gpu) == ("16Gi", 1)
    assert asked.labels == {"team": "ml", "tier": "2"}
    assert [each.name for each in asked.secrets] == ["mlflow", "keys"]


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "memory": st.sampled_from(["1Gi", "2Gi"]),
            "labels": st.just({"a": "b"}),
            "tolerations": st.sampled_from([[{"key": "a"}], [{"key": "b"}]]),
        },
    )
)
def test_laying_the_same_over_itself_changes_nothing(keys):
    asked = Pod(platform="gke", **keys)

    assert laid_over(asked, asked) == asked == laid_over(Pod(), asked) == laid_over(asked, Pod())


def test_spot_may_be_said_in_one_word():
    assert Resources(spot=True).spot == Spot(retries=3, fallback="on_demand")
    assert Resources(spot={"retries": 1, "fallback": "none"}).spot == Spot(retries=1, fallback="none")
    assert Resources().spot is None
    assert Resources(spot=False).spot is None
    assert Resources(spot=Spot(retries=9)).spot == Spot(retries=9)


def through_kubeflow(value):
    """JSON whose numbers are all floating-point, as those of a dict are that Kubeflow hands on."""
    if isinstance(value, dict):
        return {key: through_kubeflow(each) for key, each in value.items()}
    if isinstance(value, list):
        return [through_kubeflow(each) for each in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@given(
    st.fixed_dictionaries(
        {"volume": st.just({"claim": "shared"}), "nodes": st.integers(1, 64)},
        optional={
            "cpu": st.sampled_from(["2", "500m"]),
            "gpu": st.sampled_from([0, 1, 8]),
            "spot": st.sampled_from([True, False, {"retries": 2}, {"fallback": "none"}]),
            "retries": st.sampled_from([2, {"times": 3, "backoff": "1m", "factor": 1.5}]),
            "secrets": st.just([{"name": "mlflow", "env": ["TOKEN"], "path": "/mlflow"}]),
            "ephemeral_storage": st.just("200Gi"),
            "limits": st.just({"cpu": 4}),
            "timeout": st.integers(1, 10**6).map(lambda seconds: timedelta(seconds=seconds)),
            "tolerations": st.sampled_from([[], [{"key": "a"}], [{"key": "a", "operator": "Equal", "value": "b"}]]),
        },
    )
)
def test_it_comes_through_kubeflow_as_it_was(keys):
    asked = Resources(**keys)

    assert Resources.told(through_kubeflow(json.loads(asked.model_dump_json())), "train.resources", "…") == asked
