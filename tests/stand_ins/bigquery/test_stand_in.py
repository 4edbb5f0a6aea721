"""The stand-in refuses what the published documents do not have: else its tests would prove less than they seem to."""

import pytest
import requests

from tests.stand_ins.bigquery import StandIn
from tests.stand_ins.bigquery.discovery import Discovery

QUERY = {"query": "SELECT 1 AS x", "useLegacySql": False}


@pytest.fixture
def bigquery():
    with StandIn() as stand_in:
        yield stand_in


def send(bigquery, body, path="projects/my-project/jobs"):
    return requests.post(f"{bigquery.environment['BIGQUERY_EMULATOR_HOST']}/bigquery/v2/{path}", json=body, timeout=10)


def test_a_job_of_the_published_shape_is_taken(bigquery):
    answer = send(bigquery, {"jobReference": {"jobId": "a"}, "configuration": {"query": QUERY}})

    assert answer.status_code == 200
    assert answer.json()["status"] == {"state": "DONE"}
    assert bigquery.violations == []


@pytest.mark.parametrize(
    "query",
    [
        QUERY | {"sortOf": True},
        QUERY | {"maximumBytesBilled": 10},
        QUERY | {"maximumBytesBilled": "ten"},
        QUERY | {"useLegacySql": "false"},
        QUERY | {"queryParameters": {"name": "start"}},
    ],
)
def test_a_job_of_another_shape_is_refused_and_remembered(bigquery, query):
    answer = send(bigquery, {"jobReference": {"jobId": "a"}, "configuration": {"query": query}})

    assert answer.status_code == 400
    assert len(bigquery.violations) == 1
    assert bigquery.submitted == []


def test_an_unknown_method_is_not_found(bigquery):
    assert send(bigquery, {}, "projects/my-project/stables").status_code == 404


def test_answers_are_held_against_the_document_too():
    document = Discovery("bigquery.v2")

    assert document.check_answer("jobs.get", {"kind": "bigquery#job", "status": {"state": "DONE"}}) == []
    assert document.check_answer("jobs.get", {"kind": "bigquery#job", "state": "DONE"})


def test_a_name_that_is_taken_is_a_conflict(bigquery):
    body = {"jobReference": {"jobId": "a"}, "configuration": {"query": QUERY}}
    send(bigquery, body)

    again = send(bigquery, body)

    assert again.status_code == 409
    assert again.json()["error"]["errors"][0]["reason"] == "duplicate"


@pytest.mark.parametrize("other", ["DATE '2024-03-01'", "DATETIME '2024-03-01 00:00:00'"])
def test_a_timestamp_is_compared_with_nothing_else_as_in_bigquery(bigquery, other):
    text = f"SELECT 1 AS x FROM (SELECT TIMESTAMP '2024-03-01 00:00:00+00' AS t) AS one WHERE t >= {other}"

    answer = send(bigquery, {"jobReference": {"jobId": "a"}, "configuration": {"query": QUERY | {"query": text}}})

    assert "No matching signature for operator >=" in answer.json()["error"]["message"]
