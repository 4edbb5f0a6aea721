"""What is sent and paid: guarded before, found again after, sent again when BigQuery dropped it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from flywheel import warehouse as warehouses
from flywheel.errors import ConfigError, DataError, SQLError
from flywheel.spans import Span
from flywheel.steps.extract import extract
from flywheel.warehouse import Options
from flywheel.warehouse.bigquery import calls, jobs
from tests.warehouse.bigquery.conftest import QUERY, SPAN, URL

TIB = 1024**4
IDS = set(range(1440, 2160))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(jobs, "PAUSE", 0.01)


def ids(rows):
    return {row["id"] for row in rows}


def test_a_query_that_would_read_too_much_is_refused_with_both_numbers_and_the_price(bigquery, rows):
    bigquery.put("my-project.shop.visits", "SELECT * FROM v1", bytes=2 * TIB)

    with pytest.raises(SQLError) as error:
        rows(maximum_bytes_billed=20 * 1000**3)

    assert "2.199 TB (2,199,023,255,552 bytes)" in error.value.message
    assert "20 GB (20,000,000,000 bytes)" in error.value.message
    assert "$12.50 (list price, $6.25 a TiB)" in error.value.message
    assert "raise `source.maximum_bytes_billed`" in error.value.remedy
    assert bigquery.submitted == []


def test_a_job_says_what_it_may_cost_where_it_runs_and_for_whom(bigquery, rows):
    rows(
        maximum_bytes_billed=10**9,
        location="EU",
        labels={"Team": "Churn & Co"},
        priority="batch",
        timeout=90,
        span=Span.parse("2024-03-03T09", "hour"),
    )

    (job,) = bigquery.submitted
    settings = job["configuration"]
    assert settings["query"]["maximumBytesBilled"] == "1000000000"
    assert settings["query"]["priority"] == "BATCH"
    assert settings["jobTimeoutMs"] == "90000"
    assert settings["labels"] == {"team": "churn---co", "flywheel-span": "2024-03-03t09"}
    assert job["jobReference"]["location"] == "EU"


@pytest.mark.parametrize(
    ("column", "span", "kind", "value"),
    [
        ("seen", Span.parse("2024-03-03"), "TIMESTAMP", "2024-03-03 00:00:00+00:00"),
        ("day", Span.parse("2024-03-03"), "DATE", "2024-03-03"),
        ("local", Span.parse("2024-03-03"), "DATE", "2024-03-03"),
        ("local", Span.parse("2024-03-03T09", "hour"), "DATETIME", "2024-03-03T09:00:00.000000"),
        ("day", Span.parse("2024-03-03T09", "hour"), "DATETIME", "2024-03-03T09:00:00.000000"),
    ],
)
def test_a_span_is_bound_in_the_type_that_it_is_compared_with(bigquery, rows, column, span, kind, value):
    found = rows(f"SELECT id FROM visits WHERE {column} >= @start AND {column} < @end", span)

    (job,) = bigquery.submitted
    sent = {each["name"]: each for each in job["configuration"]["query"]["queryParameters"]}
    assert sent["start"]["parameterType"]["type"] == kind
    assert sent["start"]["parameterValue"]["value"] == value
    assert (
        len(found)
        == {"day": 0 if kind == "DATETIME" else 720, "seen": 720, "local": 30 if "T" in value else 720}[column]
    )


def test_a_query_that_compares_with_two_types_is_bound_in_both(bigquery, rows):
    found = rows("SELECT id FROM visits WHERE day >= @start AND day < @end AND seen >= @start AND seen < @end")

    assert ids(found) == IDS
    assert "day >= @start_date AND day < @end_date" in bigquery.submitted[0]["configuration"]["query"]["query"]


def test_the_same_request_is_paid_once(bigquery, rows):
    first, billed = rows(), bigquery.billed

    assert rows() == first
    assert len(bigquery.submitted) == 1
    assert bigquery.billed == billed > 0


def test_another_span_or_query_is_another_job(bigquery, rows):
    rows()
    rows(span=Span.parse("2024-03-04"))
    rows(QUERY + " AND id > 0")

    assert len({job["jobReference"]["jobId"] for job in bigquery.submitted}) == 3


def test_a_step_that_was_killed_finds_its_job_again(bigquery, tmp_path, capsys):
    bigquery.fail("slow_job", with_=2)
    code = (
        "from pathlib import Path; from flywheel.steps.extract import extract;"
        f"extract({QUERY!r}, {URL!r}, ['2024-03-03'], ['id'], {{'every': 'day'}}, '', Path({str(tmp_path / 'a')!r}))"
    )
    step = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], env=os.environ, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not bigquery.submitted and time.monotonic() < deadline:
        time.sleep(0.05)
    step.send_signal(signal.SIGKILL)
    step.communicate()

    examples = extract(QUERY, URL, ["2024-03-03"], ["id"], {"every": "day"}, "", tmp_path / "a")

    assert len(bigquery.submitted) == 1
    assert set(examples.table().column("id").to_pylist()) == IDS
    assert "of an earlier run" in capsys.readouterr().out


@pytest.mark.parametrize("fault", ["unavailable", "rate_limit", "too_many"])
def test_a_call_that_is_turned_away_is_made_again(bigquery, rows, fault):
    bigquery.fail(fault)

    assert ids(rows()) == IDS


def test_a_call_that_is_never_answered_is_made_again(bigquery, rows, monkeypatch):
    monkeypatch.setattr(calls, "ANSWER", 0.3)
    bigquery.fail("silent", with_=20)

    begun = time.monotonic()
    assert len(rows()) == 720
    assert time.monotonic() - begun < 15


def test_a_job_whose_answer_was_lost_is_not_sent_twice(bigquery, rows):
    bigquery.fail("insert_answer_lost")

    assert ids(rows()) == IDS
    assert len(bigquery.submitted) == 1


def test_a_job_that_fails_late_is_sent_again(bigquery, rows):
    bigquery.fail("late_failure", with_="backendError", times=2)

    assert ids(rows()) == IDS
    assert [job["jobReference"]["jobId"][-2:] for job in bigquery.submitted] == ["-0", "-1", "-2"]


def test_a_job_that_fails_late_each_time_is_given_up(bigquery, rows):
    bigquery.fail("late_failure", with_="backendError", times=9)

    with pytest.raises(DataError, match="did not finish") as error:
        rows()

    assert "run again later" in error.value.remedy
    assert len(bigquery.submitted) == 4


def test_a_job_that_failed_in_an_earlier_run_does_not_stand_in_the_way(bigquery, rows):
    bigquery.fail("late_failure", with_="quotaExceeded")
    with pytest.raises(ConfigError):
        rows()

    assert ids(rows()) == IDS
    assert len(bigquery.submitted) == 2


def test_a_job_of_another_account_is_not_waited_for(bigquery, rows):
    rows()
    bigquery.fail("job_hidden")

    assert ids(rows()) == IDS
    assert len(bigquery.submitted) == 2


@pytest.mark.parametrize(
    ("fault", "error", "remedy"),
    [
        ("quota", ConfigError, "wait until the quota is renewed"),
        ("denied", ConfigError, "BigQuery Job User on the project"),
    ],
)
def test_what_waiting_does_not_mend_is_said_at_once(bigquery, rows, fault, error, remedy):
    bigquery.fail(fault)

    with pytest.raises(error) as found:
        rows()

    assert remedy in found.value.remedy
    assert bigquery.submitted == []


def test_a_query_that_takes_too_long_is_cancelled_and_can_be_run_again(bigquery, rows):
    bigquery.fail("slow_job", with_=60)

    with pytest.raises(SQLError, match=r"took longer than 0\.5 s; its job flywheel-\w+-0 is cancelled") as error:
        rows(timeout=0.5)

    assert "raise `source.bigquery.timeout`" in error.value.remedy
    assert bigquery.calls["jobs.cancel"] == 1
    assert ids(rows()) == IDS


def test_a_job_whose_rows_are_gone_is_run_anew(bigquery, rows):
    with warehouses.open(URL) as source:
        state = source.state(QUERY)
    first = rows(state=state)
    bigquery.expire_results()

    assert rows(state=state) == first
    assert len(bigquery.submitted) == 2


@pytest.mark.parametrize(
    ("query", "error", "remedy"),
    [
        ("SELECT id FROM visitors WHERE day >= @start", "Not found: Table my-project:shop.visitors", "mend the name"),
        ("SELECT ids FROM visits WHERE day >= @start", "Unrecognized name: ids at", "line and column"),
        ("SELECT id FROM visits WHERE device >= @start", "does not run on BigQuery", "line and column"),
        ("SELECT id FROM visits", "neither @start nor @end", "limit it to a span"),
        ("SELECT id FROM visits WHERE day >= @begin", "takes the parameter @begin", "only @start and @end"),
        ("SELECT id FROM visits WHERE (day >= @start", "does not parse at line 1", "mend it there"),
        ("DELETE FROM visits WHERE day >= @start", "has to be one SELECT", "a single SELECT"),
    ],
)
def test_a_query_that_cannot_run_is_explained(bigquery, query, error, remedy):
    with warehouses.open(URL) as source, pytest.raises(SQLError) as found:
        source.schema(query)

    assert error in found.value.message
    assert remedy in found.value.remedy


def test_counts_are_asked_of_bigquery_and_follow_the_table(bigquery):
    with warehouses.open(URL) as source:
        before = source.count(QUERY + " ORDER BY id; -- all of them", SPAN)
        bigquery.put("my-project.shop.visits", "SELECT * FROM v1 WHERE id % 2 = 0")
        after = source.count(QUERY + " ORDER BY id; -- all of them", SPAN)

    assert (before, after) == (720, 360)


@pytest.mark.parametrize(
    ("query", "time"),
    [
        ("SELECT MAX(seen) FROM visits", "2024-03-10T23:58:00"),
        ("SELECT MAX(local) AS x FROM visits", "2024-03-10T23:58:00"),
        ("SELECT MAX(day) FROM visits", "2024-03-10T00:00:00"),
        ("SELECT MAX(day) FROM visits WHERE FALSE", None),
        ("SELECT day FROM visits WHERE FALSE", None),
    ],
)
def test_a_watermark_is_one_time_in_utc(bigquery, query, time):
    with warehouses.open(URL) as source:
        found = source.watermark(query)

    assert (found and found.isoformat()) == time


def test_a_watermark_is_asked_anew_each_time(bigquery):
    with warehouses.open(URL) as source:
        source.watermark("SELECT MAX(seen) FROM visits")
        bigquery.put("my-project.shop.visits", "SELECT * FROM v1 WHERE id < 10")

        assert source.watermark("SELECT MAX(seen) FROM visits").isoformat() == "2024-03-01T00:18:00"


@pytest.mark.parametrize(
    ("query", "remedy"),
    [
        ("SELECT MAX(id) FROM visits", "one column of TIMESTAMP"),
        ("SELECT day, seen FROM visits", "one column of TIMESTAMP"),
        ("SELECT day FROM visits LIMIT 2", "let it give one"),
        ("SELECT MAX(day) FROM visits WHERE day < @end", "write it without"),
    ],
)
def test_a_watermark_that_is_not_one_time_is_refused(bigquery, query, remedy):
    with warehouses.open(URL) as source, pytest.raises(SQLError) as error:
        source.watermark(query)

    assert remedy in error.value.remedy


@pytest.mark.parametrize(
    "url", ["bigquery://", "bigquery://My_Project", "bigquery://my-project/a-b", "bigquery://my-project/a/b"]
)
def test_a_url_that_names_no_project_is_refused(url):
    with pytest.raises(ConfigError, match="names no BigQuery project") as error:
        warehouses.open(url)

    assert "bigquery://PROJECT/DATASET" in error.value.remedy


def test_without_credentials_it_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))

    with pytest.raises(ConfigError, match="no Google credentials") as error:
        warehouses.open(URL, Options())

    assert "gcloud auth application-default login" in error.value.remedy
