"""Requests with the labels that came of them, as rows to train on."""

import duckdb
import pytest

from flywheel import warehouse as warehouses
from flywheel.config import Monitor
from flywheel.errors import ConfigError
from flywheel.monitoring.feedback import feed
from flywheel.monitoring.log import Log
from flywheel.spans import Span
from tests.monitoring.worlds import SQL, Shop, name_of

DAYS = 6


@pytest.fixture
def shop(tmp_path):
    made = Shop.__new__(Shop)  # no champion is needed
    made.folder, made.requests, made.labels = tmp_path, tmp_path / "requests", tmp_path / "labels"
    made.labels.mkdir()
    for index in range(DAYS):
        made.serve(index, rows=50, never=0.2)
    return made


def fed(shop, into):
    settings = Monitor(delay="2d").model_dump(mode="json")
    spans = Span.parse(name_of(DAYS - 1)).back(DAYS)
    with (
        Log.of_folder(shop.requests, spans) as log,
        warehouses.open(f"parquet:///{shop.folder}/labels*/*.parquet") as warehouse,
    ):
        labels = (batch for span in spans for batch in warehouse.batches(SQL, span))
        return feed(log, labels, settings, "binary", "bought", into, "feedback")


def test_requests_of_whole_spans_stand_with_their_labels_in_the_warehouse_and_no_prediction_does(shop):
    file = shop.folder / "warehouse.duckdb"

    found = fed(shop, f"duckdb:///{file}")

    assert list(found.rows) == [name_of(index) for index in range(4)]
    assert found.waiting == (name_of(4), name_of(5))
    with warehouses.open(f"duckdb:///{file}") as warehouse:
        sql = "SELECT * FROM feedback WHERE requested >= @start AND requested < @end"
        (batch,) = warehouse.batches(sql, Span.parse(name_of(1)))
        columns = warehouse.schema(sql).names
    assert columns == ["flywheel_span", "requested", "flywheel_request", "device", "price", "pages", "bought"]
    assert batch.num_rows == found.rows[name_of(1)]
    assert set(batch.column(6).to_pylist()) == {0, 1}
    assert 30 < batch.num_rows < 50  # those whose label never came are not there


def test_writing_twice_changes_nothing_and_a_new_column_is_taken_in(shop):
    file = shop.folder / "warehouse.duckdb"
    first = fed(shop, f"duckdb:///{file}")
    with duckdb.connect(str(file)) as connection:
        connection.execute("ALTER TABLE feedback DROP COLUMN pages")

    again = fed(shop, f"duckdb:///{file}")

    with duckdb.connect(str(file)) as connection:
        (rows, pages), *_ = connection.execute("SELECT count(*), count(pages) FROM feedback").fetchall()
    assert first.rows == again.rows
    assert rows == pages == sum(first.rows.values())


def test_as_files_it_is_a_warehouse_of_its_own(shop):
    fed(shop, f"parquet:///{shop.folder}/fed")

    with warehouses.open(f"parquet:///{shop.folder}/fed/**/*.parquet") as warehouse:
        assert warehouse.count(
            "SELECT * FROM fed WHERE requested >= @start AND requested < @end", Span.parse(name_of(0))
        )


def test_a_warehouse_that_somebody_reads_is_left_alone(shop):
    file = shop.folder / "warehouse.duckdb"
    file.write_text("this is no database")

    with pytest.raises(ConfigError, match="cannot be written to"):
        fed(shop, f"duckdb:///{file}")


@pytest.mark.parametrize("table", ["VIEW feedback AS SELECT 1", "TABLE feedback (flywheel_span VARCHAR, device DATE)"])
def test_a_table_that_cannot_take_it_is_named_and_left_as_it_was(shop, table):
    file = shop.folder / "it's.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"CREATE {table}")
        connection.execute("CREATE TABLE before AS DESCRIBE feedback")

    with pytest.raises(ConfigError, match=r"'feedback'.* cannot take feedback.*\n  name another one by --table"):
        fed(shop, f"duckdb:///{file}")

    with duckdb.connect(str(file)) as connection:
        assert connection.execute("DESCRIBE feedback").fetchall() == connection.execute("FROM before").fetchall()
