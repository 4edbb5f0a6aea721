"""The main job, end to end: the command that users give, on the flights, with nothing left out."""

import json
import re
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.flights.conftest import PROBED, SMALL, interrupt, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def partial(folder):
    """What a killed step could have left half-written."""
    return [path for path in folder.rglob("*") if "partial" in path.name]


def test_the_loop_closes(make_project):
    """Train, promote, do nothing twice, compare with the champion, reject data, serve what was promoted."""
    flywheel = make_project()
    spans = ["2013-03-01", "2013-03-01", "2013-02-20", "2013-03-08"]
    done = flywheel("run", *(part for span in spans for part in ("--span", span)), *PROBED)

    assert done.returncode == 0, done.stderr
    assert re.search(r"2013-03-01 .* ok .* ok .* 0\.\d{4} .* promoted v1", done.stdout)
    assert re.search(r"2013-03-01: .*is done: promoted", done.stdout)
    assert re.search(r"2013-02-20: .*older than the champion", done.stdout)
    first, second = flywheel.rows()
    assert (first["span"], first["outcome"]) == ("2013-03-01", "promoted")
    assert (second["span"], second["outcome"] in ("promoted", "kept-champion")) == ("2013-03-08", True)
    assert second["decisions"]["model"]["facts"]["champion"] > 0.5
    assert (flywheel.folder / "schema.pbtxt").read_text().startswith("feature {")
    tried = {"probe.html"} if second["decisions"]["model"]["ok"] else set()
    assert {path.name for path in reports(flywheel, "2013-03-08")} == {"validate.html", "decide.html"} | tried
    for report in reports(flywheel, "2013-03-08"):
        assert not re.search(r"<script|src=|https?://(?!www\.w3\.org)", report.read_text())

    command = [sys.executable, "-m", "flywheel", "transform", "diff", "2013-03-01", "2013-03-08"]
    changed = subprocess.run([*command, str(flywheel.folder), "--json"], capture_output=True, check=True, text=True)
    changes = json.loads(changed.stdout)["changes"]
    assert {"distance", "temp"} <= {change["feature"] for change in changes if change["what"] == "mean"}

    strange = ["--span", "2013-03-09", "--set", "gates.data.drift={carrier: 0.00001}", "--fail-unless-promoted"]
    rejected = flywheel("run", *strange, *SMALL)

    assert rejected.returncode == 1, rejected.stderr
    assert re.search(r"2013-03-09 .* no .* data-rejected", rejected.stdout)
    assert re.search(r"2013-03-09: .*carrier", rejected.stdout)
    assert {path.name for path in reports(flywheel, "2013-03-09")} == {"validate.html"}
    assert not partial(flywheel.folder)

    serves_the_champion(flywheel, version="2" if second["outcome"] == "promoted" else "1")


def reports(flywheel, span):
    return list((flywheel.folder / ".flywheel" / "reports" / span).iterdir())


def serves_the_champion(flywheel, version):
    port, others = free_port(), ["--grpc-port", 0, "--metrics-port", 0]
    started = flywheel("serve", "--background", "--port", port, *others)
    try:
        assert started.returncode == 0, started.stderr
        assert "curl" in started.stdout
        about = get(f"http://127.0.0.1:{port}/v2/models/flight-delays")
        answer = post(f"http://127.0.0.1:{port}/v2/models/flight-delays/infer", flight())

        assert {given["name"] for given in about["inputs"]} == {given["name"] for given in flight()["inputs"]}
        assert 0 < answer["outputs"][0]["data"][0] < 1
        assert answer["model_version"] == version

        taken = flywheel("serve", "--port", port, *others)
        assert taken.returncode != 0
        assert "--port" in taken.stderr
    finally:
        stopped = flywheel("serve", "--stop")
    assert "stopped" in stopped.stdout


def flight():
    words = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "weekday": "Fri"}
    numbers = {"minute_of_day": 315, "distance": 1400, "plane_age": 14, "seats": 149, "temp": 39.0, "dewp": 28.0}
    numbers |= {"humid": 64.0, "wind_speed": 12.7, "precip": 0, "pressure": 1012, "visib": 10}
    return {
        "inputs": [{"name": name, "shape": [1], "datatype": "BYTES", "data": [word]} for name, word in words.items()]
        + [{"name": name, "shape": [1], "datatype": "FP64", "data": [number]} for name, number in numbers.items()]
    }


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def test_interrupted_while_training_it_leaves_nothing_half_done_and_goes_on_later(make_project):
    flywheel = make_project()
    running = flywheel.start("run", "--span", "2013-03-01", *SMALL)
    wait_for(running, "train: started")

    code, _, said = interrupt(running)

    assert code == 130, said
    assert "--resume latest" in said
    assert "Traceback" not in said
    assert [(row["outcome"], row["why"]) for row in flywheel.rows()] == [("failed", "interrupted")]
    assert not (flywheel.folder / ".flywheel" / "serving").exists()
    assert not partial(flywheel.folder)

    later = flywheel("run", "--span", "2013-03-01", *SMALL)

    assert later.returncode == 0, later.stderr
    assert [row["outcome"] for row in flywheel.rows()] == ["failed", "promoted"]


def test_a_champion_that_could_not_be_deployed_fails_the_run_and_is_deployed_by_the_next(make_project):
    flywheel = make_project()
    in_the_way = flywheel.folder / ".flywheel" / "serving"
    in_the_way.write_text("not a folder")
    failed = flywheel("run", "--span", "2013-03-01", *SMALL)

    assert failed.returncode == 1, failed.stderr
    assert "promoted v1" in failed.stdout
    assert "serving" in failed.stdout

    in_the_way.unlink()
    again = flywheel("run", "--span", "2013-03-01", *SMALL)

    assert again.returncode == 0, again.stderr
    assert "promoted v1" in again.stdout
    assert (in_the_way / "flight-delays" / "current").resolve().name == "1"


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("trainer.py", "    return model\n", "    return 'model'\n", "str"),
        ("trainer.py", "import keras\n", "import keras\nimport nowhere\n", "nowhere"),
        ("trainer.py", "    return model\n", "    return model / 0\n", "trainer.py"),
    ],
)
def test_what_only_a_run_can_find_fails_it_with_a_message_and_leaves_no_model(make_project, file, old, new, said):
    flywheel = make_project()
    text = (flywheel.folder / file).read_text()
    assert old in text
    (flywheel.folder / file).write_text(text.replace(old, new, 1))

    done = flywheel("run", "--span", "2013-03-01", *SMALL)

    assert done.returncode == 1, done.stderr
    assert said in done.stdout
    (row,) = flywheel.rows()
    assert row["outcome"] == "failed"
    assert said in row["why"]
    assert not (flywheel.folder / ".flywheel" / "serving").exists()
    assert not partial(flywheel.folder)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("1 AS late", "is 1 in all rows"),
        ("NULLIF(IF(f.arr_delay > 15, 1, 0), 1) AS late", "is null in 19.70% of the rows"),
    ],
)
def test_a_label_that_teaches_nothing_rejects_the_data(make_project, label, said):
    flywheel = make_project()
    query = flywheel.folder / "flights.sql"
    query.write_text(query.read_text().replace("IF(f.arr_delay > 15, 1, 0) AS late", label, 1))

    done = flywheel("run", "--span", "2013-03-01", *SMALL)

    assert done.returncode == 0, done.stderr
    (row,) = flywheel.rows()
    assert row["outcome"] == "data-rejected"
    assert said in row["why"]
    assert not (flywheel.folder / ".flywheel" / "serving").exists()


def test_a_span_without_data_says_what_there_is(make_project):
    done = make_project()("run", "--span", "2019-03-01", *SMALL)

    assert done.returncode == 3
    assert "2013-12-31" in done.stdout
