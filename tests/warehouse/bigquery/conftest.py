from datetime import UTC, datetime, timedelta

import pytest

from flywheel import warehouse as warehouses
from flywheel.spans import Span
from flywheel.warehouse import Options
from tests.stand_ins.bigquery import StandIn

URL = "bigquery://my-project/shop"
SPAN = Span.parse("2024-03-03")
VISITS = """
    SELECT
      i AS id,
      TIMESTAMPTZ '2024-03-01 00:00:00+00' + to_minutes(i::INT * 2) AS seen,
      TIMESTAMP '2024-03-01' + to_minutes(i::INT * 2) AS local,
      CAST(TIMESTAMP '2024-03-01' + to_minutes(i::INT * 2) AS DATE) AS day,
      CASE WHEN i % 2 = 0 THEN 'phone' ELSE 'desk' END AS device
    FROM range(7200) AS t(i)
"""
QUERY = "SELECT id, device FROM visits WHERE seen >= @start AND seen < @end"


@pytest.fixture
def bigquery(monkeypatch):
    """A stand-in with 720 visits a day for the first ten days of March 2024, written an hour ago."""
    with StandIn() as stand_in:
        for name, value in stand_in.environment.items():
            monkeypatch.setenv(name, value)
        stand_in.put("my-project.shop.visits", VISITS, at=datetime.now(UTC) - timedelta(hours=1))
        yield stand_in
        assert stand_in.violations == []


@pytest.fixture
def rows(bigquery):
    """Gives the rows of a query by a warehouse that is opened for it."""

    def ask(query=QUERY, span=SPAN, state="", **options):
        with warehouses.open(URL, Options(**options)) as source:
            return [row for batch in source.batches(query, span, state) for row in batch.to_pylist()]

    return ask
