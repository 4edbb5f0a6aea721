"""What the ledger is asked from the command line."""

import json
import os
import re
import time
from itertools import count

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from flywheel.archive import pack
from flywheel.artifacts import Check, Verdict
from flywheel.ledger import Ledger
from flywheel.steps.by_hand import rollback
from flywheel.steps.conclude import conclude
from flywheel.steps.promote import promote
from tests.stores import ledger_in, model_in
from tests.test_config import FLIGHTS

NAME = "flight-delays"
DATA = Verdict("data", (Check("nulls", "pass"), Check("rows", "warn", reason="few rows")), {"rows": 38119})


@pytest.fixture
def project(tmp_path):
    (tmp_path / "flywheel.yaml").write_text(yaml.safe_dump(FLIGHTS | {"hourly_cost": 3600.0}))
    (tmp_path / "flights.sql").write_text("SELECT 1 AS late  -- @start @end")
    ledger_in(tmp_path)
    return tmp_path


@pytest.fixture
def ledger(project):
    seconds = count()  # a second between any two calls; the registry keeps the time of the machine, so not far off it
    return Ledger(f"sqlite:///{project}/.flywheel/mlflow.db", clock=lambda: time.time() + next(seconds))


@pytest.fixture
def ran(ledger, project):
    """Give a function that leaves the row of one span: its model better than the champion, or not."""

    def run(span, better=True, figure=0.7):
        code, champion = pack(project, project / ".flywheel" / "code").stem, ledger.champion(NAME)
        before = champion.version if champion else ""
        row = ledger.open(NAME, span, f"job-{span}", {"code": code, "champion": before, "window": f"{span} to {span}"})
        ledger.record(row, DATA)
        check = Check("auc", "pass") if better else Check("auc", "fail", slice="carrier=AA", reason="worse by 0.1")
        ledger.record(row, Verdict("model", (check,), {"metric": "auc", "candidate": figure, "champion": 0.6}))
        if better:
            promote(model_in(project / f"model-{span}", span), NAME, span, ledger, row)
        ledger.close(row, ok=True)
        return row

    return run


@pytest.fixture
def three(ran):
    """Two promotions, and one model kept back after them."""
    return [ran("2013-06-01"), ran("2013-06-02", figure=0.75), ran("2013-06-03", better=False)]


def test_status_tells_what_was_trained_what_serves_and_what_it_cost(command, project, three):
    out = command("status", project).out

    (line,) = [line for line in out.splitlines() if line.startswith("2013-06-03 ")]
    cells = "2013-06-03 38,119 ok yes no 0.7000 0.6000 kept-champion v2".split()
    assert line.split()[:-2] == cells
    seconds, cost = map(float, line.split()[-2:])
    assert cost == pytest.approx(seconds, abs=0.06)  # an hour costs 3600


def test_status_as_json_is_one_typed_object_a_run(command, project, three):
    last = json.loads(command("status", project, "--json").out.splitlines()[-1])

    assert (last["trained"], last["champion_after"], last["cost"]) == (True, "2", last["seconds"])


def test_a_rollback_changes_who_serves_after_the_next_run(command, project, ledger, three, ran):
    rollback(ledger, NAME, "", "late", "ada", lambda version, run: None)
    ran("2013-06-04", better=False)

    rows = [json.loads(line) for line in command("status", project, "--json").out.splitlines()]

    assert [row["champion_after"] for row in rows] == ["1", "2", "2", "1"]


def test_a_narrow_terminal_gets_blocks_and_no_line_is_wider(project, three, monkeypatch):
    import io

    import rich.console

    from flywheel.cli import table

    written = io.StringIO()
    real = rich.console.Console
    monkeypatch.setattr(
        rich.console, "Console", lambda **_: real(file=written, force_terminal=True, width=50, color_system=None)
    )
    table.show(Ledger(f"sqlite:///{project}/.flywheel/mlflow.db").rows(NAME))

    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= 50
    assert "2013-06-02  promoted v2" in lines


def test_show_takes_a_span_and_names_the_checks_that_did_not_pass(command, project, three):
    done = command("show", "2013-06-03", "--in", project)

    assert done.code == 0, done.err
    assert "gate data: passed" in done.out
    assert "    warn: rows: few rows" in done.out
    assert "    fail: auc [carrier=AA]: worse by 0.1" in done.out
    assert "against: version 2" in done.out


def test_show_tells_a_span_without_a_run_from_what_is_no_span(command, project, three):
    missing = command("show", "2013-07-01", "--in", project)
    wrong = command("show", "yesterday", "--in", project)

    assert (missing.code, wrong.code) == (2, 2)
    assert "has no run for span 2013-07-01: it ran for 2013-06-01 to 2013-06-03" in missing.err
    assert "'yesterday' is no run of this folder, and no span" in wrong.err


def test_history_tells_when_each_version_was_champion(command, project, ledger, three):
    rollback(ledger, NAME, "", "it calls every flight late", "ada", lambda version, run: None)

    out = command("history", "--in", project).out
    first, second = [json.loads(line) for line in command("history", "--in", project, "--json").out.splitlines()]

    assert [reign["by"] for reign in first["reigns"]] == ["run", "rollback"]
    assert first["reigns"][0]["until"] == second["reigns"][0]["since"]
    assert first["reigns"][1]["until"] is None
    assert second["rolled_back"] == "it calls every flight late"
    assert re.search(r"v1 +2013-06-01 .* 0\.7000 .* run +champion", out)
    assert "v2 was rolled back: it calls every flight late" in out


def test_history_of_an_unknown_model_names_those_there_are(command, project, three):
    done = command("history", "flights", "--in", project)

    assert done.code == 2
    assert "there is no model 'flights' in the ledger" in done.err
    assert "there are flight-delays." in done.err


def test_lineage_names_rows_sql_code_parents_and_decisions(command, project, three):
    found = json.loads(command("lineage", "--in", project, "--json").out)

    assert (found["version"], found["span"], found["window"]) == ("2", "2013-06-02", "2013-06-02 to 2013-06-02")
    assert found["query"] == "SELECT 1 AS late  -- @start @end"
    assert [parent["version"] for parent in found["parents"]] == ["1"]
    assert [(said["gate"], said["ok"], said["checks"]["warn"]) for said in found["decisions"]] == [
        ("data", True, 1),
        ("model", True, 0),
    ]
    assert len(found["code"]) == 32
    text = command("lineage", "v1", "--in", project).out
    assert text.startswith("version 1 of flight-delays, span 2013-06-01\n")
    assert "  none: it was the first" in text


def test_lineage_as_a_picture_needs_no_network_and_no_script(command, project, three):
    done = command("lineage", "--in", project, "--html", project / "lineage.html")

    page = (project / "lineage.html").read_text()
    assert done.code == 0, done.err
    assert not re.search(r"<script|src=|https?://(?!www\.w3\.org)", page)
    assert "gate: data" in page
    assert "before it, each judged" in page


def test_lineage_without_the_archive_of_code_says_so(command, project, three):
    for archive in (project / ".flywheel" / "code").iterdir():
        archive.unlink()

    assert "not known: its archive of code is not here" in command("lineage", "--in", project).out


def test_export_gives_every_row_typed(command, project, three):
    done = command("export", project, "--out", project / "out" / "ledger.parquet")

    assert done.out.startswith("3 rows of flight-delays")
    table = pq.read_table(project / "out" / "ledger.parquet")
    assert table.schema.field("started").type == pa.timestamp("us", "UTC")
    assert table.schema.field("model_ok").type == pa.bool_()
    assert table["outcome"].to_pylist() == ["promoted", "promoted", "kept-champion"]
    assert table["champion_after"].to_pylist() == ["1", "2", "2"]
    assert table["rows"].to_pylist() == [38119] * 3
    assert table["candidate"].to_pylist() == [0.7, 0.75, 0.7]
    assert os.listdir(project / "out") == ["ledger.parquet"]


def test_export_of_a_flywheel_that_never_ran_is_an_empty_table(command, project):
    assert command("export", project, "--out", project / "none.parquet").code == 0
    assert pq.read_table(project / "none.parquet").num_rows == 0


def test_a_run_whose_clock_was_set_back_still_comes_last(project):
    now = [1_500_000_000.0]
    ledger = Ledger(f"sqlite:///{project}/.flywheel/mlflow.db", clock=lambda: now[0])
    ledger.open(NAME, "2013-06-01", "first")
    ledger.act(NAME, "freeze", "the holidays", "ada")
    now[0] -= 3600
    second = ledger.open(NAME, "2013-06-02", "second")
    thaw = ledger.act(NAME, "unfreeze", "they are over", "ada")
    ledger.client.set_terminated(thaw.run, "FINISHED")
    conclude(NAME, ledger.tracking_uri, "second", "FAILED", "a step failed")

    assert [row.job for row in ledger.rows(NAME)] == ["first", "second"]
    assert [act.kind for act in ledger.acts(NAME)] == ["freeze", "unfreeze"]
    assert ledger.row(second).seconds >= 0
