"""What we write for Kubernetes, on a real API server: applied as it is, and enough for the steps and no more."""

import os

import pytest
import yaml

from flywheel.config import Canary, KServe, Resources
from flywheel.doctor import kubernetes as doctor
from flywheel.kubeflow.manifests import manifests
from flywheel.kubeflow.versions import Package
from flywheel.ledger import Champion
from flywheel.serving.targets import Order
from flywheel.serving.targets.inference_service import InferenceService
from flywheel.serving.targets.kserve import Target
from flywheel.trainjob.cluster import Cluster
from flywheel.trainjob.follow import Followed
from flywheel.trainjob.manifest import Plan
from flywheel.workspace import Workspace
from tests.kubeflow.test_manifests import EVERYTHING, KSERVE, TRAINJOB
from tests.stand_ins.kubernetes import PrometheusStandIn, Relay
from tests.stand_ins.kubernetes.relay import VARIABLE

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.skipif(not os.environ.get(VARIABLE), reason=f"{VARIABLE} names no kubeconfig"),
    pytest.mark.xdist_group("kubernetes"),
]
APPLY, RBAC = "application/apply-patch+yaml", "/apis/rbac.authorization.k8s.io/v1"
PLACES = {
    "Pipeline": "/apis/pipelines.kubeflow.org/v2beta1/namespaces/{}/pipelines",
    "PipelineVersion": "/apis/pipelines.kubeflow.org/v2beta1/namespaces/{}/pipelineversions",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Role": RBAC + "/namespaces/{}/roles",
    "RoleBinding": RBAC + "/namespaces/{}/rolebindings",
    "CronJob": "/apis/batch/v1/namespaces/{}/cronjobs",
}
STEPS, TRIGGER = "system:serviceaccount:team:flywheel", "system:serviceaccount:team:flights-trigger"


@pytest.fixture
def kubernetes():
    with Relay() as relay:
        if relay.told("get", "/api/v1/namespaces/serving") is None:
            relay.told("create", "/api/v1/namespaces", {"metadata": {"name": "serving"}})
        yield relay


@pytest.fixture
def workspace(flywheel, root):
    """Open a flywheel with some keys set."""
    folder = flywheel()
    known = [f"kubeflow.pipeline_root=file://{root}", "kubeflow.service_account=flywheel"]
    return lambda *more: Workspace.open(folder, None, [*known, *more])


@pytest.fixture
def made(workspace):
    """Make the manifests of a flywheel."""
    return lambda *more: [
        each for documents in manifests(Package.of(workspace(*more)), "team").values() for each in documents
    ]


@pytest.fixture
def applied(kubernetes, made):
    """Apply the manifests of a flywheel; take away again what gives rights."""
    given = []

    def apply(*more):
        answers = []
        for document in made(*more):
            where, body = placed(kubernetes, document)
            query = "fieldManager=argocd&force=true&fieldValidation=Strict"
            answers.append(kubernetes.told("patch", where, body, APPLY, query=query))
            given.append(where)
        return answers

    yield apply
    for where in given:
        kubernetes.told("delete", where)


def placed(kubernetes, document):
    """Return where a manifest goes; before Kubernetes 1.21 CronJobs are a beta, without zones."""
    where = PLACES[document["kind"]].format(document["metadata"]["namespace"])
    if document["kind"] == "CronJob" and kubernetes.told("get", where) is None:
        where = where.replace("/v1/", "/v1beta1/")
        document = yaml.safe_load(yaml.safe_dump(document)) | {"apiVersion": "batch/v1beta1"}
        document["spec"].pop("timeZone")
    return f"{where}/{document['metadata']['name']}", document


def may(kubernetes, who, verb, resource, namespace="team", name=""):
    group, _, resource = resource.rpartition("/") if resource.count(".") else ("", "", resource)
    resource, _, part = resource.partition(":")
    asked = {"group": group, "resource": resource, "subresource": part, "verb": verb}
    spec = {"user": who, "groups": [f"system:serviceaccounts:{namespace}", "system:authenticated"]}
    spec["resourceAttributes"] = asked | {"namespace": namespace, "name": name}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    return kubernetes.told("create", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)["status"]["allowed"]


def test_all_manifests_are_taken_and_taken_again_without_a_change(applied):
    first = applied(*EVERYTHING)
    second = applied(*EVERYTHING)

    assert {each["kind"] for each in first} == set(PLACES)
    for before, after in zip(first, second, strict=True):
        if before["kind"] != "ServiceAccount":  # to which servers before 1.24 add a token
            assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"], before["kind"]


def test_nothing_of_a_pipeline_is_lost(applied, made):
    """A field that the definitions do not know is dropped without a word by servers before 1.25."""
    (stored,) = [each for each in applied(*EVERYTHING) if each["kind"] == "PipelineVersion"]
    (written,) = [each for each in made(*EVERYTHING) if each["kind"] == "PipelineVersion"]

    assert stored["spec"] == written["spec"]


def test_the_account_of_the_steps_may_what_they_do_and_no_more(applied, kubernetes):
    applied(*EVERYTHING)
    kserve, trainer = "serving.kserve.io/inferenceservices", "trainer.kubeflow.org/trainjobs"
    allowed = [
        ("create", "argoproj.io/workflowtaskresults", "team", ""),
        ("get", "configmaps", "team", "kfp-launcher"),
        ("get", "secrets", "team", "mlpipeline-minio-artifact"),
        ("watch", trainer, "team", ""),
        ("get", "pods:log", "team", ""),
        ("patch", kserve, "serving", ""),
        ("list", "kueue.x-k8s.io/workloads", "team", ""),
    ]
    refused = [
        ("get", "secrets", "team", "mlflow"),
        ("list", "secrets", "team", ""),
        ("get", "configmaps", "team", "other"),
        ("create", "pods", "team", ""),
        ("create", "pods:exec", "team", ""),
        ("create", trainer, "serving", ""),
        ("patch", kserve, "team", ""),
        ("list", kserve, "serving", ""),
        ("create", "rbac.authorization.k8s.io/roles", "team", ""),
        ("create", "pipelines.kubeflow.org/runs", "team", ""),
    ]

    assert [each for each in allowed if not may(kubernetes, STEPS, *each)] == []
    assert [each for each in refused if may(kubernetes, STEPS, *each)] == []
    assert may(kubernetes, TRIGGER, "create", "pipelines.kubeflow.org/runs")
    assert not may(kubernetes, TRIGGER, "delete", "pipelines.kubeflow.org/runs")
    assert not may(kubernetes, TRIGGER, "create", trainer)


def test_doctor_says_what_an_account_may_not(applied, kubernetes, workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(kubernetes.kubeconfig(tmp_path / "kubeconfig")))
    declared = workspace(TRAINJOB, KSERVE)

    kubernetes.asks_as = STEPS
    before = {each.check: each for each in doctor.check(declared)}
    applied(TRAINJOB, KSERVE)
    after = {each.check: each for each in doctor.check(declared)}

    assert before["permissions"].state == "fail"
    assert "create get list watch patch delete trainjobs.trainer.kubeflow.org in team" in before["permissions"].found
    assert after["permissions"].found.startswith("all ")
    assert after["namespace"].state == "skip"  # nobody gave it the right to look at namespaces


def test_a_training_job_needs_no_more_rights_than_are_given(applied, kubernetes):
    applied(TRAINJOB)
    kubernetes.asks_as = STEPS
    plan = Plan("flights-0a1b2c3d4e", Resources(nodes=2, volume={"claim": "c"}), "flywheel/gpu", ("python", "-m", "x"))
    kubernetes.story = [kubernetes.trainer.start, kubernetes.trainer.finish]
    told = []

    Followed(Cluster(kubernetes.api(), "team"), plan, every=1.0, tell=told.append).run()

    assert told[-1] == "TrainJob flights-0a1b2c3d4e-0 is complete"
    assert not kubernetes.jobs()


def test_a_deployment_needs_no_more_rights_than_are_given(applied, kubernetes):
    applied("deploy={target: kserve, namespace: team}")
    kubernetes.asks_as = STEPS
    champion = None
    with PrometheusStandIn() as prometheus:
        prometheus.served = lambda revision, seconds: (5000, 2500 if revision.endswith("2") else 0, 30)
        settings = KServe(target="kserve", namespace="team", metrics=prometheus.url, canary=Canary(hold="60s"))
        placed = []
        for number in (1, 2):
            champion = Champion("flights", str(number), f"2013-06-{number:02d}", f"run{number}", f"sha256:{number}")
            service = InferenceService(settings, "flights", kubernetes.api(), lambda _: None)
            clock = iter(range(0, 10**9, 5))
            target = Target(settings, "flights", service, None, lambda clock=clock: next(clock), lambda _: None)
            order = Order(champion, f"gs://models/{number}", None, lambda champion=champion: champion)
            placed.append(target.put(order))

    assert [each.verdict.ok for each in placed] == [True, False]
    assert target.current().version == "1"
