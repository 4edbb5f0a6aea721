"""Whoever posts makes it look; what it answers acknowledges or asks for the message again."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from typer.testing import CliRunner

from flywheel.cli.main import app
from flywheel.errors import ClusterError, ConfigError
from flywheel.listen import Together, server
from flywheel.trigger import Look

FOUND = Look("flights", "2026-03-01", True, "", "http://kfp/1")
PUSHED = json.dumps({"message": {"data": "aGk=", "messageId": "1"}, "subscription": "projects/p/subscriptions/s"})


@pytest.fixture
def listening():
    """Serve a look; ask it."""
    opened = []

    def serve(look, told=None, admit=None):
        made = server(look, "127.0.0.1", 0, (told if told is not None else []).append, admit)
        opened.append(made)
        threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
        return lambda method="POST", body=PUSHED, **headers: ask(made.server_address[1], method, body, headers)

    yield serve
    for made in opened:
        made.shutdown()
        made.server_close()


def ask(port, method, body, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, "/", body, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_a_pushed_message_is_acknowledged_with_what_was_found(listening):
    told = []
    status, said = listening(lambda: FOUND, told)()

    assert status == 200
    assert said == {"name": "flights", "span": "2026-03-01", "started": True, "why": "", "link": "http://kfp/1"}
    assert told == ["flights 2026-03-01: started"]


def test_a_look_that_fails_is_not_acknowledged_and_the_next_may_be(listening):
    answers = [ClusterError("the cluster cannot be reached", "try later."), FOUND]

    def look():
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        return answer

    post = listening(look)
    status, said = post()

    assert (status, "cannot be reached" in said["error"]) == (503, True)
    assert post()[0] == 200


def test_its_health_may_be_asked_without_a_look(listening):
    assert listening(lambda: pytest.fail("looked"))("GET", None) == (200, {"listening": True})


def test_a_message_that_is_too_large_is_refused_unread(listening):
    assert listening(lambda: FOUND)("POST", "", **{"Content-Length": str(2**30)})[0] == 413


def test_a_burst_shares_looks_and_each_is_answered_by_one_that_began_after_it():
    looking, gate, looks, asked = threading.Event(), threading.Event(), [], threading.Semaphore(0)

    def look():
        looks.append(len(looks))
        looking.set()
        gate.wait(20)
        return Look("flights", str(len(looks)), True, "")

    together = Together(look)

    def one():
        asked.release()
        return together().span

    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(together)
        assert looking.wait(20)
        rest = [pool.submit(one) for _ in range(19)]
        for _ in rest:
            assert asked.acquire(timeout=20)
        time.sleep(0.2)  # from there to the lock it is a few instructions
        gate.set()

        assert first.result(20).span == "1"
        assert {each.result(20) for each in rest} == {"2"}
    assert len(looks) == 2


def test_the_command_listens_until_it_is_told_to_stop(flywheel):
    command = [sys.executable, "-m", "flywheel", "trigger", str(flywheel()), "--listen", "0", "--unverified"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as run:
        port = re.fullmatch(r"listening at http://127\.0\.0\.1:(\d+)\n", run.stdout.readline())[1]
        status, said = ask(int(port), "POST", PUSHED, {})
        run.send_signal(signal.SIGTERM)
        rest = run.stdout.read()

    assert status == 503
    assert "kubeflow.pipeline_root is not set" in said["error"]
    assert rest.endswith("stopped\n")
    assert run.returncode == 0


@pytest.mark.parametrize("where", ["http", "70000", "localhost:"])
def test_what_is_no_port_is_told(flywheel, where):
    said = subprocess.run(
        [sys.executable, "-m", "flywheel", "trigger", str(flywheel()), "--listen", where, "--unverified"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert said.returncode == 2
    assert "write a port, as 8080" in said.stderr


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ([], "give --audience and --pusher"),
        (["--audience", "https://f"], "give --audience and --pusher"),
        (["--pusher", "p@x"], "give --audience and --pusher"),
        (["--unverified", "--pusher", "p@x"], "give one or other"),
        (["--audience", "https://f", "--pusher", "pusher"], "e-mail address"),
    ],
)
def test_it_does_not_listen_without_knowing_whom_to(flywheel, given, remedy):
    said = CliRunner().invoke(app, ["trigger", str(flywheel()), "--listen", "0", *given])

    assert isinstance(said.exception, ConfigError)
    assert remedy in said.exception.remedy
