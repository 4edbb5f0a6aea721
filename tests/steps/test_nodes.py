"""Train on several machines: the step against the stand-in cluster, whose nodes are processes here."""

import json
import os
import signal

import pytest

from flywheel.artifacts import Model
from flywheel.errors import ClusterError, TrainerError
from flywheel.ledger.store import Client
from flywheel.serving import pyfunc
from flywheel.steps.train import train
from flywheel.steps.transform import transform
from flywheel.trainjob.manifest import name_of
from flywheel.trainjob.shared import Shared
from flywheel.transform import raw
from tests.stand_ins.kubernetes import StandIn
from tests.stand_ins.kubernetes.server import PODS
from tests.stores import ledger_in
from tests.training.worlds import FEATURES, SKLEARN, SPANS, batch_of, examples_in, project_in

pytest.importorskip("jsonschema")  # the stand-in needs it
WORKFLOWS = "/apis/argoproj.io/v1alpha1/namespaces/team/workflows"
TOGETHER = """
    import numpy as np
    import torch
    from sklearn.linear_model import LogisticRegression
    from torch import distributed

    from flywheel.training.sklearn import matrix

    def train(context):
        rank, world = context.rank, context.world
        assert (rank, world) == (distributed.get_rank(), distributed.get_world_size())
        columns, labels = context.train.arrays()
        x, y = torch.tensor(matrix(columns)[rank::world]).double(), torch.tensor(labels[rank::world]).double()
        weights, bias = torch.zeros(x.shape[1], dtype=torch.double), torch.zeros(1, dtype=torch.double)
        for step in range(100):
            error = torch.sigmoid(x @ weights + bias) - y
            slopes = torch.cat([x.T @ error, error.sum()[None], torch.tensor([float(len(y))], dtype=torch.double)])
            distributed.all_reduce(slopes)
            weights -= slopes[:-2] / slopes[-1]
            bias -= slopes[-2] / slopes[-1]
        context.log_all({"rows_of_all": float(slopes[-1]), "world": world})
        print(f"rank {rank} of {world} has seen {int(slopes[-1])} rows")
        model = LogisticRegression()
        model.classes_, model.coef_, model.intercept_ = np.array([0, 1]), weights.numpy()[None], bias.numpy()
        model.n_features_in_ = x.shape[1]
        return model
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Raw examples, transformed ones, and the state."""
    folder = tmp_path_factory.mktemp("data")
    examples = examples_in(folder / "examples")
    state, transformed = transform(examples, FEATURES, "label", SPANS[:4], folder / "state", folder / "transformed")
    return examples, transformed, state


@pytest.fixture
def kubernetes(tmp_path, monkeypatch):
    """A cluster on which this process is a step of a pipeline."""
    with StandIn() as stand_in:
        monkeypatch.setenv("KUBECONFIG", str(stand_in.kubeconfig(tmp_path / "kubeconfig")))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        monkeypatch.setenv("KFP_POD_NAME", "train-impl-1")
        workflow = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "flights-x", "uid": "w1"}
        meta = {"name": "train-impl-1", "uid": "p1", "ownerReferences": [workflow]}
        secret = {"name": "MLFLOW_TRACKING_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "mlflow", "key": "p"}}}
        main = {"name": "main", "env": [secret, {"name": "KFP_POD_NAME", "valueFrom": {"fieldRef": {}}}]}
        meta["labels"] = {"workflows.argoproj.io/workflow": "flights-x"}
        spec = {"serviceAccountName": "pipeline-runner", "containers": [main]}
        stand_in.put(WORKFLOWS, {"metadata": {"name": "flights-x", "uid": "w1"}})
        stand_in.put(PODS, {"metadata": meta, "spec": spec, "status": {"phase": "Running"}})
        yield stand_in


@pytest.fixture
def run(data, tmp_path, kubernetes):
    """Train on two nodes with the given trainer."""
    ledger, model, volume = ledger_in(tmp_path / "ledger"), tmp_path / "out" / "model", tmp_path / "shared"
    volume.mkdir()

    def call(text=SKLEARN, **asked):
        code = project_in(tmp_path / f"project-{len(list(tmp_path.iterdir()))}", trainer=text)
        resources = {"nodes": 2.0, "volume": {"claim": "shared", "path": str(volume)}, **asked}
        settings = {"name": "words", "trainer": "trainer:train", "parameters": {}, "seed": 7.0, "resources": resources}
        settings["checkpoint"] = {"folder": ".flywheel/checkpoints", "every": 300.0}
        return train(*data, code, settings, "", ledger, model)

    call.ledger, call.volume, call.shared = ledger, volume, Shared(volume, name_of("words", str(model)))
    return call


@pytest.mark.long
@pytest.mark.timeout(600)
def test_two_nodes_train_one_model_together(run, kubernetes, data):
    """The processes are real, and so are gloo between them, the packaged model and MLflow."""
    pytest.importorskip("torch")
    kubernetes.story = [kubernetes.trainer.run_for_real]
    made = run(TOGETHER)

    client = Client(run.ledger)
    metrics = client.get_run(made.manifest.facts["training_run"]).data.metrics
    assert metrics["world"] == 2
    assert metrics["rows_of_all"] == made.manifest.facts["rows"]
    assert metrics["validation_auc"] > 0.7
    assert made.manifest.facts["nodes"] == 2
    answer = pyfunc.load(made.path).predict(raw.frame(batch_of(20, seed=9)))
    assert answer["prediction"].between(0, 1).all()
    logs = [file.read_text() for file in kubernetes.trainer.folder.iterdir()]
    assert sorted(line for log in logs for line in log.splitlines() if line.startswith("rank")) == [
        f"rank {rank} of 2 has seen {made.manifest.facts['rows']} rows" for rank in (0, 1)
    ]
    assert not kubernetes.jobs()
    assert not run.shared.folder.exists()


@pytest.mark.slow
def test_a_trainer_that_fails_on_the_nodes_is_shown_with_its_own_line(run, kubernetes):
    kubernetes.story = [kubernetes.trainer.run_for_real]
    with pytest.raises(TrainerError, match=r"trainer.py:2 \(raise ValueError\('no luck'\)\): ValueError: no luck"):
        run("def train(context):\n    raise ValueError('no luck')\n", nodes=1.0)

    assert len(kubernetes.jobs()) == 1


def test_what_is_trained_on_lies_where_the_nodes_see_it(run, kubernetes, data):
    told = {}

    def look():
        job = kubernetes.trainer.newest()
        spec = json.loads(run.shared.spec.read_text())
        told.update(spec=spec, command=job["spec"]["trainer"]["command"], job=job)
        told["there"] = all(os.path.exists(spec[key]) for key in ("examples", "transformed", "state", "code"))
        kubernetes.trainer.start()

    kubernetes.story = [look, kubernetes.trainer.fail]
    with pytest.raises(TrainerError):
        run(gpu=2.0)

    spec, job = told["spec"], told["job"]
    assert told["there"]
    assert all(spec[key].startswith(str(run.volume)) for key in ("examples", "transformed", "state", "code", "model"))
    assert told["command"] == ["python", "-m", "flywheel.steps.nodes", str(run.shared.spec)]
    assert "resources" not in spec["settings"]
    assert spec["settings"]["gpus"] == 2
    assert spec["settings"]["checkpoint"]["folder"] == str(run.shared.checkpoints)
    assert job["spec"]["trainer"]["image"].endswith("/gpu:latest")
    assert job["metadata"]["ownerReferences"][0]["kind"] == "Workflow"
    assert [each["name"] for each in job["spec"]["trainer"]["env"]] == ["MLFLOW_TRACKING_PASSWORD"]
    assert "pipeline-runner" in json.dumps(job["spec"]["runtimePatches"])


def test_a_step_tried_again_after_a_failure_trains_nothing(run, kubernetes):
    kubernetes.story = [kubernetes.trainer.start, kubernetes.trainer.fail]
    with pytest.raises(TrainerError, match="FailedJobs"):
        run()
    asked = len(kubernetes.asked)
    with pytest.raises(TrainerError, match="FailedJobs"):
        run()

    assert len(kubernetes.asked) == asked
    assert not (run.shared.folder / "inputs").exists()


def test_a_model_that_is_there_already_is_taken(run, kubernetes, tmp_path):
    """The step was killed between the end of training and its own."""
    with Model.create(run.shared.model, producer="train", spans=SPANS[:4]) as draft:
        (draft.path / "MLmodel").write_text("{}")
        draft.facts["seconds"] = 3
    made = run()

    assert made.manifest.facts == {"seconds": 3, "nodes": 2}
    assert not [verb for verb, _ in kubernetes.asked if verb == "create"]


def signalled(kubernetes, number):
    if number == signal.SIGINT:  # a shell's background job begins with it ignored
        signal.signal(number, signal.default_int_handler)
    kubernetes.story = [kubernetes.trainer.start, lambda: os.kill(os.getpid(), number)]


def test_an_interrupted_step_deletes_its_job(run, kubernetes):
    signalled(kubernetes, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run()

    assert not kubernetes.jobs()


def test_a_killed_step_leaves_its_job_and_the_next_one_finds_it(run, kubernetes, capfd):
    before = signal.getsignal(signal.SIGTERM)
    signalled(kubernetes, signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        run()

    assert caught.value.code == 143
    assert len(kubernetes.jobs()) == 1
    kubernetes.story = [kubernetes.trainer.fail]
    with pytest.raises(TrainerError):
        run()
    assert "is there already and followed on" in capfd.readouterr().out
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("spec", [{"activeDeadlineSeconds": 0}, {"shutdown": "Terminate"}])
def test_a_killed_step_of_a_run_that_was_terminated_deletes_its_job(run, kubernetes, spec):
    kubernetes.put(WORKFLOWS, {"metadata": {"name": "flights-x", "uid": "w1"}, "spec": spec})
    signalled(kubernetes, signal.SIGTERM)
    with pytest.raises(SystemExit):
        run()

    assert not kubernetes.jobs()


def test_storage_that_is_not_mounted_is_called_that(run):
    with pytest.raises(ClusterError, match="there is no storage at '/nowhere'"):
        run(volume={"claim": "shared", "path": "/nowhere"})


@pytest.mark.slow
def test_one_machine_trains_by_itself_whatever_is_asked_for(run, kubernetes, monkeypatch):
    monkeypatch.delenv("KFP_POD_NAME")
    made = run()

    assert made.manifest.facts["rows"] > 0
    assert not kubernetes.asked
