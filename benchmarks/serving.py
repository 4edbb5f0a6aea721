"""What the claims about ledger, promotion and serving rest on; `figures()` measures each beside its peer."""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flywheel.artifacts import Model
from flywheel.config import RequestLog
from flywheel.ledger import Ledger
from flywheel.serving import background
from flywheel.serving.ports import Ports
from flywheel.serving.request import example_request
from flywheel.serving.request_log import Layout, RequestWriter
from flywheel.serving.root import Logged, Roots, ServingRoot
from flywheel.steps.promote import promote
from tests.serving.toys import MODEL, NAME, put_in_service, toy

REQUESTS, SWAPS, STOCK = 500, 20, "MLServer as it comes"
COLUMNS, LOGGED = 15, 2000
_SLOW_TO_LOAD = """
import time

until = time.process_time() + 0.5
while time.process_time() < until:  # busy, as a framework is that builds its graph: it does not give the core away
    pass
"""


def figures() -> list[dict[str, Any]]:
    """Return every figure as {name, value, unit, peer, peer_value, ratio, bar, ok}."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        code = _SLOW_TO_LOAD + MODEL
        models = [toy(folder / f"model-{n}", str(n), code.replace("ANSWER", str(n))) for n in range(1, SWAPS + 2)]
        stock, ours = _measure(_Stock(folder / "stock", models)), _measure(_Ours(folder / "ours", models))
        logged = _latency_of(_Ours(folder / "logged", models, RequestLog(sample=1.0)))
        return [
            _fresh_ledger(folder),
            _promotion(folder, models[0]),
            _figure("request p50", ours["p50"], "ms", STOCK, stock["p50"], 1.5),
            _figure("longest wait in a swap", ours["longest"], "ms", STOCK, stock["longest"], 0.5),
            _figure("request p50, all are logged", logged, "ms", "none are logged", ours["p50"], 1.5),
            *(_cost_of_logging(folder / f"log-{rows}", rows) for rows in (1, 32)),
            _figure(f"failed in {SWAPS} swaps", ours["failed"], "requests", STOCK, stock["failed"], 0, 0),
        ]


def _figure(
    name: str, value: float, unit: str, peer: str, peer_value: float, bar: float, most: float | None = None
) -> dict[str, Any]:
    """Return one figure, lower is better: at most `bar` times its peer, or at most `most` where that is given."""
    ratio = value / peer_value if peer_value else None
    ok = value <= most if most is not None else ratio is not None and ratio <= bar
    return {"name": name, "value": round(value, 4), "unit": unit, "peer": peer, "peer_value": round(peer_value, 4)} | {
        "ratio": None if ratio is None else round(ratio, 3),
        "bar": most if most is not None else f"ratio {bar:g}",
        "ok": ok,
    }


def _fresh_ledger(folder: Path) -> dict[str, Any]:
    """A store that is not there yet: ours, and MLflow's own migrations of it."""
    from flywheel.ledger.engine import SqlAlchemyStore

    def theirs() -> None:
        SqlAlchemyStore(f"sqlite:///{folder}/theirs.db", str(folder / "artifacts")).search_experiments()

    theirs_first = _seconds(theirs)  # whoever is first pays for MLflow's own late imports
    value = _seconds(lambda: Ledger(f"sqlite:///{folder}/a/mlflow.db").rows("x"))
    (folder / "theirs.db").unlink()
    SqlAlchemyStore._engine_map.clear()
    peer_value = min(theirs_first, _seconds(theirs))
    return _figure("fresh ledger", value, "s", "MLflow's migrations", peer_value, 1.0)


def _promotion(folder: Path, model: Model) -> dict[str, Any]:
    """A promotion with its lock, fence and tags: ours, and the calls of MLflow that it comes down to; best of three."""
    ledger = Ledger(f"sqlite:///{folder}/a/mlflow.db")
    client = ledger.client
    runs = {span: ledger.open("x", span, span) for span in ("2013-06-01", "2013-06-02", "2013-06-03")}

    def bare(run: str) -> None:
        client.log_artifacts(run, str(model.path), "bare")
        client.create_registered_model(f"bare-{run}")
        made = client.create_model_version(f"bare-{run}", f"{client.get_run(run).info.artifact_uri}/bare", run)
        client.set_registered_model_alias(f"bare-{run}", "champion", made.version)
        client.set_tag(run, "outcome", "promoted")

    value = min(_seconds(lambda: promote(model, "x", span, ledger, run)) for span, run in runs.items())  # noqa: B023
    peer_value = min(_seconds(lambda: bare(run)) for run in runs.values())  # noqa: B023
    return _figure("promotion", value, "s", "MLflow's bare calls", peer_value, 0, 1.0)


def _cost_of_logging(folder: Path, rows: int) -> dict[str, Any]:
    """What logging takes of the thread that answers, while another one writes; processor time, the median of many."""
    draw, settings = np.random.default_rng(0), RequestLog(sample=1.0, rows=20_000)
    numbers = {f"x{at}": draw.normal(size=rows) for at in range(COLUMNS - 3)}
    words = {f"w{at}": draw.choice(["AA", "UA", "DL"], rows).astype(object) for at in range(3)}
    inputs, outputs = pd.DataFrame(numbers | words), pd.DataFrame({"prediction": draw.random(rows)})
    layout = Layout.of(dict.fromkeys(numbers, "double") | dict.fromkeys(words, "string"), settings)
    writer, times = RequestWriter(folder, settings), []
    for at in range(LOGGED):
        start = time.thread_time()
        writer.add(str(at), "1", layout, inputs, outputs)
        times.append(1000 * (time.thread_time() - start))
    writer.close()
    name = f"logging a request of {rows} x {COLUMNS}"
    return _figure(name, statistics.median(times), "ms", "no log", 0.0, 0, 1.0)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class _Ours:
    """`flywheel serve` in the background, swapped by a deployment."""

    def __init__(self, folder: Path, models: list[Model], log: RequestLog | None = None) -> None:
        self.serving, self.state, self.models, self.port = folder / "serving", folder / "state", models, 18_080
        logs = {NAME: Logged(folder / "requests", log)} if log else {}
        self.roots, self.ports = (
            Roots((ServingRoot(self.serving, logs),)),
            Ports(rest=18_080, grpc=18_081, metrics=18_082),
        )

    def start(self) -> None:
        put_in_service(self.models[0], self.serving, 1)
        background.start(self.roots, self.state, self.ports, say=lambda _: None)

    def swap(self, version: int) -> None:
        put_in_service(self.models[version - 1], self.serving, version)
        while f"version {version} of span" not in (self.state / background.LOG).read_text():
            time.sleep(0.02)

    def stop(self) -> None:
        background.stop(self.state)


class _Stock:
    """`mlserver start` on the same models, swapped by its own repository API."""

    def __init__(self, folder: Path, models: list[Model]) -> None:
        self.folder, self.models, self.port = folder, models, 18_090
        folder.mkdir()

    def start(self) -> None:
        ports = {"http_port": self.port, "grpc_port": self.port + 1, "metrics_port": self.port + 2}
        settings = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **ports}
        (self.folder / "settings.json").write_text(json.dumps(settings))
        self._point_to(1)
        with (self.folder / "log").open("wb") as log:
            command = [sys.executable, "-c", "from mlserver.cli.main import main; main()", "start", str(self.folder)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        while not self._answers():
            time.sleep(0.2)

    def swap(self, version: int) -> None:
        self._point_to(version)
        url = f"http://127.0.0.1:{self.port}/v2/repository/models/{NAME}/load"
        urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60).close()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def _point_to(self, version: int) -> None:
        parameters = {"uri": str(self.models[version - 1].path), "version": str(version)}
        settings = {"name": NAME, "implementation": "mlserver_mlflow.MLflowRuntime", "parameters": parameters}
        (self.folder / "model-settings.json").write_text(json.dumps(settings))

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v2/models/{NAME}/ready", timeout=5).close()
        except OSError:
            return False
        return True


def _measure(server: _Ours | _Stock) -> dict[str, float]:
    """Return the median latency of a request in ms, and how many fail while versions take over from one another."""
    body = json.dumps(example_request(server.models[0].path))
    server.start()
    try:
        p50 = _p50(server.port, body)
        waits: list[float] = []
        failed, done = [0, 0], threading.Event()
        threads = [threading.Thread(target=_load, args=(server.port, body, done, failed, n, waits)) for n in range(2)]
        for thread in threads:
            thread.start()
        for version in range(2, SWAPS + 2):
            server.swap(version)
        done.set()
        for thread in threads:
            thread.join()
    finally:
        server.stop()
    return {"p50": p50, "longest": max(waits), "failed": float(sum(failed))}


def _latency_of(server: _Ours) -> float:
    server.start()
    try:
        return _p50(server.port, json.dumps(example_request(server.models[0].path)))
    finally:
        server.stop()


def _p50(port: int, body: str) -> float:
    """Return the median latency of a request in ms."""
    latencies: list[float] = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(REQUESTS):
        start = time.perf_counter()
        _ask(connection, body)
        latencies.append(1000 * (time.perf_counter() - start))
    return statistics.median(latencies)


def _load(port: int, body: str, done: threading.Event, failed: list[int], number: int, waits: list[float]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while not done.is_set():
        start = time.perf_counter()
        try:
            failed[number] += _ask(connection, body) != 200
        except (OSError, http.client.HTTPException):
            failed[number] += 1
            connection.close()
        waits.append(1000 * (time.perf_counter() - start))


def _ask(connection: http.client.HTTPConnection, body: str) -> int:
    connection.request("POST", f"/v2/models/{NAME}/infer", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


if __name__ == "__main__":
    print(json.dumps(figures(), indent=1))
