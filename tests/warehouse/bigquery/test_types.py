"""Every type of BigQuery, by each way that rows come, as one Arrow type that Parquet keeps."""

from datetime import UTC, date, datetime, time
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest

from flywheel import warehouse as warehouses
from flywheel.artifacts import Examples
from flywheel.errors import SQLError
from flywheel.spans import Span
from flywheel.steps.extract import extract
from flywheel.warehouse import Options
from tests.stand_ins.bigquery.types import field
from tests.warehouse import expressions
from tests.warehouse.bigquery.conftest import URL

SPAN = Span.parse("2024-03-01")
WIDEST = "9" * 38 + "." + "9" * 38
INNER = [field("a", "INT64"), field("b", "BIGNUMERIC"), field("c", "TIMESTAMP", "REPEATED")]

COLUMNS = [
    (field("i", "INT64"), "9223372036854775807", pa.int64(), 2**63 - 1),
    (field("f", "FLOAT64"), "0.1::DOUBLE", pa.float64(), 0.1),
    (field("inf", "FLOAT64"), "'-inf'::DOUBLE", pa.float64(), float("-inf")),
    (field("n", "NUMERIC"), "-0.000000001::DECIMAL(38, 9)", pa.decimal128(38, 9), Decimal("-0.000000001")),
    (field("big", "BIGNUMERIC"), f"'{WIDEST}'", pa.decimal256(76, 38), Decimal(WIDEST)),
    (field("yes", "BOOL"), "true", pa.bool_(), True),
    (field("s", "STRING"), "'ä'", pa.string(), "ä"),
    (field("y", "BYTES"), r"'\x00\xFF'::BLOB", pa.binary(), b"\x00\xff"),
    (field("j", "JSON"), """'{"a":1.10,"b":null}'""", pa.string(), '{"a":1.10,"b":null}'),
    (field("jnull", "JSON"), "'null'", pa.string(), "null"),
    (field("g", "GEOGRAPHY"), "'POINT(1.5 2)'", pa.string(), "POINT(1.5 2)"),
    (field("d", "DATE"), "DATE '0001-01-01'", pa.date32(), date(1, 1, 1)),
    (field("t", "TIME"), "TIME '23:59:59.999999'", pa.time64("us"), time(23, 59, 59, 999999)),
    (
        field("dt", "DATETIME"),
        "TIMESTAMP '1969-12-31 23:59:59.999999'",
        pa.timestamp("us"),
        datetime(1969, 12, 31, 23, 59, 59, 999999),
    ),
    (
        field("ts", "TIMESTAMP"),
        "TIMESTAMPTZ '2024-03-01 01:02:03.000004+02'",
        pa.timestamp("us", "UTC"),
        datetime(2024, 2, 29, 23, 2, 3, 4, tzinfo=UTC),
    ),
    (field("l", "INT64", "REPEATED"), "[1, 2]", pa.list_(pa.int64()), [1, 2]),
    (
        field("r", "RECORD", fields=INNER),
        "{'a': 1, 'b': '2.5', 'c': [TIMESTAMPTZ '2024-03-01 00:00:00+00']}",
        pa.struct([("a", pa.int64()), ("b", pa.decimal256(76, 38)), ("c", pa.list_(pa.timestamp("us", "UTC")))]),
        {"a": 1, "b": Decimal("2.5"), "c": [datetime(2024, 3, 1, tzinfo=UTC)]},
    ),
]
QUERY = f"SELECT {', '.join(each['name'] for each, *_ in COLUMNS)} FROM every WHERE day >= @start AND day < @end"


@pytest.fixture
def every(bigquery):
    """A table with a row of values and one of nulls."""
    values = ", ".join(f"{text} AS {each['name']}" for each, text, *_ in COLUMNS)
    nulls = ", ".join(f"NULL AS {each['name']}" for each, *_ in COLUMNS)
    select = f"SELECT DATE '2024-03-01' AS day, {values} UNION ALL SELECT DATE '2024-03-01', {nulls}"
    bigquery.put("my-project.shop.every", select, fields=[each for each, *_ in COLUMNS])
    return bigquery


WAYS = {
    "streams": Options(),
    "pages": Options(storage_api=False),
    "files": Options(export="gs://exports/types", export_over=0),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_type_comes_exactly_whichever_way(every, way):
    with warehouses.open(URL, WAYS[way]) as source:
        schema = source.schema(QUERY)
        table = pa.Table.from_batches(source.batches(QUERY, SPAN), schema)

    for (each, _, kind, value), column in zip(COLUMNS, table.columns, strict=True):
        empty = [] if each["mode"] == "REPEATED" else None
        assert schema.field(each["name"]).type == kind, each["name"]
        assert sorted(column.to_pylist(), key=lambda x: x in (None, [])) == [value, empty], each["name"]
    assert {"streams": "storage.ReadRows", "pages": "tabledata.list", "files": "objects.get"}[way] in every.calls


def test_parquet_keeps_every_type_and_value(every, tmp_path):
    extract(QUERY, URL, [SPAN.name], [], {"every": "day"}, "", tmp_path / "examples")

    table = Examples.open(tmp_path / "examples").table()

    assert table.schema.types == [kind for _, _, kind, _ in COLUMNS]
    assert [value for *_, value in COLUMNS] in [list(row.values()) for row in table.to_pylist()]


SAME = [
    "1", "1 / 2", "CAST('1.5' AS NUMERIC)", "CAST('1.5' AS BIGNUMERIC)", "TRUE", "'ä'", "b'abc'", "JSON '{\"a\":1}'",
    "DATE '2024-03-01'", "TIME '01:02:03.000004'", "DATETIME '2024-03-01 01:02:03.000004'",
    "TIMESTAMP '2024-03-01 12:30:00+00'", "[1, 2]", "STRUCT(1 AS a, 'x' AS b)", "NULL", "COUNT(*)", "SUM(1)",
]  # fmt: skip


@pytest.mark.parametrize("expression", SAME)
def test_the_embedded_warehouse_gives_the_same_types_and_rows_for_the_same_sql(bigquery, tmp_path, expression):
    bigquery.put("my-project.shop.one", "SELECT DATE '2024-03-01' AS day")
    with duckdb.connect(str(tmp_path / "one.duckdb")) as connection:
        connection.execute("CREATE TABLE one AS SELECT DATE '2024-03-01' AS day")
    query = f"SELECT {expression} AS x FROM one WHERE day >= @start AND day < @end"
    _, kind, value = next(each for each in expressions.EXPRESSIONS if each[0] == expression)

    for url in (URL, f"duckdb:///{tmp_path}/one.duckdb"):
        with warehouses.open(url) as source:
            (batch,) = source.batches(query, SPAN)
            assert source.schema(query) == pa.schema([("x", kind)])
            assert batch.to_pydict() == {"x": [value]}


def test_an_interval_is_refused_with_what_to_write_instead(bigquery):
    query = "SELECT INTERVAL 1 DAY AS gap FROM visits WHERE day >= @start"

    with warehouses.open(URL) as source, pytest.raises(SQLError, match="'gap' is of BigQuery's type INTERVAL") as error:
        source.schema(query)

    assert "CAST(x AS STRING)" in error.value.remedy
