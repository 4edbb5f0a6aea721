import itertools

import duckdb

from tests.faults.world import year_file
from tests.faults.year import injected, make


def test_a_year_with_faults_has_them_on_their_days_alone(tmp_path):
    found = injected(12, 7, seed=0)
    make(tmp_path / "faulty.duckdb", found, 7)

    with duckdb.connect() as connection:
        connection.execute(
            f"ATTACH '{tmp_path / 'faulty.duckdb'}' AS faulty (READ_ONLY); ATTACH '{year_file()}' AS clean (READ_ONLY)"
        )
        differ = "SELECT DISTINCT make_date(year, month, day) FROM (FROM faulty.{0} EXCEPT FROM clean.{0})"
        days = {row[0] for table in ("flights",) for row in connection.execute(differ.format(table)).fetchall()}
    allowed = {first.toordinal() + day for first, _ in found for day in range(7)}
    assert len(days) > 7
    assert {day.toordinal() for day in days} <= allowed


def test_the_same_seed_gives_the_same_faults_and_none_overlap():
    found = injected(12, 7, seed=0)

    assert found == injected(12, 7, seed=0)
    assert all((later - first).days >= 7 for (first, _), (later, _) in itertools.pairwise(found))
