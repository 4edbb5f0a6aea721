"""`flywheel schema` on a small project of its own: a shop with a DuckDB warehouse."""

import datetime as dt
import io
import random

import duckdb
import pytest
import yaml

from flywheel import invariants, schemas

FIRST = dt.date(2024, 3, 1)
NEWEST = "2024-03-10"
PROJECT = {
    "name": "clicks",
    "source": {"warehouse": "duckdb:///shop.duckdb", "query": "clicks.sql", "window": 8, "judge": 2},
    "label": "clicked",
    "features": [{"column": "device", "as": "category"}, {"column": "pages", "as": "numeric"}],
}
QUERY = "SELECT * EXCEPT (day) FROM clicks WHERE day >= @start AND day < @end\n"


def rows(day):
    """Return the rows of one day; a store's city and what a visit is numbered are the same on every day."""
    chance = random.Random(day)
    return [
        (
            FIRST + dt.timedelta(day),
            int(chance.random() < 0.2),
            chance.choice(["phone", "desk"]),
            chance.randint(1, 50),
            f"s{(store := chance.randrange(20))}",
            f"c{store % 7}",
            day * 1_000 + visit,
        )
        for visit in range(200)
    ]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    file = tmp_path_factory.mktemp("shop") / "shop.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            "CREATE TABLE clicks (day DATE, clicked INT, device TEXT, pages INT, store TEXT, city TEXT, visit INT)"
        )
        connection.executemany(
            "INSERT INTO clicks VALUES (?, ?, ?, ?, ?, ?, ?)", [row for day in range(10) for row in rows(day)]
        )
    return file


@pytest.fixture
def project(tmp_path, warehouse):
    (tmp_path / "flywheel.yaml").write_text(yaml.safe_dump(PROJECT))
    (tmp_path / "clicks.sql").write_text(QUERY)
    (tmp_path / "trainer.py").write_text("def train(context): ...")
    (tmp_path / "shop.duckdb").write_bytes(warehouse.read_bytes())
    return tmp_path


@pytest.fixture
def accepted(command, project):
    """The project with a schema that was accepted."""
    done = command("schema", "accept", NEWEST, project, "--yes")
    assert done.code == 0, done.err
    return project


def change(project, statement):
    with duckdb.connect(str(project / "shop.duckdb")) as connection:
        connection.execute(statement)


def test_a_project_without_a_schema_accepts_what_its_data_suggests(command, project):
    done = command("schema", "accept", NEWEST, project, "--yes")

    assert done.code == 0, done.err
    assert "1,600 rows of 8 spans up to 2024-03-10" in done.out
    assert "device: new column, BYTES, 2 different values: desk, phone; in 100.0% of 1,600 rows" in done.out
    schema = schemas.load(project)
    assert [feature.name for feature in schema.feature] == ["clicked", "device", "pages", "store", "city", "visit"]
    assert list(schema.feature[0].not_in_environment) == ["SERVING"]
    assert not (project / ".flywheel").exists()


def test_diff_shows_the_evidence_and_writes_nothing(command, accepted):
    change(accepted, f"UPDATE clicks SET device = 'watch' WHERE day = '{NEWEST}' AND visit % 4 = 0")
    before = (accepted / "schema.pbtxt").read_text()

    done = command("schema", "diff", NEWEST, accepted)

    assert done.code == 0, done.err
    assert "device: 1 new value in 3.12% of the rows: watch (50 rows, first 2024-03-10)" in done.out
    assert "pages: 1 to 50 in 8 spans, and no range in the schema: 0 to 70" in done.out.partition("offered")[2]
    assert f"flywheel schema accept {NEWEST} {accepted}" in done.out
    assert (accepted / "schema.pbtxt").read_text() == before
    assert "importing TFDV" not in done.out


def test_what_is_needed_is_accepted_and_what_is_offered_is_not(command, accepted):
    change(accepted, f"UPDATE clicks SET device = 'watch' WHERE day = '{NEWEST}'")

    done = command("schema", "accept", NEWEST, accepted, "--yes")

    assert done.code == 0, done.err
    assert list(schemas.load(accepted).string_domain[0].value) == ["desk", "phone", "watch"]
    assert not schemas.load(accepted).feature[2].HasField("int_domain")
    assert "nothing to accept" in command("schema", "accept", NEWEST, accepted).out


def test_one_column_is_accepted_and_the_others_left(command, accepted):
    change(accepted, f"UPDATE clicks SET device = 'watch', store = 's99' WHERE day = '{NEWEST}'")

    done = command("schema", "accept", NEWEST, accepted, "--feature", "device", "--yes")

    assert done.code == 0, done.err
    words = {domain.name: list(domain.value) for domain in schemas.load(accepted).string_domain}
    assert "watch" in words["device"]
    assert "s99" not in words["store"]


def test_ranges_are_taken_when_they_are_asked_for(command, accepted):
    done = command("schema", "accept", NEWEST, accepted, "--feature", "pages", "--yes")

    assert done.code == 0, done.err
    domain = schemas.load(accepted).feature[2].int_domain
    assert (domain.min, domain.max) == (0, 70)
    assert [feature.HasField("int_domain") for feature in schemas.load(accepted).feature[3:]] == [False] * 3


@pytest.mark.parametrize(("answer", "code", "written"), [("n", 1, False), ("", 1, False), ("y", 0, True)])
def test_only_a_yes_writes(command, project, monkeypatch, answer, code, written):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{answer}\n"))

    done = command("schema", "accept", NEWEST, project)

    assert done.code == code
    assert (project / "schema.pbtxt").exists() is written


def test_comments_that_would_be_lost_are_spoken_of(command, accepted):
    file = accepted / "schema.pbtxt"
    file.write_text("# ours\n" + file.read_text())

    done = command("schema", "accept", NEWEST, accepted, "--tighten", "--yes")

    assert "the comments in schema.pbtxt will be lost" in done.out
    assert "# ours" not in file.read_text()


def test_an_invariant_is_accepted_by_what_it_says_and_kept_beside_the_others(command, accepted):
    (accepted / "invariants.yaml").write_text("# ours\n- ordered: [clicked, visit]\n  why: a trifle")

    told = command("schema", "diff", NEWEST, accepted)
    done = command("schema", "accept", NEWEST, accepted, "--invariant", "store determines city", "--yes")

    assert "store determines city  (0 of 1,600 rows violate it, 20 different keys; by chance about" in told.out
    assert done.code == 0, done.err
    text = (accepted / "invariants.yaml").read_text()
    assert text.startswith("# ours\n- ordered: [clicked, visit]\n  why: a trifle\n")
    assert [str(rule) for rule in invariants.load(accepted)] == ["clicked <= visit", "store determines city"]
    assert "store determines city" not in command("schema", "diff", NEWEST, accepted).out


def test_an_invariant_that_does_not_hold_any_more_is_told(command, accepted):
    (accepted / "invariants.yaml").write_text("- determines: {by: [store], column: city}\n")
    change(accepted, f"UPDATE clicks SET city = 'c9' WHERE day = '{NEWEST}' AND store = 's3'")

    diff, check = command("schema", "diff", NEWEST, accepted), command("schema", "check", accepted)

    assert f"invariants that do not hold in {NEWEST}" in diff.out
    assert "as in store=s3, city=c9 (was c3)" in diff.out
    assert check.code == 0  # within one span all of the store's rows agree: what the spans before said is the gate's


def test_check_holds_the_files_against_the_newest_data(command, accepted):
    good = command("schema", "check", accepted)
    change(accepted, f"UPDATE clicks SET device = 'watch' WHERE day = '{NEWEST}'")
    bad = command("schema", "check", accepted)
    before = command("schema", "check", accepted, "--span", "2024-03-09")

    assert (good.code, bad.code, before.code) == (0, 1, 0)
    assert "schema.pbtxt holds: 6 columns, 0 invariants, span 2024-03-10, 200 rows" in good.out
    assert "device: " in bad.out
    assert "watch" in bad.out
    assert "flywheel schema accept" in bad.out
    assert "does not hold" in bad.out


@pytest.mark.parametrize(
    ("file", "old", "new", "code", "said"),
    [
        ("schema.pbtxt", 'name: "clicked"', 'name: "cliked"', 1, "does not have the label 'clicked'"),
        ("schema.pbtxt", 'name: "clicked"', 'nome: "clicked"', 2, "schema.pbtxt, line 2"),
        ("clicks.sql", "EXCEPT (day)", "EXCEPT (day, city)", 1, "has the column 'city', which the query does not give"),
        ("invariants.yaml", "visit", "vizit", 1, "did you mean 'visit'"),
        ("invariants.yaml", "unique", "unike", 2, "invariants.yaml, line 1"),
    ],
)
def test_check_finds_what_does_not_fit_together_without_reading_rows(command, accepted, file, old, new, code, said):
    (accepted / "invariants.yaml").write_text("- unique: [visit]\n")
    text = (accepted / file).read_text()
    assert old in text
    (accepted / file).write_text(text.replace(old, new))

    done = command("schema", "check", accepted, "--no-data")

    assert done.code == code
    assert said in done.out + done.err
    assert "TFDV" not in done.err


def test_show_is_a_table_with_the_invariants_under_it(command, accepted):
    (accepted / "invariants.yaml").write_text("- unique: [visit]\n  tolerance: 0.01\n  why: a counter gives them\n")

    done = command("schema", "show", accepted)

    lines = done.out.splitlines()
    assert lines[0].split() == ["column", "type", "there", "in", "may", "hold"]
    assert "device" in lines[2]
    assert "2 values: desk, phone; up to 1.00% others" in lines[2]
    assert "label; not in SERVING" in lines[1]
    assert "unique visit (in all but 1.00% of the rows): a counter gives them" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["diff", "2024-3"], "write it as '2013-06-01'"),
        (["diff", "2025-01-01"], "choose a span within the data"),
        (["accept", NEWEST, "--feature", "devise", "--yes"], "there is nothing to change about 'devise'"),
        (["accept", NEWEST, "--invariant", "nonsense", "--yes"], "was not proposed"),
        (["check"], "flywheel schema accept SPAN"),
    ],
)
def test_wrong_input_is_answered_with_what_to_do(command, project, arguments, said):
    head = [value for value in arguments[:2] if not value.startswith("--")]

    done = command("schema", *head, project, *arguments[len(head) :])

    assert done.code in (1, 2)
    assert said in done.err
    assert "Traceback" not in done.err
    assert not (project / "schema.pbtxt").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("diff", "when the data is wrong, mend the data"),
        ("accept", "for you to review and commit"),
        ("check", "exit code 0"),
    ],
)
def test_help_teaches(command, name, said):
    assert said in " ".join(command("schema", name, "--help").out.split()).lower()
