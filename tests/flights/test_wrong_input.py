"""What a user gets for wrong input: a message with the cure, exit code 2, and nothing written."""

import re
import shutil

import pytest

from tests.command import flywheel
from tests.flights.conftest import FLIGHTS


@pytest.fixture
def project(tmp_path, warehouse):
    """A copy of the example, with a warehouse."""
    folder = tmp_path / "my flights"
    shutil.copytree(FLIGHTS, folder, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    text = (folder / "flywheel.yaml").read_text()
    (folder / "flywheel.yaml").write_text(
        text.replace("duckdb:///.flywheel/warehouse.duckdb", f"duckdb:///{warehouse}")
    )
    return folder


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("flywheel.yaml", "label: late", "lable: late", "lable: unknown key; did you mean 'label'"),
        ("flywheel.yaml", "window: 28", "window: four", "source.window"),
        ("flywheel.yaml", "query: flights.sql", "query: flight.sql", "SQL files there: flights.sql"),
        ("flywheel.yaml", "column: distance", "column: distanse", "distance"),
        ("flywheel.yaml", "label: late", "label: manufacturer", "label 'manufacturer' is 'string', not a number"),
        ("flywheel.yaml", "column: distance, as: numeric", "column: manufacturer, as: numeric", "use `as: category`"),
        ("flywheel.yaml", "trainer: trainer:train", "trainer: trainer:fit", "define `def fit"),
        ("flights.sql", "LEFT JOIN planes", "LEFT JOYN planes", "line"),
        ("flights.sql", "FROM flights AS f", "FROM flight AS f", "flights"),
        ("flights.sql", "f.distance", "NET.HOST(f.dest) AS distance", "NET.HOST"),
        ("flights.sql", "f.distance", "f.distanse AS distance", "distanse"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_cure(project, file, old, new, said):
    edit(project / file, old, new)

    done = flywheel("run", project, "--span", "2013-06-01")

    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / ".flywheel").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--span", "2013-6"], "write it as '2013-06-01'"),
        (["--set", "source.windw=7"], "did you mean 'window'"),
        (["--set", "nonsense"], "write it as key.sub=value"),
        (["--profile", "prod"], "has no profile 'prod'"),
        (["--set", "source.warehouse=postgres://x"], "duckdb"),
        (["--set", "source.warehouse=duckdb:///nowhere.duckdb"], "nowhere.duckdb"),
        (["--jobs", "0"], "--jobs"),
        (["--parameter", "a=1"], "--parameter means nothing for a flywheel"),
        (["--resume", "latest", "--span", "2013-06-01"], "--span cannot be given to a run that has begun"),
        (["--from", "train", "--fail-unless-promoted"], "--fail-unless-promoted cannot be given"),
    ],
)
def test_a_mistake_on_the_command_line_is_named_with_its_cure(project, arguments, said):
    done = flywheel("run", project, *arguments)

    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / ".flywheel").exists()


def test_a_folder_without_a_flywheel_is_refused(tmp_path):
    for command in ("run", "status", "serve", "compile"):
        done = flywheel(command, tmp_path)

        assert done.returncode == 2
        assert "there is no flywheel.yaml" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file_to_compile_to(project, tmp_path):
    done = flywheel("compile", project, "-o", tmp_path)

    assert done.returncode == 2
    assert "give the file to write" in done.stderr


def test_serving_before_anything_was_promoted_says_what_to_do(project):
    done = flywheel("serve", project)

    assert done.returncode != 0
    assert "flywheel run" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_project_that_never_ran_has_a_status(project):
    done = flywheel("status", project)

    assert done.returncode == 0, done.stderr
    assert "has not run yet" in done.stdout


def test_help_names_every_command_and_exit_code():
    done = flywheel("--help")

    assert done.returncode == 0
    said = " ".join(done.stdout.split())
    for word in ("run", "status", "serve", "show", "schema", "waive", "cache", "compile", "130 interrupted"):
        assert word in said


def test_it_tells_its_version():
    assert re.fullmatch(r"flywheel \d+\.\d+\.\d+\n", flywheel("--version").stdout)
