"""What `flywheel doctor` says of what is there, and word for word of what is not."""

import json
import sys
import time

import pytest

from flywheel.cli.main import main
from flywheel.doctor import Finding, bucket, clock, image, libraries
from flywheel.workspace import Workspace
from tests.stand_ins.bigquery import StandIn as BigQuery
from tests.stand_ins.kubernetes import StandIn as Kubernetes

NODES = {"resources": {"nodes": 2, "volume": {"claim": "c"}}, "trainer": "trainer:train", "baseline": False}
KSERVE = {"target": "kserve", "namespace": "team"}


@pytest.fixture
def kubernetes(monkeypatch, tmp_path):
    with Kubernetes() as stand_in:
        monkeypatch.setenv("KUBECONFIG", str(stand_in.kubeconfig(tmp_path / "kubeconfig")))
        yield stand_in


@pytest.fixture
def bigquery(monkeypatch):
    with BigQuery() as stand_in:
        for name, value in stand_in.environment.items():
            monkeypatch.setenv(name, value)
        stand_in.put("my-project.shop.visits", "SELECT 1 AS pages, 0 AS late, DATE '2024-03-01' AS day")
        yield stand_in


def test_a_flywheel_on_one_machine_needs_no_cluster(findings):
    found = findings()

    assert {name: [each.state for each in every] for name, every in found.items()} == {
        "versions": ["ok"],
        "files": ["ok"],
        "warehouse": ["ok"],
        "ledger": ["ok"],
        "storage": ["ok"],
        "kubeflow": ["skip"],
        "kubernetes": ["skip"],
        "image": ["skip"],
        "clock": ["skip"],
    }
    assert found["warehouse"][0].found == "duckdb:///visits.duckdb gives the 3 columns of visits.sql"


def test_nothing_is_left_behind(findings, tmp_path):
    findings()

    names = {path.name for path in (tmp_path / "visits").iterdir()}
    assert names == {"flywheel.yaml", "visits.sql", "trainer.py", "visits.duckdb"}


def test_a_column_that_the_query_does_not_give_is_named(findings):
    (wrong,) = findings(label="delayed")["warehouse"]

    assert wrong == Finding(
        "warehouse",
        "fail",
        "visits.sql gives no column 'delayed'; it gives pages, late, day",
        "select it in visits.sql, or mend its name in flywheel.yaml.",
    )


def test_one_check_that_fails_keeps_no_other_from_being_made(findings):
    source = {"warehouse": "duckdb:///nothing.duckdb", "query": "visits.sql"}
    found = findings(source=source, train={"trainer": "trainer:fit", "baseline": False})

    assert found["files"][0].found.endswith("trainer.py has no function 'fit'")
    assert found["warehouse"][0].state == "fail"
    assert found["ledger"][0].state == "ok"


def test_bigquery_is_asked_by_a_dry_run(findings, bigquery):
    source = {"warehouse": "bigquery://my-project/shop", "query": "visits.sql"}
    found = findings(source=source)

    assert found["warehouse"][0].found == "bigquery://my-project/shop gives the 3 columns of visits.sql"
    assert found["clock"][0].state == "ok"
    assert bigquery.submitted == []


def test_bigquery_refuses_who_has_no_rights(findings, bigquery):
    bigquery.fail("denied", times=9)
    (wrong,) = findings(source={"warehouse": "bigquery://my-project/shop", "query": "visits.sql"})["warehouse"]

    assert wrong.state == "fail"
    assert "User does not have bigquery.jobs.create" in wrong.found
    assert wrong.remedy


def test_an_mlflow_with_a_ledger_is_read(findings, project):
    from flywheel.ledger import Ledger

    folder = project()
    (folder / ".flywheel").mkdir()
    row = Ledger(f"sqlite:///{folder}/.flywheel/mlflow.db")
    row.close(row.open("visits", "2024-03-01", "job", {}), ok=True)
    (found,) = findings()["ledger"]

    assert found == Finding("ledger", "ok", "MLflow has 1 run of visits, no champion yet")


def test_an_mlflow_that_does_not_answer_is_soon_given_up(findings):
    began = time.monotonic()
    (wrong,) = findings(ledger={"tracking_uri": "http://127.0.0.1:9"})["ledger"]

    assert wrong.state == "fail"
    assert "http://127.0.0.1:9" in wrong.found
    assert wrong.remedy
    assert time.monotonic() - began < 30


def test_a_ledger_that_cannot_be_made_is_told(findings, tmp_path):
    (tmp_path / "file").write_text("")
    (wrong,) = findings(ledger={"tracking_uri": f"sqlite:///{tmp_path}/file/mlflow.db"})["ledger"]

    assert wrong.found == f"{tmp_path}/file/mlflow.db cannot be made: '{tmp_path}/file' is no folder to write to"
    assert wrong.remedy == "mend ledger.tracking_uri in flywheel.yaml, or make that folder."


def test_folders_are_written_and_read(project, tmp_path):
    (tmp_path / "file").write_text("")
    checkpoint = {
        "trainer": "trainer:train",
        "baseline": False,
        "checkpoint": {"folder": "memory://bucket/checkpoints"},
    }
    folder = project(train=checkpoint, deploy={"target": "tfserving", "folder": f"{tmp_path}/file/models"})
    state, kept, wrong = bucket.check(Workspace.open(folder))

    assert state.state == "ok"
    assert kept == Finding("storage", "ok", "train.checkpoint.folder: memory://bucket/checkpoints is written and read")
    assert wrong.found.startswith(f"deploy.folder is '{tmp_path}/file/models', which cannot be written and read: Not")
    assert wrong.remedy == "make it, or ask for the rights to create, read and delete objects there."


def test_a_bucket_whose_library_is_missing_says_which_to_install(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    train = {"trainer": "trainer:train", "baseline": False, "checkpoint": {"folder": "gs://team/checkpoints"}}
    _, wrong = bucket.check(Workspace.open(project(train=train)))

    assert wrong.state == "fail"
    assert wrong.found.startswith("train.checkpoint.folder: the library for gs://team/checkpoints is not installed")
    assert wrong.remedy == "pip install gcsfs, here and in the images of the steps."


def test_a_cluster_that_allows_all_is_well(findings, kubernetes):
    found = findings(train=NODES, deploy=KSERVE)

    assert found["kubernetes"] == [Finding("kubernetes", "ok", f"Kubernetes v1.31.2 at {kubernetes.url}")]
    assert found["namespace"] == [Finding("namespace", "ok", "team")]
    assert found["permissions"] == [Finding("permissions", "ok", "all 14 that the steps need")]


def test_rights_that_are_missing_are_named_with_what_they_are_for(findings, kubernetes):
    kubernetes.forbidden = {("create", "trainjobs"), ("delete", "trainjobs"), ("get", "pods/log")}
    (wrong,) = findings(train=NODES)["permissions"]

    assert wrong == Finding(
        "permissions",
        "fail",
        "not allowed: create delete trainjobs.trainer.kubeflow.org in team, to train on several machines; "
        "get pods/log in team, to show why one failed",
        "ask for a Role with these verbs, as docs/kubeflow.md has it.",
    )


def test_a_namespace_that_is_not_there_is_told(findings, kubernetes):
    (wrong,) = findings(deploy=KSERVE | {"namespace": "nowhere"})["namespace"]

    assert wrong.found == "there is no namespace 'nowhere'"
    assert wrong.remedy == "make it, or name another in deploy.namespace or the kubeconfig's context."


def test_a_namespace_that_may_not_be_looked_at_is_no_failure(findings, kubernetes):
    kubernetes.fail("forbidden get")

    assert findings(deploy=KSERVE)["namespace"][0].state == "skip"


def test_a_cluster_out_of_order_is_told(findings, kubernetes):
    kubernetes.fail("unavailable")
    (wrong,) = findings(deploy=KSERVE)["kubernetes"]

    assert wrong.found == f"Kubernetes at {kubernetes.url} answers 503: etcdserver: leader changed"


def test_without_a_cluster_it_is_said_how_to_name_one(findings):
    (wrong,) = findings(deploy=KSERVE)["kubernetes"]

    assert wrong.state == "fail"
    assert wrong.found.startswith("there is no Kubernetes cluster here: Invalid kube-config file.")
    assert wrong.remedy == "set KUBECONFIG, or log in as you do for kubectl."


def test_an_image_is_looked_for_in_its_registry(registry):
    here = image.look(f"{registry.address}/team/cpu:latest")
    gone = image.look(f"{registry.address}/team/gpu:1.2")

    assert here == Finding("image", "ok", f"{registry.address}/team/cpu:latest is there, sha256:0123456789ab")
    assert (gone.state, gone.found) == ("fail", f"{registry.address}/team/gpu:1.2 is not in {registry.address}")
    assert "/token?service=here&scope=repository%3Ateam%2Fcpu%3Apull" in registry.asked


def test_an_image_that_may_not_be_asked_for_is_a_warning(registry):
    registry.status = 403
    found = image.look(f"{registry.address}/team/cpu:latest")

    assert found.state == "warn"
    name = f"{registry.address}/team/cpu:latest"
    assert found.found == f"whether {name} is there may not be asked: {registry.address} answers 403"


def test_a_registry_that_is_not_there_is_told():
    found = image.look("localhost:9/team/cpu")

    assert found.state == "fail"
    assert found.found.startswith("localhost:9/team/cpu: localhost:9 does not answer: ")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("flywheel/cpu:latest", ("registry-1.docker.io", "flywheel/cpu", "latest")),
        ("python", ("registry-1.docker.io", "library/python", "latest")),
        ("europe-docker.pkg.dev/p/r/cpu:1.0", ("europe-docker.pkg.dev", "p/r/cpu", "1.0")),
        ("localhost:5000/cpu@sha256:ab", ("localhost:5000", "cpu", "sha256:ab")),
    ],
)
def test_names_of_images_are_read_as_docker_does(name, parts):
    assert image.parse(name) == parts


def test_a_clock_that_is_off_is_told(project, registry):
    registry.ahead = 600.0
    workspace = Workspace.open(project(ledger={"tracking_uri": registry.url}))
    (wrong,) = clock.check(workspace)

    assert wrong.state == "fail"
    assert wrong.found in {f"this machine's clock is {seconds} s behind {registry.url}" for seconds in range(598, 601)}
    registry.ahead = 0.0
    assert next(clock.check(workspace)).state == "ok"


class Installed:
    def __init__(self, version, requires):
        self.version, self.requires = version, requires


def test_versions_that_do_not_go_together_are_named():
    there = {
        "ai-flywheel": Installed("0.1", ["kfp>=2.13; extra == 'kubeflow'", "ai-flywheel[kubeflow]; extra == 'local'",
                                         "tensorflow>=2.16; extra == 'local'", "duckdb>=1; extra == 'local'"]),
        "kfp": Installed("2.17.0", ["protobuf<7,>=6.31.1", "docstring-parser"]),
        "protobuf": Installed("4.25.3", []),
        "tensorflow": Installed("2.15.0", None),
    }  # fmt: skip

    assert sorted(libraries.misfits(there.get)) == [
        "kfp 2.17.0 needs docstring-parser, which is not installed",
        "protobuf 4.25.3 is installed, and kfp 2.17.0 needs <7,>=6.31.1",
        "tensorflow 2.15.0 is installed, and ai-flywheel 0.1 needs >=2.16",
    ]


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["flywheel", "doctor", *map(str, arguments)])
    try:
        main()
    except SystemExit as left:
        return left.code or 0, capsys.readouterr()
    return 0, capsys.readouterr()


def test_the_command_ends_with_what_is_to_do_and_the_exit_code_says_it(monkeypatch, capsys, project):
    code, said = run(monkeypatch, capsys, project())
    assert (code, said.out.splitlines()[-1]) == (0, "visits: all that is needed is there")

    profiles = {"prod": {"deploy": KSERVE}}
    code, said = run(monkeypatch, capsys, project(profiles=profiles), "--profile", "prod")
    assert code == 1
    assert said.out.splitlines()[-1].startswith("visits (prod): ")
    assert "set KUBECONFIG, or log in as you do for kubectl." in said.out


def test_json_is_one_object_a_line(monkeypatch, capsys, project):
    code, said = run(monkeypatch, capsys, project(label="delayed"), "--json")
    told = [json.loads(line) for line in said.out.splitlines()]

    assert code == 1
    assert [each["check"] for each in told if each["state"] == "fail"] == ["warehouse"]


def test_kubeflow_is_asked_with_the_credentials_that_submit_uses(findings, monkeypatch, tmp_path):
    pytest.importorskip("kfp")
    from tests.stand_ins.kfp import StandIn

    with StandIn(token="let me in") as stand_in:
        monkeypatch.setenv("FLYWHEEL_KFP_TOKEN", "let me in")
        keys = {"endpoint": stand_in.url, "pipeline_root": f"file://{tmp_path}/root"}
        found = findings(kubeflow=keys)
        (answer,) = found["kubeflow"]
        assert (answer.state, answer.found) == ("ok", f"{stand_in.url} answers, with 0 runs")
        assert any(each.found.startswith("kubeflow.pipeline_root: ") for each in found["storage"])
        assert found["image"][0].state != "skip"

        monkeypatch.setenv("FLYWHEEL_KFP_TOKEN", "wrong")
        (refused,) = findings(kubeflow=keys)["kubeflow"]
        assert refused.state == "fail"
        assert "FLYWHEEL_KFP_TOKEN" in refused.remedy


def test_a_kubeflow_that_does_not_answer_is_soon_given_up(findings):
    pytest.importorskip("kfp")
    (found,) = findings(kubeflow={"endpoint": "http://127.0.0.1:9"})["kubeflow"]

    assert found.state == "fail"
    assert "cannot be reached" in found.found


def test_a_service_account_that_is_not_there_is_told_before_a_run_fails_for_it(findings, kubernetes):
    (missing,) = findings(kubeflow={"service_account": "flywheel"})["account"]
    kubernetes.accounts.add("flywheel")
    (there,) = findings(kubeflow={"service_account": "flywheel"})["account"]

    assert (missing.state, missing.found) == ("fail", "there is no service account 'flywheel' in 'team'")
    assert "flywheel compile --kubernetes" in missing.remedy
    assert (there.state, there.found) == ("ok", "service account 'flywheel' is in 'team'")


def test_without_the_client_of_kubernetes_it_is_told_which_extra_has_it(findings, monkeypatch):
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    (found,) = findings(kubeflow={"service_account": "flywheel"})["kubernetes"]

    assert (found.state, found.remedy) == ("fail", "pip install 'ai-flywheel[kubeflow]'")


def test_a_service_account_that_cannot_be_seen_from_here_is_no_failure(findings):
    (found,) = findings(kubeflow={"service_account": "flywheel"})["account"]

    assert (found.state, found.found) == (
        "skip",
        "whether there is a service account 'flywheel' cannot be seen from here",
    )
