import os
from collections import Counter
from pathlib import Path

import pytest
import yaml

from flywheel import config, images
from flywheel.errors import ConfigError
from flywheel.kubeflow.compile import compile_to, compiled

kfp = pytest.importorskip("kfp")

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights"
GOLDEN = Path(__file__).parents[1] / "golden"
FAMILY = ".".join(kfp.__version__.split(".")[:2])


@pytest.fixture(scope="module")
def flights():
    """The example, but with a challenger: all that can be compiled of it."""
    return config.load(FLIGHTS, overrides=["gates.looks=4"]), (FLIGHTS / "flights.sql").read_text()


@pytest.fixture(scope="module")
def spec(flights, tmp_path_factory):
    return yaml.safe_load(compile_to(*flights, tmp_path_factory.mktemp("compiled") / "p.yaml").read_text())


def dags(spec):
    """Every group of tasks in the pipeline: the outermost, the guarded ones, the branches."""
    yield spec["root"]["dag"]["tasks"]
    yield from (component["dag"]["tasks"] for component in spec["components"].values() if "dag" in component)


def test_equal_input_compiles_to_equal_bytes(flights, tmp_path):
    assert (
        compile_to(*flights, tmp_path / "a.yaml").read_bytes() == compile_to(*flights, tmp_path / "b.yaml").read_bytes()
    )


def test_the_flights_compile_to_the_golden_file(flights, tmp_path):
    """Set FLYWHEEL_GOLDEN=write to accept a change."""
    found = compile_to(*flights, tmp_path / "p.yaml").read_text()
    golden = GOLDEN / f"flights-kfp{FAMILY}.yaml"
    if os.environ.get("FLYWHEEL_GOLDEN") == "write":
        golden.write_text(found)
    if not golden.exists():
        pytest.skip(f"no golden file for kfp {FAMILY}")

    assert found == golden.read_text()


def test_kfps_own_loader_accepts_it(flights, tmp_path):
    from kfp import components

    loaded = components.load_component_from_file(str(compile_to(*flights, tmp_path / "p.yaml")))

    assert loaded.pipeline_spec.pipeline_info.name == "flight-delays"


def test_each_gate_guards_what_comes_after_it(spec):
    conditions = [
        task["triggerPolicy"]["condition"]
        for tasks in dags(spec)
        for task in tasks.values()
        if "condition" in task.get("triggerPolicy", {})
    ]

    gates = ("plan", "validate", "decide", "probe", "promote", "rejudge")
    found = Counter(next(gate for gate in gates if f"channel--{gate}" in text) for text in conditions)
    # The candidate is promoted, kept as challenger, or makes room for a look at the challenger that there is.
    assert found == {"plan": 3, "validate": 1, "decide": 3, "probe": 2, "rejudge": 1, "promote": 2}


def test_where_each_candidate_is_judged_once_there_is_no_challenger(tmp_path):
    project = config.load(FLIGHTS, overrides=["gates.looks=1"])

    found = compile_to(project, "SELECT 1", tmp_path / "p.yaml").read_text()

    assert "rejudge" not in found
    assert "comp-challenge" not in found


def test_a_table_is_scored_each_span_before_a_promoted_version_scores_it_anew(flights, tmp_path):
    def of(spans):
        table = config.Batch(target="batch", into="scores", query="SELECT 1", score=spans)
        return flights[0].model_copy(update={"deploy": table}), "SELECT 1", tmp_path / f"{spans}.yaml"

    tasks = list(dags(yaml.safe_load(compile_to(*of("each_span")).read_text())))

    (guarded,) = [dag for dag in tasks if "plan" in dag]
    assert guarded["score"]["dependentTasks"] == ["plan"]  # of nothing else: training keeps no predictions back
    (branch,) = [name for name in guarded if name.startswith("condition")]
    assert "score" in guarded[branch]["dependentTasks"]

    assert "exec-score" not in compile_to(*of("promoted")).read_text()


def test_without_a_serving_gate_nothing_is_probed(tmp_path):
    project = config.load(FLIGHTS, overrides=["gates.serving=null"])

    assert "probe" not in compile_to(project, "SELECT 1", tmp_path / "p.yaml").read_text()


def test_the_exit_task_runs_however_the_rest_ended(spec):
    (exit_task,) = [
        task
        for task in spec["root"]["dag"]["tasks"].values()
        if task.get("triggerPolicy", {}).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED"
    ]

    assert exit_task["componentRef"]["name"] == "comp-conclude"


def test_what_writes_to_the_ledger_is_never_cached(spec):
    cached = {
        name: bool(task.get("cachingOptions"))
        for tasks in dags(spec)
        for name, task in tasks.items()
        if not name.startswith(("condition", "exit-handler"))
    }

    assert {name for name, on in cached.items() if on} >= {"extract", "transform", "train", "analyze"}
    assert not {name for name, on in cached.items() if on} & {
        "plan",
        "validate",
        "decide",
        "probe",
        "promote",
        "deploy",
    }


def test_steps_do_not_install_anything_when_they_start(flights, tmp_path):
    assert "pip install" not in compile_to(*flights, tmp_path / "p.yaml").read_text()


def compiled_with(resources, tmp_path):
    """Return the pipeline whose training asks for `resources`, and what only Kubernetes is told of it."""
    project = config.load(FLIGHTS, overrides=[f"train.resources={resources}"])
    return yaml.safe_load_all(compile_to(project, "SELECT 1", tmp_path / "p.yaml").read_text())


def train_task(spec):
    (found,) = [tasks["train"] for tasks in dags(spec) if "train" in tasks]
    return found


def test_resources_of_training_stand_in_the_compiled_form(tmp_path):
    spec, _ = compiled_with("{gpu: 2, memory: 16Gi, cpu: '4'}", tmp_path)
    container = spec["deploymentSpec"]["executors"]["exec-train"]["container"]
    resources = container["resources"]

    assert container["image"] == images.GPU
    assert resources["accelerator"]["resourceCount"] == "2"
    assert resources["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert resources["resourceMemoryLimit"] == "16Gi"
    assert resources["resourceCpuRequest"] == "4"


def test_where_it_runs_is_no_part_of_what_the_cache_looks_at(tmp_path):
    plain, *_ = compiled_with("{gpu: 1}", tmp_path)
    spot, *_ = compiled_with("{gpu: 1, gpu_kind: nvidia-l4, spot: true}", tmp_path)

    assert train_task(plain)["inputs"] == train_task(spot)["inputs"]
    assert train_task(spot)["retryPolicy"]["maxRetryCount"] == 3


def test_a_step_that_starts_a_train_job_asks_for_little_itself(tmp_path):
    spec, platforms = compiled_with("{nodes: 2, gpu: 8, memory: 64Gi, volume: {claim: shared}}", tmp_path)
    container = spec["deploymentSpec"]["executors"]["exec-train"]["container"]
    settings = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]
    given = train_task(spec)["inputs"]["parameters"]["settings"]["runtimeValue"]["constant"]

    assert container["image"] == images.CPU
    assert "resources" not in container
    assert list(settings) == ["pvcMount"]
    assert train_task(spec)["retryPolicy"]["maxRetryCount"] == 3
    assert given["resources"]["nodes"] == 2


def test_a_compiled_pipeline_is_made_once_and_again_when_something_changed(flights, tmp_path):
    project, query = flights
    first = compiled(project, query, tmp_path)
    made = first.stat().st_mtime_ns

    assert compiled(project, query, tmp_path) == first
    assert first.stat().st_mtime_ns == made
    assert compiled(project, query + "\n-- changed", tmp_path) != first


def test_volumes_tolerations_and_selectors_stand_in_the_compiled_form(tmp_path):
    asked = "{gpu: 1, gpu_kind: nvidia-l4, spot: true, volume: {claim: shared}, tolerations: [{key: team}]}"
    _, platforms = compiled_with(asked, tmp_path)
    settings = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]

    assert [each["key"] for each in settings["tolerations"]] == ["nvidia.com/gpu", "team", "cloud.google.com/gke-spot"]
    assert settings["nodeSelector"]["labels"] == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    assert settings["pvcMount"][0]["mountPath"] == "/mnt/flywheel"


def executors(more, tmp_path):
    project = config.load(FLIGHTS, overrides=more)
    spec, platforms = yaml.safe_load_all(compile_to(project, "SELECT 1", tmp_path / "p.yaml").read_text())
    containers = {
        name: each["container"] for name, each in spec["deploymentSpec"]["executors"].items() if "container" in each
    }
    return containers, platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def test_every_step_gets_what_all_steps_are_to_have(tmp_path):
    said = "resources.all={secrets: [{name: mlflow, env: [MLFLOW_TRACKING_TOKEN]}], pull_secrets: [registry]}"
    containers, platforms = executors([said], tmp_path)

    assert set(platforms) == set(containers)
    for settings in platforms.values():
        assert settings["secretAsEnv"][0]["secretName"] == "mlflow"
        assert settings["imagePullSecret"][0]["secretName"] == "registry"


def test_each_step_asks_for_its_own(tmp_path):
    said = ["resources={all: {memory: 2Gi}, analyze: {memory: 16Gi}, validate: {cpu: 4}}", "train.resources={cpu: 8}"]
    project = config.load(FLIGHTS, overrides=said)
    spec = yaml.safe_load(compile_to(project, "SELECT 1", tmp_path / "p.yaml").read_text())
    asked = {name: each["container"]["resources"] for name, each in spec["deploymentSpec"]["executors"].items()
             if "container" in each}  # fmt: skip

    assert asked["exec-analyze"]["resourceMemoryRequest"] == "16Gi"
    assert asked["exec-plan"] == {"memoryLimit": 2.147483648, "memoryRequest": 2.147483648,
                                  "resourceMemoryLimit": "2Gi", "resourceMemoryRequest": "2Gi"}  # fmt: skip
    assert asked["exec-validate"]["resourceCpuRequest"] == "4"
    assert asked["exec-train"]["resourceCpuRequest"] == asked["exec-train-2"]["resourceCpuRequest"] == "8"


def test_a_step_that_starts_a_train_job_has_its_secrets_and_those_of_all(tmp_path):
    nodes = "train.resources={nodes: 2, gpu: 8, volume: {claim: c}, secrets: [{name: data, env: [DATA_TOKEN]}]}"
    all_of = "resources.all={secrets: [{name: mlflow, env: [MLFLOW_TRACKING_TOKEN]}], tolerations: [{key: team}]}"
    _, platforms = executors([nodes, all_of], tmp_path)

    assert [each["secretName"] for each in platforms["exec-train"]["secretAsEnv"]] == ["mlflow", "data"]
    assert [each["key"] for each in platforms["exec-train"]["tolerations"]] == ["team"]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("resources={analyze: {memory: 16GB}}", "resources.analyze.memory: memory is written as 16Gi.*found '16GB'"),
        ("resources={analyse: {memory: 16Gi}}", "resources.analyse: unknown key; did you mean 'analyze'"),
        ("resources={train: {memory: 16Gi}}", "resources: what training asks for is written as train.resources"),
        ("resources={all: {limits: {memory: 1Gi}}, plan: {memory: 2Gi}}",
         "resources.plan, over resources.all: limits.memory is '1Gi', below memory, '2Gi'"),
        ("train.resources.priority=high", "train.resources, over resources.all: priority is 'high'.*set queue"),
        ("resources.all.priority=low", "priority is 'low'.*PriorityClass of pods is set by who keeps the cluster"),
        ("resources={all: {gpu: 1}}", "would give every step GPUs"),
        ("resources={all: {image: team/cpu}, analyze: {gpu: 1}}", "name resources.analyze.image, one that has"),
    ],
)  # fmt: skip
def test_a_wrong_wish_is_refused_with_its_place(said, message):
    with pytest.raises(ConfigError, match=message):
        config.load(FLIGHTS, overrides=[said])


def test_a_step_has_its_own_priority_in_the_queue_of_all(tmp_path):
    _, platforms = executors(["resources.all.queue=team", "train.resources.priority=high"], tmp_path)

    marks = {name: step["podMetadata"]["labels"] for name, step in platforms.items()}
    assert marks["exec-train"]["kueue.x-k8s.io/priority-class"] == "high"
    assert marks["exec-plan"] == {"kueue.x-k8s.io/queue-name": "team"}


def test_a_profile_says_whose_cluster_it_is(tmp_path):
    said = ["resources.all.platform=eks", "train.resources={gpu: 1, gpu_kind: nvidia-a10g, spot: true}"]
    _, platforms = executors(said, tmp_path)

    assert platforms["exec-train"]["nodeSelector"]["labels"] == {"karpenter.k8s.aws/instance-gpu-name": "a10g"}
    with pytest.raises(ConfigError, match=r"train.resources, over resources.all: gpu_kind .* nodes of gke"):
        config.load(FLIGHTS, overrides=said[1:])


def test_when_and_where_it_is_run_is_no_part_of_what_is_compiled(flights, tmp_path):
    project, query = flights
    elsewhere = config.load(
        FLIGHTS, overrides=["gates.looks=4", "schedule.cron=0 6 * * 1", "kubeflow.endpoint=https://example.com"]
    )

    assert (
        compile_to(elsewhere, query, tmp_path / "a.yaml").read_bytes()
        == compile_to(project, query, tmp_path / "b.yaml").read_bytes()
    )
    assert compiled(elsewhere, query, tmp_path) == compiled(project, query, tmp_path)


def test_only_a_policy_that_may_say_no_is_asked(flights, spec, tmp_path):
    project, query = flights
    weighed = project.model_copy(update={"retrain": config.Retrain.parse("every=7d")})
    found = yaml.safe_load(compile_to(weighed, query, tmp_path / "p.yaml").read_text())

    assert not any("weigh" in tasks for tasks in dags(spec))
    behind = next(tasks for tasks in dags(found) if "weigh" in tasks)
    assert "train" not in behind
    assert any("train" in tasks and "weigh" not in tasks for tasks in dags(found))
