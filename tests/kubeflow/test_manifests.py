"""Manifests for GitOps: of the published shapes, with no more rights than the steps need."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from flywheel.cli.main import app
from flywheel.errors import ConfigError
from flywheel.kubeflow.manifests import manifests, write
from flywheel.kubeflow.versions import Package
from flywheel.workspace import Workspace

jsonschema = pytest.importorskip("jsonschema")
OBJECTS = json.loads((Path(__file__).parents[1] / "stand_ins" / "kubernetes" / "objects.schema.json").read_text())
STRING = {"type": "string"}
OURS = {  # the definitions of Kubeflow Pipelines 2.14 and newer, by their fields
    "Pipeline": {"properties": {"description": STRING}, "additionalProperties": False},
    "PipelineVersion": {
        "properties": {
            **dict.fromkeys(("codeSourceURL", "description", "displayName", "pipelineName", "pipelineSpecURI"), STRING),
            "pipelineSpec": {"type": "object"},
            "platformSpec": {"type": "object"},
        },
        "required": ["pipelineSpec"],
        "additionalProperties": False,
    },
}


def check(manifest):
    """Hold a manifest against the published shape of its kind."""
    kind = manifest["kind"]
    if kind in OURS:
        jsonschema.validate(manifest["spec"], OURS[kind])
        return
    schema = {"definitions": OBJECTS["definitions"], "$ref": f"#/definitions/{OBJECTS['kinds'][kind]}"}
    jsonschema.Draft7Validator(schema).validate(json.loads(json.dumps(manifest)))


@pytest.fixture
def made(flywheel, root):
    """Make the manifests of a flywheel."""

    def make(*more, namespace="team-a", profile="", account="flywheel"):
        known = [f"kubeflow.pipeline_root=file://{root}", f"kubeflow.service_account={account}", *more]
        package = Package.of(Workspace.open(flywheel(), None, known))
        return manifests(package, namespace, profile)

    return make


def of(found, kind):
    return [each for documents in found.values() for each in documents if each["kind"] == kind]


def rules(found, account="flywheel", namespace="team-a"):
    """Return resources and verbs of the roles bound to an account in a namespace."""
    bound = [
        each["roleRef"]["name"]
        for each in of(found, "RoleBinding")
        if each["metadata"]["namespace"] == namespace and each["subjects"][0]["name"] == account
    ]
    roles = [each for each in of(found, "Role") if each["metadata"]["namespace"] == namespace]
    said = [rule for role in roles if role["metadata"]["name"] in bound for rule in role["rules"]]
    return {rule["resources"][0]: rule for rule in said}


TRAINJOB = "train.resources={nodes: 2, volume: {claim: c}, queue: team}"
KSERVE = "deploy={target: kserve, namespace: serving}"
EVERYTHING = (
    TRAINJOB,
    KSERVE,
    "trigger={cron: '*/5 * * * *', time_zone: Europe/Berlin}",
    "resources.all={image: 'ghcr.io/team/cpu:1', pull_policy: Always, pull_secrets: [registry], pool: small, "
    "tolerations: [{key: team}], secrets: [{name: mlflow, env: {MLFLOW_TRACKING_PASSWORD: password}, path: /mlflow}], "
    "config_maps: [{name: team, env: [REGION]}], labels: {team: ml}}",
)


@pytest.mark.parametrize("more", [(), (TRAINJOB,), (KSERVE,), EVERYTHING])
def test_every_manifest_is_of_the_published_shape(made, more):
    for documents in made(*more, profile="prod").values():
        for each in documents:
            check(each)


def test_the_check_refuses_what_kubernetes_would(made):
    (role,) = of(made(), "Role")
    with pytest.raises(jsonschema.ValidationError, match="verb"):
        check(role | {"rules": [{"apiGroups": [""], "resources": ["pods"], "verb": ["get"]}]})


def test_the_version_is_what_submit_and_schedule_look_for(made, flywheel, root):
    found = made()
    (pipeline,), (version,) = of(found, "Pipeline"), of(found, "PipelineVersion")

    assert version["metadata"]["name"] == f"flights-{version['spec']['displayName']}"
    assert len(version["spec"]["displayName"]) == 20
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"] == "flights"
    assert version["spec"]["pipelineSpec"]["pipelineInfo"]["name"] == "flights"
    assert "platformSpec" not in version["spec"]


def test_settings_for_kubernetes_are_the_platforms_part_of_the_version(made):
    (version,) = of(made(EVERYTHING[-1]), "PipelineVersion")
    steps = version["spec"]["platformSpec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]

    assert steps["exec-plan"]["secretAsEnv"][0]["secretName"] == "mlflow"


def test_kfps_own_compiler_writes_the_same_version(made, tmp_path):
    import kfp
    from kfp.compiler import Compiler
    from kfp.components import load_component_from_file

    options = getattr(__import__("kfp.compiler.compiler_utils", fromlist=["x"]), "KubernetesManifestOptions", None)
    if options is None:
        pytest.skip(f"kfp {kfp.__version__} writes no manifests")
    (version,) = of(made(EVERYTHING[-1]), "PipelineVersion")
    spec = version["spec"]
    package = tmp_path / "p.yaml"
    package.write_text(yaml.safe_dump_all([spec["pipelineSpec"], spec["platformSpec"]]))
    told = options(pipeline_name="flights", pipeline_version_name=version["metadata"]["name"], namespace="team-a",
                   pipeline_version_display_name=spec["displayName"])  # fmt: skip
    Compiler().compile(load_component_from_file(str(package)), str(tmp_path / "m.yaml"),
                       kubernetes_manifest_options=told, kubernetes_manifest_format=True)  # fmt: skip

    (theirs,) = [each for each in yaml.safe_load_all((tmp_path / "m.yaml").read_text())
                 if each["kind"] == "PipelineVersion"]  # fmt: skip
    assert theirs["spec"] == spec | {"pipelineSpec": theirs["spec"]["pipelineSpec"]}
    assert theirs["spec"]["pipelineSpec"]["deploymentSpec"] == spec["pipelineSpec"]["deploymentSpec"]
    assert theirs["apiVersion"] == version["apiVersion"]


def test_steps_that_leave_kubernetes_alone_get_what_the_launcher_needs_and_no_more(made):
    found = rules(made())

    assert set(found) == {"workflowtaskresults", "pods", "configmaps", "secrets"}
    assert found["configmaps"]["resourceNames"] == ["kfp-launcher"]
    assert found["secrets"]["verbs"] == ["get"]
    assert not {"create", "delete", "*"} & set(found["pods"]["verbs"])


def test_rights_follow_from_what_the_flywheel_does(made):
    found = rules(made(TRAINJOB))

    assert found["trainjobs"]["verbs"] == ["create", "get", "list", "watch", "patch", "delete"]
    assert found["workloads"]["verbs"] == ["list"]


@pytest.mark.parametrize("queue", ["train.resources.queue=team", "resources.all.queue=team"])
def test_a_train_job_that_waits_in_a_queue_may_ask_why_wherever_the_queue_is_named(made, queue):
    found = rules(made("train.resources={nodes: 2, volume: {claim: c}}", queue))

    assert found["workloads"]["verbs"] == ["list"]


@pytest.mark.parametrize("more", ["train.resources.queue=team", "train.resources={nodes: 2, volume: {claim: c}}"])
def test_a_step_alone_and_a_train_job_without_a_queue_ask_nobody_why_they_wait(made, more):
    assert "workloads" not in rules(made(more))


def test_rights_in_another_namespace_are_given_there(made):
    found = made(KSERVE)

    assert rules(found, namespace="serving")["inferenceservices"]["verbs"] == ["get", "create", "patch", "delete"]
    assert "inferenceservices" not in rules(found)
    (binding,) = [each for each in of(found, "RoleBinding") if each["metadata"]["namespace"] == "serving"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "flywheel", "namespace": "team-a"}]


def test_the_trigger_runs_as_an_account_of_its_own(made):
    found = made(*EVERYTHING, profile="prod")
    (job,) = of(found, "CronJob")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["serviceAccountName"] == "flights-trigger"
    assert set(rules(found, "flights-trigger")) == {"pipelines", "pipelines/versions", "experiments", "runs"}
    assert "runs" not in rules(found)
    assert (job["spec"]["schedule"], job["spec"]["timeZone"]) == ("*/5 * * * *", "Europe/Berlin")
    assert container["command"][:2] == ["flywheel", "trigger"]
    assert container["command"][2].endswith(".zip")
    assert container["command"][3:5] == ["--profile", "prod"]
    assert {
        "name": "MLFLOW_TRACKING_PASSWORD",
        "valueFrom": {"secretKeyRef": {"name": "mlflow", "key": "password"}},
    } in (container["env"])


def test_monitoring_that_is_on_a_schedule_is_a_pipeline_of_its_own(made):
    found = made("monitor.schedule={cron: 0 * * * *}", "source.serving=flights.sql")

    assert [each["metadata"]["name"] for each in of(found, "Pipeline")] == ["flights", "flights-monitoring"]


def test_what_is_written_is_the_same_each_time_and_old_files_go(made, tmp_path):
    found = made("trigger={}")
    out = tmp_path / "out"
    write(found, out)
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    write(found, out)

    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    assert set(first) - {".flywheel-made"} == {"pipeline.yaml", "rbac.yaml", "trigger.yaml", "kustomization.yaml"}
    assert yaml.safe_load(first["kustomization.yaml"])["resources"] == ["pipeline.yaml", "rbac.yaml", "trigger.yaml"]
    del found["trigger.yaml"]
    write(found, out)
    assert not (out / "trigger.yaml").exists()


def test_manifests_beside_the_code_are_no_part_of_it(flywheel, root):
    known = [f"kubeflow.pipeline_root=file://{root}", "kubeflow.service_account=flywheel"]
    folder = flywheel()
    first, second = ([], [])
    for seen in (first, second):
        package = Package.of(Workspace.open(folder, None, known))
        write(manifests(package, "team-a"), folder / "kubernetes")
        seen.append(package.code)

    assert first == second
    with pytest.raises(ConfigError, match="holds a flywheel"):
        write(manifests(package, "team-a"), folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"namespace": ""}, "give --namespace, or set kubeflow.namespace"),
        ({"namespace": "Team_A"}, "the namespace of the manifests is 'Team_A'"),
        ({"account": "null"}, "kubeflow.service_account is not set"),
    ],
)
def test_what_is_missing_is_told(made, options, message):
    with pytest.raises(ConfigError, match=message):
        made(**options)


def test_the_command_tells_what_it_writes_and_puts_the_code_if_asked(flywheel, root, tmp_path):
    known = [f"kubeflow.pipeline_root=file://{root}", "kubeflow.service_account=flywheel"]
    said = ["compile", str(flywheel()), "--kubernetes", "--namespace", "team-a", "-o", str(tmp_path / "out")]
    said += [part for each in known for part in ("--set", each)]
    told = CliRunner().invoke(app, said)
    again = CliRunner().invoke(app, [*said, "--put-code"])

    assert "pipeline.yaml: Pipeline flights, PipelineVersion flights-" in told.output
    assert "rbac.yaml: ServiceAccount flywheel, Role flywheel, RoleBinding flywheel" in told.output
    assert "--put-code puts it there" in told.output
    assert "(put there)" in again.output
    assert len(list((root / "code").iterdir())) == 1
