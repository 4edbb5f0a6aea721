import itertools

import duckdb

from tests.faults import labels, slow
from tests.faults.world import year_file
from tests.faults.year import DAYS, FIRST, KINDS, LAST, drawn, make


def test_a_year_with_faults_has_them_on_their_days_alone(tmp_path):
    found = drawn(0)
    make(tmp_path / "faulty.duckdb", found)

    with duckdb.connect() as connection:
        connection.execute(
            f"ATTACH '{tmp_path / 'faulty.duckdb'}' AS faulty (READ_ONLY); ATTACH '{year_file()}' AS clean (READ_ONLY)"
        )
        differ = "SELECT DISTINCT make_date(year, month, day) FROM (FROM faulty.{0} EXCEPT FROM clean.{0})"
        days = {row[0] for table in ("flights",) for row in connection.execute(differ.format(table)).fetchall()}
    allowed = {each.first.toordinal() + day for each in found for day in range(each.days)}
    assert len(days) > 7
    assert {day.toordinal() for day in days} <= allowed


def test_every_kind_of_fault_happens_and_no_two_at_a_time():
    for seed in range(20):
        found = drawn(seed)

        assert found == drawn(seed)
        assert [sum(each.fault in kind.FAULTS for each in found) for kind in KINDS] == [2] * len(KINDS)
        assert sum(each.fault in labels.FAULTS for each in found) == 2
        assert [each.days for each in found if each.fault in slow.FAULTS] == [slow.DAYS]
        assert all(DAYS[0] <= each.days <= DAYS[1] for each in found if each.fault not in slow.FAULTS)
        assert all(earlier.last < later.first for earlier, later in itertools.pairwise(found))
        assert FIRST <= found[0].first
        assert found[-1].last <= LAST
