"""A project in which all is well, and a registry of images on this machine."""

from http.server import BaseHTTPRequestHandler

import duckdb
import pytest
import yaml

from flywheel.doctor import examine
from flywheel.workspace import Workspace
from tests.stand_ins.served import Served

DECLARED = {
    "name": "visits",
    "source": {"warehouse": "duckdb:///visits.duckdb", "query": "visits.sql"},
    "label": "late",
    "features": [{"column": "pages", "as": "numeric"}],
    "train": {"trainer": "trainer:train", "baseline": False},
    "gates": {"model": [{"metric": "auc", "at_least": 0.6}]},
}
QUERY = "SELECT pages, late, day FROM visits WHERE day >= @start AND day < @end"


@pytest.fixture(autouse=True)
def nobodys_cluster(monkeypatch, tmp_path):
    """Whatever the machine is logged in to is not for tests."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    for name in ("KUBERNETES_SERVICE_HOST", "FLYWHEEL_IMAGES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path):
    """Write a project whose flywheel.yaml has other keys laid over it, and return its folder."""
    folder = tmp_path / "visits"
    folder.mkdir()
    with duckdb.connect(str(folder / "visits.duckdb")) as connection:
        connection.execute("CREATE TABLE visits AS SELECT 1 AS pages, 0 AS late, DATE '2024-03-01' AS day")
    (folder / "visits.sql").write_text(QUERY)
    (folder / "trainer.py").write_text("def train(context): ...\n")

    def write(**keys):
        (folder / "flywheel.yaml").write_text(yaml.safe_dump(DECLARED | keys))
        return folder

    return write


@pytest.fixture
def findings(project):
    """Examine a project; give what was found, by check."""

    def look(**keys):
        found = {}
        for each in examine(Workspace.open(project(**keys))):
            found.setdefault(each.check, []).append(each)
        return found

    return look


class Registry(Served):
    """Answers as a registry of the Docker Registry HTTP API V2 does that wants a token."""

    def __init__(self, images):
        registry, self.asked, self.ahead, self.status = self, [], 0.0, None

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def date_time_string(self, timestamp=None):
                import time

                return super().date_time_string((timestamp or time.time()) + registry.ahead)

            def do_GET(self):
                registry.asked.append(self.path)
                self._answer(200, {}, b'{"token": "let-me-in"}')

            def do_HEAD(self):
                registry.asked.append(self.path)
                name, _, tag = self.path.removeprefix("/v2/").partition("/manifests/")
                if registry.status:
                    self._answer(registry.status)
                elif self.headers.get("Authorization") != "Bearer let-me-in":
                    realm = f'Bearer realm="{registry.url}/token",service="here",scope="repository:{name}:pull"'
                    self._answer(401, {"WWW-Authenticate": realm})
                elif f"{name}:{tag}" in images:
                    self._answer(200, {"Docker-Content-Digest": "sha256:0123456789abcdef0123"})
                else:
                    self._answer(404)

            def _answer(self, code, headers=(), body=b""):
                self.send_response(code)
                for key, value in dict(headers).items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.serve(Handler)


@pytest.fixture
def registry():
    with Registry({"team/cpu:latest"}) as served:
        yield served
