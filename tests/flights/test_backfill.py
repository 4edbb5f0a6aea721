"""A backfill on the flights: the same ledger as separate runs, whatever stops it in between."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest

from tests.flights.conftest import SMALL, interrupt, wait_for
from tests.flights.test_flights import free_port

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]
SPANS = ["2013-03-01", "2013-03-02", "2013-03-03"]
RANGE = ["--from", SPANS[0], "--to", SPANS[-1]]


def said(rows):
    """What the ledger says of each span, but for times, names of runs and folders."""
    return [
        {
            "span": row["span"],
            "outcome": row["outcome"],
            "why": row["why"],
            "version": row["version"],
            "champion_after": row["champion_after"],
            "model": row["tags"].get("flywheel.model"),
            "tags": {key: row["tags"][f"flywheel.{key}"] for key in ("window", "judge", "champion", "code")},
            "figures": row["decisions"].get("model", {}).get("facts"),
            "data": row["decisions"]["data"],
        }
        for row in rows
    ]


def tasks(folder, span):
    """How each task of the last run for a span ended, by the last part of its name."""
    for file in sorted(folder.glob(".flywheel/runs/*/state.jsonl"), reverse=True):
        told = {each["task"].rsplit("/", 1)[-1]: each for each in map(json.loads, file.read_text().splitlines())}
        if told["plan"]["outputs"]["parameters"]["span"] == span and "train" in told:
            return {name: each["state"] for name, each in told.items()}
    raise AssertionError(f"no run has trained for {span}")


def test_a_backfill_that_was_stopped_and_went_on_leaves_the_ledger_of_separate_runs(make_project, tmp_path):
    """Interrupted once and started again: of what was finished nothing is run twice, and nothing differs."""
    (tmp_path / "apart").mkdir()
    apart, together = make_project(tmp_path / "apart"), make_project()
    for span in SPANS:
        done = apart("run", "--span", span, *SMALL)
        assert done.returncode == 0, done.stderr

    process = together.start("backfill", *RANGE, *SMALL)
    wait_for(process, "[1/3]")
    code, _, err = interrupt(process)
    assert code == 130, err
    assert "the same command goes on from here" in err
    second = together.start("backfill", *RANGE, *SMALL)
    wait_for(second, "1 of 3 spans are done already")
    at_once = together("backfill", *RANGE, *SMALL)
    out, err = second.communicate(timeout=300)

    assert second.returncode == 0, err
    assert "2 spans in" in out
    assert at_once.returncode == 2
    assert "is under way (process" in at_once.stderr
    assert said(row for row in together.rows() if row["outcome"] != "failed") == said(apart.rows())
    assert tasks(together.folder, SPANS[-1])["train"] == "CACHED"  # the helper has trained it
    assert not list((together.folder / ".flywheel" / "ahead" / "runs").iterdir())
    assert "nothing to do" in together("backfill", *RANGE, *SMALL).stdout


@contextmanager
def mlflow(folder, port):
    """A real MLflow server, killed at the end."""
    store, artifacts = f"sqlite:///{folder}/mlflow.db", folder / "artifacts"
    serve = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    where = ["--backend-store-uri", store, "--artifacts-destination", str(artifacts)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    server = subprocess.Popen([*serve, *where], **quiet)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield server
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # its workers too
        server.wait()


def test_a_backfill_waits_for_an_mlflow_that_is_down_and_goes_on(make_project, tmp_path):
    flywheel, port = make_project(), free_port()
    settings = [*SMALL, "--set", f"ledger.tracking_uri=http://127.0.0.1:{port}"]
    with mlflow(tmp_path, port):
        process = flywheel.start("backfill", "--from", SPANS[0], "--to", SPANS[1], *settings)
        wait_for(process, "[1/2]")
    wait_for(process, "waiting for the ledger")
    with mlflow(tmp_path, port):
        out, err = process.communicate(timeout=300)

    assert process.returncode == 0, err
    assert "2 spans in" in out
