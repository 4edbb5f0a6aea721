"""BigQuery's types for the same SQL, kept by Parquet value for value."""

import duckdb
import pyarrow as pa
import pytest

from flywheel import warehouse as warehouses
from flywheel.artifacts import Examples
from flywheel.errors import SQLError
from flywheel.spans import Span
from flywheel.steps.extract import extract
from tests.warehouse.expressions import BIGNUMERIC, EXPRESSIONS, NUMERIC

SPAN = Span.parse("2024-03-01")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    file = tmp_path_factory.mktemp("types") / "one.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE one AS SELECT DATE '2024-03-01' AS day")
    return f"duckdb:///{file}"


def query(*expressions):
    columns = ", ".join(f"{text} AS x{number}" for number, text in enumerate(expressions))
    return f"SELECT {columns} FROM one WHERE day >= @start AND day < @end"


@pytest.mark.parametrize(("expression", "type", "value"), EXPRESSIONS, ids=[each[0] for each in EXPRESSIONS])
def test_an_expression_has_bigquerys_type_and_value(url, expression, type, value):
    with warehouses.open(url) as source:
        asked = query(expression)
        schema = source.schema(asked)
        (batch,) = source.batches(asked, SPAN)

    assert schema.field("x0").type == type
    assert batch.schema == schema
    assert batch.column(0).to_pylist() == [value]


def test_parquet_keeps_every_type_and_value(url, tmp_path):
    asked = " UNION ALL ".join(
        f"SELECT * FROM ({query(*(text for text, _, _ in EXPRESSIONS))}) WHERE {condition}"
        for condition in ("TRUE", "x0 = 1")
    )
    extract(asked, url, [SPAN.name], [], {"every": "day"}, "", tmp_path / "examples")

    table = Examples.open(tmp_path / "examples").table()

    assert table.schema.types == [type for _, type, _ in EXPRESSIONS]
    for column, (expression, _, value) in zip(table.columns, EXPRESSIONS, strict=True):
        assert column.to_pylist() == [value] * 2, expression


@pytest.mark.parametrize(
    ("declared", "type"),
    [
        ("TINYINT", pa.int64()),
        ("UINTEGER", pa.int64()),
        ("FLOAT", pa.float64()),
        ("DECIMAL(18, 3)", NUMERIC),
        ("DECIMAL(38, 18)", BIGNUMERIC),
        ("UUID", pa.string()),
        ("ENUM('a')", pa.string()),
        ("TIMESTAMP_NS", pa.timestamp("us")),
        ("INTEGER[2]", pa.list_(pa.int64())),
    ],
)
def test_what_only_duckdb_has_becomes_the_type_of_bigquery_that_holds_it(tmp_path, declared, type):
    file = tmp_path / "own.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"CREATE TABLE own AS SELECT DATE '2024-03-01' AS day, CAST(NULL AS {declared}) AS x")
    with warehouses.open(f"duckdb:///{file}") as source:
        schema = source.schema("SELECT x FROM own WHERE day >= @start")

    assert schema.field("x").type == type


@pytest.mark.parametrize("declared", ["INTERVAL", "MAP(VARCHAR, INTEGER)"])
def test_what_neither_bigquery_nor_parquet_has_is_refused_with_the_columns_name(tmp_path, declared):
    file = tmp_path / "own.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"CREATE TABLE own AS SELECT DATE '2024-03-01' AS day, CAST(NULL AS {declared}) AS x")
    with warehouses.open(f"duckdb:///{file}") as source, pytest.raises(SQLError, match="column 'x'") as error:
        source.schema("SELECT x FROM own WHERE day >= @start")

    assert "an ARRAY or a STRUCT" in error.value.remedy


def test_a_bignumeric_that_does_not_fit_is_an_error_not_another_number(url):
    with warehouses.open(url) as source, pytest.raises(SQLError, match="does not run on DuckDB"):
        list(source.batches(query("CAST('12345678901234567890.5' AS BIGNUMERIC)"), SPAN))
