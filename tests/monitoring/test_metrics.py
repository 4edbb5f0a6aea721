"""Figures of a run as OpenMetrics: what is in them, where they go, and what happens when they cannot."""

import json
import re
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as as_node_exporter_does

from flywheel.artifacts import Verdict
from flywheel.ledger import Ledger
from flywheel.steps.conclude import conclude
from tests.stores import ledger_in

BOARD = Path(__file__).parents[2] / "docs" / "grafana.json"


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(ledger_in(tmp_path))
    run = made.open("flights", "2013-06-01", "job-1")
    made.record(run, Verdict("model", (), {"metric": "auc", "candidate": 0.71, "champion": None, "rows": 900}))
    made.settle(run, "promoted", "it is better")
    return made


def close(ledger, **metrics):
    conclude("flights", ledger.tracking_uri, "job-1", "SUCCEEDED", "", {"metrics": metrics, "kind": "ledger"})


def samples(text, parse=text_string_to_metric_families):
    return {
        (sample.name, *(value for key, value in sorted(sample.labels.items()) if key not in ("flywheel", "kind"))): (
            sample.value
        )
        for family in parse(text)
        for sample in family.samples
    }


def test_a_file_holds_outcome_gates_and_figures_for_both_kinds_of_readers(ledger, tmp_path):
    close(ledger, textfile=str(tmp_path / "exporter"))

    (file,) = (tmp_path / "exporter").iterdir()
    found = samples(file.read_text())
    assert file.name == "flywheel-flights-ledger.prom"
    assert found == samples(file.read_text(), as_node_exporter_does)
    assert found["flywheel_run_outcome", "promoted"] == 1
    assert found["flywheel_run_outcome", "failed"] == 0
    assert found["flywheel_gate_ok", "model"] == 1
    assert found["flywheel_figure", "candidate", "model"] == 0.71
    assert found["flywheel_span_timestamp_seconds",] == 1370044800


def test_a_gateway_gets_them_under_the_names_of_flywheel_and_kind(ledger):
    got = []

    class Gateway(BaseHTTPRequestHandler):
        def do_PUT(self):
            got.append((self.path, self.rfile.read(int(self.headers["content-length"])).decode()))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Gateway)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    close(ledger, pushgateway=f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()

    ((path, body),) = got
    assert path == "/metrics/job/flywheel/flywheel/flights/kind/ledger"
    assert 'flywheel_run_outcome{flywheel="flights",kind="ledger",outcome="promoted"} 1.0' in body


def test_a_gateway_that_is_gone_fails_no_run(ledger, capsys):
    close(ledger, pushgateway="http://127.0.0.1:9")

    assert "the figures of this run are not published: URLError" in capsys.readouterr().out
    assert ledger.find("flights", "job-1").status == "finished"


def test_the_board_asks_for_metrics_that_there_are(ledger, tmp_path):
    close(ledger, textfile=str(tmp_path))
    known = {name for name, *_ in samples((tmp_path / "flywheel-flights-ledger.prom").read_text())}
    known |= {"flywheel_champion_version", "flywheel_champion_span_timestamp_seconds"}
    asked = {
        name
        for panel in json.loads(BOARD.read_text())["panels"]
        for target in panel["targets"]
        for name in re.findall(r"flywheel_\w+", target["expr"])
    }

    assert asked <= known
