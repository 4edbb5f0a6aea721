import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from flywheel.errors import ArtifactError, ServingError
from flywheel.serving import background, local
from flywheel.serving.ports import Ports
from flywheel.serving.request import curl_line, example_request
from flywheel.serving.root import Roots, ServingRoot
from tests.serving.service import ROW, Service, free_ports
from tests.serving.toys import NAME, put_in_service, toy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    service = Service(tmp_path_factory.mktemp("service"))
    service.deploy("1")
    service.start()
    yield service
    service.stop()


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
    service.await_log(line)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks into Linux's own table")
def test_only_this_machine_is_listened_to(service):
    listening = Path("/proc/net/tcp").read_text()

    assert f"0100007F:{service.ports.rest:04X}" in listening
    assert f"00000000:{service.ports.rest:04X}" not in listening


def test_the_model_says_which_columns_it_takes(service):
    with urllib.request.urlopen(f"{service.url}/v2/models/{NAME}") as answer:
        found = json.load(answer)

    assert [column["name"] for column in found["inputs"]] == ["distance", "carrier", "hour"]
    assert found["versions"] == [str(service.version)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"distance": ("FP64", 1.0)}, r"missing inputs ['carrier', 'hour']"),
        (ROW | {"distance": ("FP64", "far")}, "input 'distance' is no FP64: could not convert string to float: 'far'"),
        (ROW | {"hour": ("BYTES", "noon")}, "hour"),
        (ROW | {"distance": ("FP64", -1.0)}, "distance is negative"),
        ({}, "missing inputs"),
    ],
    ids=["missing columns", "wrong value", "wrong type", "value that the model refuses", "nothing"],
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
    alive = background.running(service.state)

    service.start()
    assert background.running(service.state) == alive


@pytest.mark.parametrize(
    ("name", "option"), [("rest", "--port"), ("grpc", "--grpc-port"), ("metrics", "--metrics-port")]
)
def test_a_port_in_use_is_said_at_once_with_what_to_do(service, tmp_path, name, option):
    taken = getattr(service.ports, name)
    ports = replace(Ports("127.0.0.1", *free_ports()), **{name: taken})
    begin = time.monotonic()

    with pytest.raises(ServingError, match=rf"port {taken} of 127.0.0.1 is in use\n.*with `{option}`"):
        background.start(service.roots, tmp_path, ports)
    assert time.monotonic() - begin < 1


def test_the_log_holds_nothing_but_what_matters(service):
    lines = [line for line in service.log().split("Traceback")[0].splitlines() if line != f"{NAME} failed"]

    assert [line.split()[0] for line in lines] == ["serving", "curl"]


def test_in_the_foreground_a_port_in_use_is_said_before_anything_is_loaded(service):
    program = (
        "import sys; from pathlib import Path; from flywheel.serving import local\n"
        "from flywheel.serving.ports import Ports; from flywheel.serving.root import Roots, ServingRoot\n"
        f"try: local.serve(Roots((ServingRoot(Path({str(service.serving)!r})),)), Ports(rest={service.ports.rest}))\n"
        "except local.ServingError as error: print(error.remedy, 'mlflow' in sys.modules)"
    )

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout

    assert said == "choose another one with `--port`. False\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_the_port_is_free_again(service, number):
    service.start()
    service.await_log("curl")
    before = service.log()
    os.kill(background.running(service.state).pid, number)
    deadline = time.monotonic() + 15
    while background.running(service.state):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    service.ports.check()
    assert service.log() == before
    assert not (service.state / background.PIDFILE).exists()


def test_a_pid_that_another_process_has_by_now_deceives_nobody(tmp_path):
    (tmp_path / background.PIDFILE).write_text(json.dumps({"pid": os.getpid(), "url": "http://x", "what": "x"}))

    assert background.running(tmp_path) is None
    assert background.stop(tmp_path) is False


def test_nothing_deployed_yet_says_how_to_come_by_a_model(tmp_path):
    roots = Roots((ServingRoot(tmp_path),))
    for call in (lambda: local.serve(roots), lambda: background.start(roots, tmp_path)):
        with pytest.raises(ServingError, match="run `flywheel run`"):
            call()


def test_a_model_damaged_on_disk_is_not_served(tmp_path):
    put_in_service(toy(tmp_path / "model", "1"), tmp_path / "serving", 1)
    (tmp_path / "serving" / NAME / "current" / "MLmodel").write_text("damaged")

    with pytest.raises(ArtifactError, match="is damaged"):
        local.serve(Roots((ServingRoot(tmp_path / "serving"),)))


def test_a_server_that_does_not_come_up_shows_the_end_of_its_log(tmp_path):
    service = Service(tmp_path)
    service.deploy("1", code="raise ImportError('no such library')")

    with pytest.raises(ServingError, match=r"does not load: .*no such library"):
        service.start()


def test_a_request_is_made_of_the_first_whole_row_of_the_example(tmp_path):
    model = toy(tmp_path / "model", "1")
    example = json.loads((model.path / "input_example.json").read_text())
    (model.path / "input_example.json").write_text(json.dumps(example | {"data": [[None, "AA", 1], [5.0, "UA", 2]]}))

    assert [column["data"] for column in example_request(model.path)["inputs"]] == [[5.0], ["UA"], [2]]


def test_a_model_without_an_example_is_asked_for_its_columns(tmp_path):
    put_in_service(toy(tmp_path / "model", "1"), tmp_path / "serving", 1)
    (tmp_path / "serving" / NAME / "current" / "input_example.json").unlink()

    assert curl_line(tmp_path / "serving", NAME, "http://x:1") == f"curl -s http://x:1/v2/models/{NAME}"
