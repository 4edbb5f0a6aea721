import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from flywheel.errors import ArtifactError, ServingError
from flywheel.serving import local
from flywheel.serving.request import curl_line, example_request
from tests.serving.toys import NAME, put_in_service, toy

pytestmark = pytest.mark.slow
ROW = {
    "distance": ("FP64", 1400.0),
    "carrier": ("BYTES", "AA"),
    "hour": ("INT64", 9),
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Service:
    """A server in the background, and what a test asks of it."""

    def __init__(self, folder):
        self.folder, self.serving, self.state = folder, folder / "serving", folder / ".flywheel"
        self.port, self.said, self.version = free_port(), [], 0

    def deploy(self, answer, **options):
        self.version += 1
        put_in_service(toy(self.folder / f"model-{self.version}", answer, **options), self.serving, self.version)

    def start(self):
        self.url = local.serve_in_background(self.serving, NAME, self.state, port=self.port, say=self.said.append)

    def ask(self, row=ROW, **changes):
        inputs = [
            {"name": name, "datatype": kind, "shape": [1], "data": [value]}
            for name, (kind, value) in (row | changes).items()
        ]
        return self.post("infer", {"inputs": inputs})

    def post(self, what, body):
        request = urllib.request.Request(
            f"{self.url}/v2/models/{NAME}/{what}", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def log(self):
        return (self.state / "serve.log").read_text()

    def await_log(self, text):
        deadline = time.monotonic() + 60
        while text not in self.log():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    service = Service(tmp_path_factory.mktemp("service"))
    service.deploy("1")
    service.start()
    yield service
    local.stop(service.state)


def test_a_prediction_is_had_by_the_open_inference_protocol(service):
    status, answer = service.ask()

    assert status == 200
    assert answer["model_name"] == NAME
    assert answer["model_version"] == str(service.version)
    assert answer["outputs"][0] | {"data": None} == {
        "name": "prediction",
        "datatype": "FP64",
        "shape": [1, 1],
        "data": None,
    }


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_the_curl_line_that_it_prints_works_as_it_stands(service):
    line = curl_line(service.serving, NAME, service.url)

    answer = subprocess.run(["bash", "-c", line], capture_output=True, check=True, text=True).stdout

    assert json.loads(answer)["outputs"][0]["name"] == "prediction"
    assert any(service.url in said and line in said for said in service.said)
    assert line in service.log()


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks into Linux's own table")
def test_only_this_machine_is_listened_to(service):
    listening = Path("/proc/net/tcp").read_text()

    assert f"0100007F:{service.port:04X}" in listening
    assert f"00000000:{service.port:04X}" not in listening


def test_the_model_says_which_columns_it_takes(service):
    with urllib.request.urlopen(f"{service.url}/v2/models/{NAME}") as answer:
        found = json.load(answer)

    assert [column["name"] for column in found["inputs"]] == ["distance", "carrier", "hour"]
    assert found["versions"] == [str(service.version)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"distance": ("FP64", 1.0)}, r"missing inputs ['carrier', 'hour']"),
        (ROW | {"distance": ("FP64", "far")}, "could not convert string to float: 'far'"),
        (ROW | {"distance": ("FP64", -1.0)}, "distance is negative"),
        ({}, "missing inputs"),
    ],
    ids=["missing columns", "wrong type", "value that the model refuses", "nothing"],
)
def test_a_wrong_request_is_told_what_is_wrong_with_it(service, row, message):
    status, answer = service.ask(row)

    assert status == 400
    assert message in answer["error"]
    assert "Traceback" not in answer["error"]
    assert "DataFrame" not in answer["error"]


def test_a_request_that_is_no_request_is_answered_as_such(service):
    assert service.post("infer", "nonsense")[0] == 422


def test_a_model_that_fails_is_not_the_callers_fault_and_tells_them_nothing(service):
    status, answer = service.ask(distance=("FP64", 1e10))

    assert status == 500
    assert "secret" not in answer["error"]
    assert "secret inner workings" in service.log()


def test_champions_take_over_under_load_without_a_failed_request(service):
    answers, failures, done = [], [], threading.Event()

    def load():
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        inputs = [{"name": n, "datatype": k, "shape": [1], "data": [v]} for n, (k, v) in ROW.items()]
        body = json.dumps({"inputs": inputs})
        while not done.is_set():
            try:
                connection.request("POST", f"/v2/models/{NAME}/infer", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                found = json.load(answer)
                answers.append((int(found["model_version"]), found["outputs"][0]["data"][0]))
            except (OSError, KeyError, ValueError, http.client.HTTPException) as error:
                failures.append(repr(error))
                connection.close()

    before = service.version
    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        service.deploy(str(service.version + 1))
        service.await_log(f"version {service.version} of span 2013-06-{service.version:02d} takes over")
    time.sleep(0.2)
    done.set()
    for thread in threads:
        thread.join()

    assert failures == []
    assert {version for version, _ in answers} == set(range(before, service.version + 1))
    assert all(version == number for version, number in answers)


def test_a_model_that_does_not_load_leaves_the_former_in_service(service):
    before = service.ask()
    version = service.version

    service.deploy("0", code="raise ImportError('no such library')\n")
    service.await_log(f"cannot be served, {version} stays")

    assert service.ask()[1]["outputs"] == before[1]["outputs"]
    service.deploy("7")
    service.await_log(f"version {service.version} of span 2013-06-{service.version:02d} takes over")
    assert service.ask()[1]["outputs"][0]["data"] == [7.0]


def test_starting_it_again_leaves_it_as_it_is(service):
    alive = local.running(service.state)

    assert local.serve_in_background(service.serving, NAME, service.state, port=service.port) == service.url
    assert local.running(service.state) == alive


def test_a_port_in_use_is_said_at_once_with_what_to_do(service, tmp_path):
    begin = time.monotonic()

    with pytest.raises(ServingError, match=rf"port {service.port} of 127.0.0.1 is in use\n.*with `--port`"):
        local.serve_in_background(service.serving, NAME, tmp_path, port=service.port)
    assert time.monotonic() - begin < 1


def test_the_log_holds_nothing_but_what_matters(service):
    lines = [line for line in service.log().split("Traceback")[0].splitlines() if line != f"{NAME} failed"]

    assert [line.split()[0] for line in lines] == ["serving", "curl"]


def test_in_the_foreground_a_port_in_use_is_said_before_anything_is_loaded(service):
    program = (
        "import sys; from pathlib import Path; from flywheel.serving import local\n"
        f"try: local.serve(Path({str(service.serving)!r}), {NAME!r}, port={service.port})\n"
        "except local.ServingError as error: print(error.remedy, 'mlflow' in sys.modules)"
    )

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout

    assert said == "choose another one with `--port`. False\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_the_port_is_free_again(service, number):
    service.start()
    service.await_log("curl")
    before = service.log()
    os.kill(local.running(service.state).pid, number)
    deadline = time.monotonic() + 15
    while local.running(service.state):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    local.check_port("127.0.0.1", service.port)
    assert service.log() == before
    assert not (service.state / local.PIDFILE).exists()


def test_a_pid_that_another_process_has_by_now_deceives_nobody(tmp_path):
    (tmp_path / local.PIDFILE).write_text(json.dumps({"pid": os.getpid(), "url": "http://x", "folder": "x"}))

    assert local.running(tmp_path) is None
    assert local.stop(tmp_path) is False


def test_nothing_deployed_yet_says_how_to_come_by_a_model(tmp_path):
    for call in (
        lambda: local.serve(tmp_path, NAME),
        lambda: local.serve_in_background(tmp_path, NAME, tmp_path),
    ):
        with pytest.raises(ServingError, match="run `flywheel run`"):
            call()


def test_a_model_damaged_on_disk_is_not_served(tmp_path):
    put_in_service(toy(tmp_path / "model", "1"), tmp_path / "serving", 1)
    (tmp_path / "serving" / NAME / "current" / "MLmodel").write_text("damaged")

    with pytest.raises(ArtifactError, match="is damaged"):
        local.serve(tmp_path / "serving", NAME)


def test_a_server_that_does_not_come_up_shows_the_end_of_its_log(tmp_path):
    put_in_service(toy(tmp_path / "model", "1", code="raise ImportError('no such library')"), tmp_path / "serving", 1)

    with pytest.raises(ServingError, match=r"does not load: .*no such library"):
        local.serve_in_background(tmp_path / "serving", NAME, tmp_path, port=free_port(), say=lambda _: None)


def test_a_request_is_made_of_the_first_whole_row_of_the_example(tmp_path):
    model = toy(tmp_path / "model", "1")
    example = json.loads((model.path / "input_example.json").read_text())
    (model.path / "input_example.json").write_text(json.dumps(example | {"data": [[None, "AA", 1], [5.0, "UA", 2]]}))

    assert [column["data"] for column in example_request(model.path)["inputs"]] == [[5.0], ["UA"], [2]]


def test_a_model_without_an_example_is_asked_for_its_columns(tmp_path):
    put_in_service(toy(tmp_path / "model", "1"), tmp_path / "serving", 1)
    (tmp_path / "serving" / NAME / "current" / "input_example.json").unlink()

    assert curl_line(tmp_path / "serving", NAME, "http://x:1") == f"curl -s http://x:1/v2/models/{NAME}"
