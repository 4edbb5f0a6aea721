"""Prometheus' HTTP API over requests that a test says revisions get."""

import json
import re
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from tests.stand_ins.served import Served

_QUERY = re.compile(
    r"sum by \((?P<by>\w+)\) \(increase\((?P<series>\w+)"
    r'\{namespace_name="(?P<namespace>[^"]+)",revision_name="(?P<revision>[^"]+)"\}\[(?P<seconds>\d+)s\]\)\)'
)
BOUNDS = (5, 10, 20, 40, 60, 80, 100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 700, 800, 900, 1000, 2000, 5000)


class PrometheusStandIn(Served):
    """A Prometheus on this machine; `with PrometheusStandIn() as prometheus:`.

    Attributes:
        served: Called with (revision, seconds); returns (requests, errors, milliseconds that they took).
        asked: Every query.
        down: Whether it answers 503.
    """

    def __init__(self, served=lambda revision, seconds: (0, 0, 10)):
        self.served, self.asked, self.down = served, [], False
        self.serve(_Handler)

    def answer(self, query):
        """Return the vector that a query gives; fractions, as Prometheus extrapolates."""
        self.asked.append(query)
        if query == "vector(1)":
            return [{"metric": {}, "value": [0, "1"]}]
        found = _QUERY.fullmatch(query)
        if not found:
            raise ValueError(f"this stand-in does not know {query!r}")
        requests, errors, milliseconds = self.served(found["revision"], int(found["seconds"]))
        if not requests:
            return []
        if found["series"] == "revision_request_count" and found["by"] == "response_code_class":
            classes = {"2xx": requests - errors, "5xx": errors}
            return [_sample("response_code_class", name, count) for name, count in classes.items() if count]
        if found["series"] == "revision_request_latencies_bucket" and found["by"] == "le":
            bounds = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
            return [_sample("le", bound, requests if float(bound) >= milliseconds else 0) for bound in bounds]
        return []


def _sample(label, value, count):
    return {"metric": {label: value}, "value": [1700000000.123, f"{count * 1.0001:.4f}"]}


class _Handler(BaseHTTPRequestHandler):
    wbufsize = -1

    def do_GET(self):
        parts = urlsplit(self.path)
        code, answer = 200, {}
        if self.server.stand_in.down or parts.path != "/api/v1/query":
            code, answer = 503, {"status": "error", "errorType": "unavailable", "error": "down"}
        else:
            try:
                found = self.server.stand_in.answer(parse_qs(parts.query)["query"][0])
                answer = {"status": "success", "data": {"resultType": "vector", "result": found}}
            except ValueError as error:
                code, answer = 400, {"status": "error", "errorType": "bad_data", "error": str(error)}
        payload = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_):
        pass
