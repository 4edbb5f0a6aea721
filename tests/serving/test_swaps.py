"""Champions take over from one another while REST and gRPC clients ask, on this machine's loopback alone."""

import http.client
import json
import threading
import time

import grpc
import pytest
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub

from tests.serving.service import Service, request
from tests.serving.toys import NAME, put_in_service, toy

pytestmark = pytest.mark.slow
SWAPS, MOST, SECONDS = 50, 50_000, 100
OTHER = "other"
SLOW = """
import time
from pathlib import Path

for _ in range(1000):
    if Path({0!r}).exists():
        raise ImportError("no such library")
    time.sleep(0.1)
"""
GRPC = pb.ModelInferRequest(
    model_name=NAME,
    inputs=[
        {"name": "distance", "datatype": "FP64", "shape": [1], "contents": {"fp64_contents": [1400.0]}},
        {"name": "carrier", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"AA"]}},
        {"name": "hour", "datatype": "INT64", "shape": [1], "contents": {"int64_contents": [9]}},
    ],
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [toy(folder / f"model-{answer}", str(answer)) for answer in range(2)]


@pytest.fixture(scope="module")
def service(tmp_path_factory, models):
    """Serves models that answer 0 as even versions and 1 as odd ones."""
    service = Service(tmp_path_factory.mktemp("service"))
    deploy(service, models)
    service.start()
    yield service
    service.stop()


def deploy(service, models, name=NAME):
    service.versions[name] = version = service.versions.get(name, 0) + 1
    put_in_service(models[version % 2], service.serving, version, name)


class Load:
    """Clients that ask until they are told to end, or have asked often or long enough."""

    def __init__(self, service, name=NAME):
        self.service, self.name = service, name
        self.answers, self.failures, self.done = {"rest": [], "grpc": []}, [], threading.Event()
        self.until = time.monotonic() + SECONDS
        self.threads = [threading.Thread(target=self.ask, args=[kind]) for kind in ("rest", "grpc") * 2]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()

    def ask(self, kind):
        once = self.rest() if kind == "rest" else self.grpc()
        for _ in range(MOST):
            if self.done.is_set() or time.monotonic() > self.until:
                return
            try:
                self.answers[kind].append(next(once))
            except (OSError, KeyError, ValueError, http.client.HTTPException, grpc.RpcError) as error:
                self.failures.append(repr(error))
                return

    def rest(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.service.ports.rest, timeout=30)
        body = json.dumps(request())
        while True:
            connection.request("POST", f"/v2/models/{self.name}/infer", body, {"content-type": "application/json"})
            found = json.load(connection.getresponse())
            yield int(found["model_version"]), found["outputs"][0]["data"][0]

    def grpc(self):
        asked = pb.ModelInferRequest()
        asked.CopyFrom(GRPC)
        asked.model_name = self.name
        with grpc.insecure_channel(f"127.0.0.1:{self.service.ports.grpc}") as channel:
            stub = GRPCInferenceServiceStub(channel)
            while True:
                found = stub.ModelInfer(asked, timeout=30)
                yield int(found.model_version), found.outputs[0].contents.fp64_contents[0]


@pytest.mark.long
def test_fifty_champions_take_over_under_load_without_a_failed_request(service, models):
    first = service.version
    with Load(service) as load:
        for _ in range(SWAPS):
            deploy(service, models)
            service.await_version()
        time.sleep(0.2)

    assert load.failures == []
    for answers in load.answers.values():
        assert len(answers) > 2 * SWAPS
        assert all(answer == version % 2 for version, answer in answers)
        assert answers[-1][0] == first + SWAPS
    assert {version for answers in load.answers.values() for version, _ in answers} == set(
        range(first, first + SWAPS + 1)
    )
    metrics = service.metrics()
    assert metrics[f'flywheel_predictions_total{{model="{NAME}",version="7"}}'] > 0
    assert {"rest_server_requests_total", "grpc_server_handled_total"} < {name.split("{")[0] for name in metrics}


def test_models_side_by_side_are_swapped_each_on_its_own(service, models):
    deploy(service, models, OTHER)
    service.await_log(f"version 1 of {OTHER} of span 2013-06-01 is served too")
    with Load(service) as load:
        service.deploy("7", OTHER, code=SLOW.format(str(service.folder / "go on")))
        for _ in range(5):
            deploy(service, models)
            service.await_version()
        assert f"version 2 of {OTHER}" not in service.log()
        (service.folder / "go on").touch()
        service.await_log(f"version 2 of {OTHER} of span 2013-06-02 cannot be served, 1 stays")

    assert load.failures == []
    assert service.ask(name=OTHER)[1]["outputs"][0]["data"] == [1.0]
    assert (
        service.metrics()[
            f'flywheel_model_info{{digest="{models[1].digest}",model="{OTHER}",span="2013-06-01",version="1"}}'
        ]
        == 1
    )


def test_an_older_version_that_comes_back_takes_over_too(service, models):
    deploy(service, models)
    service.await_version()
    newest, before = service.version, service.version - 1
    with Load(service) as load:
        folder = service.serving / NAME
        (folder / ".back").symlink_to(str(before))
        (folder / ".back").replace(folder / "current")
        service.await_log(f"takes over from version {newest}")
        time.sleep(0.2)

    assert load.failures == []
    assert {answers[-1] for answers in load.answers.values()} == {(before, float(before % 2))}
