"""What `flywheel run` does about its data: waits for what has not arrived, and takes again what it extracted before."""

import json

import duckdb
import pytest
import yaml

from tests.command import flywheel

TRAINER = """
def train(context):
    raise RuntimeError("no luck today")
"""


@pytest.fixture
def project(tmp_path):
    """A flywheel over ten days of clicks, 300 a day, whose trainer fails."""
    settings = {
        "name": "clicks",
        "source": {"warehouse": "duckdb:///clicks.duckdb", "query": "clicks.sql", "window": 3, "judge": 2},
        "label": "clicked",
        "features": [{"column": "age", "as": "numeric"}],
        "train": {"trainer": "trainer:train"},
    }
    (tmp_path / "flywheel.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "clicks.sql").write_text("SELECT age, clicked FROM clicks WHERE day >= @start AND day < @end")
    (tmp_path / "trainer.py").write_text(TRAINER)
    change(
        tmp_path,
        """
        CREATE TABLE clicks AS
        SELECT (i * 7919 % 97)::DOUBLE AS age, (i * 31 % 3 = 0)::INT AS clicked,
               DATE '2024-03-01' + (i // 300)::INT AS day
        FROM range(3000) AS t(i)
        """,
    )
    return tmp_path


def change(project, statement):
    with duckdb.connect(str(project / "clicks.duckdb")) as connection:
        connection.execute(statement)


def run(project, *arguments):
    return flywheel("run", project, "--json", *arguments)


def events(done, kind):
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [event for event in found if event["event"] == kind]


def state(done, task):
    return next(event["state"] for event in events(done, "TaskFinished") if event["task"].endswith(f"/{task}"))


@pytest.mark.slow
def test_a_span_whose_data_has_not_arrived_is_exit_code_3_and_leaves_nothing_behind(project):
    done = run(project, "--span", "2024-03-11")

    assert done.returncode == 3, done.stderr
    (row,) = events(done, "Outcome")
    assert (row["outcome"], row["run"]) == ("not-ready", "")
    assert "span 2024-03-11 has no rows yet; there is data from 2024-03-01" in row["why"]


@pytest.mark.slow
def test_what_was_extracted_is_taken_again_until_the_warehouse_changes(project):
    first = run(project, "--span", "2024-03-10")
    again = run(project, "--span", "2024-03-10")
    change(project, "INSERT INTO clicks SELECT * FROM clicks LIMIT 30")
    changed = run(project, "--span", "2024-03-10")

    assert [done.returncode for done in (first, again, changed)] == [1, 1, 1], first.stderr
    assert [state(done, "extract") for done in (first, again, changed)] == ["SUCCEEDED", "CACHED", "SUCCEEDED"]
    assert "no luck today" in events(first, "Outcome")[0]["why"]


@pytest.mark.parametrize(
    ("file", "text", "arguments", "said"),
    [
        ("invariants.yaml", "- uniqe: [age]", [], "invariants.yaml, line 1"),
        ("invariants.yaml", "- unique: [flight]", [], "unique flight names the column 'flight', which the query does"),
        ("schema.pbtxt", "feature { nam: 'x' }", [], "schema.pbtxt, line 1"),
        (
            "notes",
            "",
            ["--set", "source.watermark=SELECT FROM clicks WHERE"],
            "source.watermark: the query does not",
        ),
        (
            "notes",
            "",
            ["--set", "source.watermark=SELECT @end"],
            "source.watermark: the query takes",
        ),
        ("notes", "", ["--span", "0001-01-02"], "no calendar has what is"),
    ],
)
def test_what_is_wrong_with_the_input_is_said_before_any_row_is_read(command, project, file, text, arguments, said):
    (project / file).write_text(text)

    done = command("run", project, *(arguments or ["--span", "2024-03-10"]))

    assert done.code == 2
    assert said in done.err
    assert not (project / ".flywheel" / "runs").exists()
