"""What the example's query gives beside the features tells weather of another hour, taken whole or in part."""

from datetime import date

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from flywheel import invariants, statistics
from flywheel.invariants import Known
from flywheel.profiles.anomalies import schema_checks
from tests.faults.catalogue import named
from tests.faults.tables import weather
from tests.faults.world import EXAMPLE, World

DAY = date(2013, 6, 12)


@pytest.fixture(scope="module")
def world():
    return World()


def broken(world):
    """Return the columns in which a day's rows are not as the schema or an invariant says."""
    rows = world.batches(DAY)
    schema = text_format.Parse((EXAMPLE / statistics.SCHEMA_FILE).read_text(), schema_pb2.Schema())
    checks = schema_checks(statistics.summarize(rows, "span"), statistics.for_one_span(schema), "span")
    rules = [rule for rule in invariants.load(EXAMPLE) if "calm" in rule.columns or "wind_at_most" in rule.columns]
    known = Known.of(rules).learn(world.batches(date(2013, 6, 11)))
    found = [str(violation.invariant) for violation in known.violations(rows) if violation.broken]
    return {check.column for check in checks if check.result == "fail"} | set(found)


def test_nothing_is_broken_on_a_clean_day(world):
    assert broken(world) == set()


def test_a_report_of_another_hour_is_told_by_its_own_clock(world):
    days = weather(world.connection, DAY, DAY)
    world.connection.execute("BEGIN")
    try:
        days.update("time_hour = time_hour - INTERVAL 4 HOUR")
        assert broken(world) == {"report_off"}
    finally:
        world.connection.execute("ROLLBACK")


def test_columns_of_another_hour_disagree_with_the_rest_of_the_report(world):
    with world.damaged(named("weather_in_local_time"), "large", DAY):
        assert broken(world) == {"wind_speed determines calm"}
