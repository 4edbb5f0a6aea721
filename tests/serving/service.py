"""A server in a process of its own, and what a test asks of it."""

import json
import socket
import time
import urllib.error
import urllib.request

from flywheel.serving import background
from flywheel.serving.ports import Ports
from flywheel.serving.root import Logged, Roots, ServingRoot
from tests.serving.toys import NAME, put_in_service, toy

ROW = {
    "distance": ("FP64", 1400.0),
    "carrier": ("BYTES", "AA"),
    "hour": ("INT64", 9),
}


def free_ports(count=3):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    found = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return found


def request(row=ROW, **changes):
    columns = (row | changes).items()
    return {"inputs": [{"name": n, "datatype": k, "shape": [1], "data": [v]} for n, (k, v) in columns]}


class Service:
    """A server in the background; options are those of `deploy.log`."""

    def __init__(self, folder, log=None):
        self.folder, self.serving, self.state = folder, folder / "serving", folder / ".flywheel"
        self.ports = Ports("127.0.0.1", *free_ports())
        self.requests = folder / "requests"
        logs = {NAME: Logged(self.requests, log)} if log else {}
        self.roots = Roots((ServingRoot(self.serving, logs),))
        self.said, self.versions = [], {NAME: 0}

    @property
    def version(self):
        return self.versions[NAME]

    def deploy(self, answer, name=NAME, **options):
        self.versions[name] = version = self.versions.get(name, 0) + 1
        put_in_service(toy(self.folder / f"{name}-{version}", answer, **options), self.serving, version, name)

    def start(self):
        self.url = background.start(self.roots, self.state, self.ports, say=self.said.append)

    def stop(self):
        return background.stop(self.state)

    def ask(self, row=ROW, name=NAME, **changes):
        return self.post("infer", request(row, **changes), name)

    def post(self, what, body, name=NAME):
        asked = urllib.request.Request(
            f"{self.url}/v2/models/{name}/{what}", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports.metrics}/metrics", timeout=30) as answer:
            lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def log(self):
        return (self.state / "serve.log").read_text()

    def await_log(self, text):
        deadline = time.monotonic() + 60
        while text not in self.log():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def await_version(self, name=NAME):
        of = "" if len(self.versions) == 1 else f" of {name}"
        self.await_log(f"version {self.versions[name]}{of} of span")
