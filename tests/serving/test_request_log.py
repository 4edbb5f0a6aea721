"""The request log: what is kept, what never is, and what happens when it cannot be written."""

import json
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.config import RequestLog
from flywheel.serving import background
from flywheel.serving.request_log import META, Layout, RequestWriter
from flywheel.steps.extract import extract
from tests.serving.service import Service
from tests.serving.toys import NAME

TYPES = {"distance": "double", "carrier": "string", "hour": "long"}
NOON = datetime(2013, 6, 1, 12, tzinfo=UTC).timestamp()


def rows(count=3):
    columns = {"distance": [1.5, None, 3.0], "carrier": ["AA", None, "é"], "hour": [0, 1, 2]}
    return pd.DataFrame(columns)[:count]


def answers(count=3):
    return pd.DataFrame({"prediction": [0.25] * count})


class Writer:
    """A writer whose clock and chance stand still until a test moves them."""

    def __init__(self, folder, **options):
        self.now, self.said, self.counts = NOON, [], {"written": 0, "lost": 0}
        self.settings = RequestLog.model_validate({"sample": 1.0} | options)
        self.layout = Layout.of(TYPES, self.settings)
        self.writer = RequestWriter(
            folder, self.settings, self.count, self.said.append, clock=lambda: self.now, chance=lambda: 0.5
        )

    def count(self, what, rows):
        self.counts[what] += rows

    def add(self, request="a", inputs=None, version="1"):
        self.writer.add(request, version, self.layout, rows() if inputs is None else inputs, answers())

    def close(self):
        self.writer.close()

    def wait(self, what, rows):
        deadline = time.monotonic() + 20
        while self.counts[what] < rows:
            assert time.monotonic() < deadline, self.counts
            time.sleep(0.02)


def logged(folder):
    return pa.concat_tables([pq.ParquetFile(file).read() for file in sorted(folder.rglob("*.parquet"))])


def test_what_was_asked_and_answered_stands_in_a_file_of_its_day(tmp_path):
    writer = Writer(tmp_path)
    writer.add("first")
    writer.add("second", version="2")
    writer.close()

    (file,) = tmp_path.rglob("*.parquet")
    assert file.parent.name == "day=2013-06-01"
    table = pq.ParquetFile(file).read()
    assert table.column_names == [*META, *TYPES, "prediction"]
    assert table.slice(2, 2).to_pylist() == [
        {"flywheel_request": "first", "flywheel_row": 2, "flywheel_time": datetime(2013, 6, 1, 12, tzinfo=UTC),
         "flywheel_version": "1", "distance": 3.0, "carrier": "é", "hour": 2, "prediction": 0.25},
        {"flywheel_request": "second", "flywheel_row": 0, "flywheel_time": datetime(2013, 6, 1, 12, tzinfo=UTC),
         "flywheel_version": "2", "distance": 1.5, "carrier": "AA", "hour": 0, "prediction": 0.25},
    ]  # fmt: skip
    assert table["distance"].null_count == table["carrier"].null_count == 2
    assert writer.counts == {"written": 6, "lost": 0}


def test_redacted_columns_are_in_no_file(tmp_path):
    writer = Writer(tmp_path, redact=["carrier", "prediction"])
    writer.add()
    writer.close()

    assert logged(tmp_path).column_names == [*META, "distance", "hour"]
    assert "é".encode() not in b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_named_columns_alone_are_kept_and_others_than_the_models_as_text(tmp_path):
    writer = Writer(tmp_path, columns=["hour", "customer", "absent"])
    writer.add(inputs=rows().assign(customer=[17, 18, 19]))
    writer.close()

    found = logged(tmp_path).select(["hour", "customer", "absent"])
    assert found.to_pydict() == {"hour": [0, 1, 2], "customer": ["17", "18", "19"], "absent": [None] * 3}


@given(share=st.floats(0.01, 1), draws=st.lists(st.floats(0, 1, exclude_max=True), max_size=40))
@settings(max_examples=25, deadline=None)
def test_the_share_that_is_asked_for_is_kept(tmp_path_factory, share, draws):
    given_draws = iter(draws)
    writer = RequestWriter(tmp_path_factory.mktemp("log"), RequestLog(sample=share), chance=lambda: next(given_draws))
    layout = Layout.of(TYPES, writer.settings)
    for _ in draws:
        writer.add("a", "1", layout, rows(1), answers(1))
    with writer._lock:
        kept = writer._rows
    writer.close()

    assert kept <= sum(draw < share for draw in draws)
    files = list(writer.folder.rglob("*.parquet"))
    assert sum(pq.ParquetFile(file).metadata.num_rows for file in files) == sum(draw < share for draw in draws)


def test_a_file_is_closed_when_it_is_full_and_when_it_is_old(tmp_path):
    writer = Writer(tmp_path, rows=4, every="1h")
    writer.add()
    time.sleep(1.2)
    assert writer.counts["written"] == 0
    writer.add()
    writer.wait("written", 6)
    writer.add()
    time.sleep(1.2)
    assert writer.counts["written"] == 6
    writer.now += 3600
    writer.wait("written", 9)
    writer.close()

    assert len(list(tmp_path.rglob("*.parquet"))) == 2


def test_another_day_and_other_columns_begin_another_file(tmp_path):
    writer = Writer(tmp_path)
    writer.add("monday")
    writer.now += timedelta(days=1).total_seconds()
    writer.add("tuesday")
    writer.layout = Layout.of(TYPES | {"wind": "double"}, writer.settings)
    writer.add("windy", rows().assign(wind=1.0))
    writer.close()

    found = sorted((file.parent.name, pq.read_schema(file).names[-2]) for file in tmp_path.rglob("*.parquet"))
    assert found == [("day=2013-06-01", "hour"), ("day=2013-06-02", "hour"), ("day=2013-06-02", "wind")]


def test_a_request_that_cannot_be_logged_is_counted_and_said_once(tmp_path):
    writer = Writer(tmp_path)
    for _ in range(3):
        writer.add(inputs=rows().assign(hour=["late", "later", "latest"]))
    writer.add()
    writer.close()

    assert writer.counts == {"written": 3, "lost": 3}
    assert writer.said[0].startswith("a request is not logged: ")
    assert [line.split(",")[0] for line in writer.said[1:]] == ["requests are logged again"]


def test_a_full_disk_stops_the_log_and_is_said_once(tmp_path):
    program = f"""
        import json, resource, time
        from pathlib import Path
        import numpy as np, pandas as pd
        from flywheel.config import RequestLog
        from flywheel.serving.request_log import Layout, RequestWriter

        counts, said = {{"written": 0, "lost": 0}}, []
        log = RequestLog(sample=1, rows=1000)
        def count(what, rows):
            counts[what] += rows

        writer = RequestWriter(Path({str(tmp_path)!r}), log, count, said.append)
        layout, draw = Layout.of({{"x": "double"}}, log), np.random.default_rng(0)

        def add(until, what):
            inputs, outputs = draw.normal(size=5000), np.zeros(5000)
            writer.add("a", "1", layout, pd.DataFrame({{"x": inputs}}), pd.DataFrame({{"prediction": outputs}}))
            while counts[what] < until:
                time.sleep(0.05)

        add(5000, "written")
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
        add(5000, "lost")
        add(10000, "lost")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        add(10000, "written")
        writer.close()
        print(json.dumps([counts, said]))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120)
    counts, said = json.loads(done.stdout)

    assert counts == {"written": 10000, "lost": 10000}
    assert "requests are not logged for now, serving goes on: " in said[0]
    assert said[1:] == [f"requests are logged again, in {tmp_path}"]
    assert [file.name for file in tmp_path.rglob("*") if "partial" in file.name] == []


@pytest.mark.slow
def test_a_server_logs_what_rest_and_grpc_clients_ask(tmp_path):
    service = Service(tmp_path, RequestLog(sample=1.0, redact=("carrier",), every=timedelta(seconds=1)))
    service.deploy("3")
    service.start()
    try:
        assert service.post("infer", {**_request(), "id": "mine"})[1]["id"] == "mine"
        given = service.post("infer", _request())[1]["id"]
        assert service.post("infer", {"inputs": []})[0] == 400
        _wait_for(tmp_path / "requests", 2)
        by_grpc = _ask_by_grpc(service.ports.grpc)
        while f'flywheel_log_rows_total{{model="{NAME}",what="written"}}' not in service.metrics():
            time.sleep(0.1)
    finally:
        service.stop()

    table = logged(tmp_path / "requests")
    assert table["flywheel_request"].to_pylist() == ["mine", given, by_grpc]
    assert (
        table.select(["distance", "hour", "prediction", "flywheel_version"]).to_pylist()
        == [{"distance": 1400.0, "hour": 9, "prediction": 3.0, "flywheel_version": "1"}] * 3
    )
    assert "carrier" not in table.column_names


@pytest.mark.slow
def test_a_server_of_rest_alone_that_is_killed_loses_the_unwritten_tail_alone(tmp_path):
    service = Service(tmp_path, RequestLog(sample=1.0, every=timedelta(seconds=1)))
    service.ports = replace(service.ports, grpc=0, metrics=0)
    service.deploy("3")
    service.start()
    service.ask()
    _wait_for(tmp_path / "requests", 1)
    service.ask()
    process = psutil.Process(background.running(service.state).pid)
    listening = [each.laddr for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    process.kill()
    while background.running(service.state):
        time.sleep(0.02)

    assert 1 <= logged(tmp_path / "requests").num_rows <= 2
    assert listening == [("127.0.0.1", service.ports.rest)]


def test_the_log_is_extracted_span_by_span_as_a_table_of_a_parquet_warehouse(tmp_path):
    writer = Writer(tmp_path / "requests" / "flight-delays")
    writer.add()
    writer.now += timedelta(days=1).total_seconds()
    writer.add("tuesday")
    writer.close()
    query = """
        SELECT distance, carrier, CAST(hour AS INT64) AS hour FROM `flight-delays`
        WHERE flywheel_time >= @start AND flywheel_time < @end
    """
    where, how = f"parquet:///{tmp_path}/requests/**/*.parquet", {"every": "day", "may_be_empty": True}
    days = ["2013-06-01", "2013-06-02", "2013-06-03"]

    found = extract(query, where, days, [], how, "", tmp_path / "examples")

    assert [found.rows_of([day]) for day in days] == [3, 3, 0]
    assert found.table(["2013-06-02"]).to_pydict() == {
        "distance": [1.5, None, 3.0],
        "carrier": ["AA", None, "é"],
        "hour": [0, 1, 2],
    }


def test_an_input_that_is_no_scalar_is_not_kept():
    layout = Layout.of({"x": "double", "photo": "binary", "padded": ""}, RequestLog(sample=1))

    assert list(layout.inputs) == ["x", "photo"]


def _request():
    columns = {"distance": ("FP64", 1400.0), "carrier": ("BYTES", "secret"), "hour": ("INT64", 9)}
    return {"inputs": [{"name": n, "datatype": k, "shape": [1], "data": [v]} for n, (k, v) in columns.items()]}


def _wait_for(folder, rows):
    deadline = time.monotonic() + 30
    while sum(pq.ParquetFile(file).metadata.num_rows for file in folder.rglob("*.parquet")) < rows:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _ask_by_grpc(port):
    """Ask without an id and return the one that was made."""
    import grpc
    from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub

    from tests.serving.test_swaps import GRPC

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        return GRPCInferenceServiceStub(channel).ModelInfer(GRPC, timeout=30).id
