"""BigQuery's types in DuckDB and in Arrow: what an embedded warehouse gives is of the type that BigQuery would give.

| BigQuery | DuckDB | Arrow |
|---|---|---|
| INT64 | every whole number | int64 |
| FLOAT64 | FLOAT, DOUBLE | float64 |
| NUMERIC | DECIMAL of at most 9 digits after the point | decimal128(38, 9) |
| BIGNUMERIC | DECIMAL of more | decimal256(76, 38) |
| BOOL, STRING, BYTES | BOOLEAN, VARCHAR, BLOB | bool, string, binary |
| DATE, TIME, DATETIME | DATE, TIME, TIMESTAMP | date32, time64[us], timestamp[us] |
| TIMESTAMP | TIMESTAMP WITH TIME ZONE | timestamp[us, UTC] |
| JSON, GEOGRAPHY | JSON, VARCHAR | string |
| ARRAY, STRUCT | LIST, STRUCT | list, struct |

DuckDB's decimals have 38 digits, BIGNUMERIC has 76: BIGNUMERIC is computed with 19 digits before the point and 19 after
it, and an error says when that is not enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from flywheel.errors import SQLError

if TYPE_CHECKING:
    from collections.abc import Sequence

NUMERIC, BIGNUMERIC = "DECIMAL(38, 9)", "DECIMAL(38, 19)"
_NUMERIC_SCALE, _FINEST = 9, 38

_WHOLE = ("tinyint", "smallint", "integer", "bigint", "hugeint")
_PLAIN: dict[str, tuple[str, pa.DataType]] = {
    "boolean": ("BOOLEAN", pa.bool_()),
    "blob": ("BLOB", pa.binary()),
    "date": ("DATE", pa.date32()),
    "time": ("TIME", pa.time64("us")),
    "timestamp with time zone": ("TIMESTAMPTZ", pa.timestamp("us", "UTC")),
    "null": ("BIGINT", pa.int64()),  # BigQuery takes a bare NULL for an INT64
}
_PLAIN |= dict.fromkeys((*_WHOLE, *(f"u{name}" for name in _WHOLE)), ("BIGINT", pa.int64()))
_PLAIN |= dict.fromkeys(("float", "double"), ("DOUBLE", pa.float64()))
_PLAIN |= dict.fromkeys(("varchar", "json", "enum", "uuid", "bit"), ("VARCHAR", pa.string()))
_PLAIN |= dict.fromkeys(("timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"), ("TIMESTAMP", pa.timestamp("us")))


def canonical(name: str, kind: Any, *, products: bool = False) -> tuple[str, pa.DataType]:
    """Return the type of column `name` as BigQuery has it: in DuckDB's SQL, and in Arrow.

    Args:
        name: Of the column, for the message.
        kind: Its DuckDBPyType.
        products: Whether the query multiplies. DuckDB adds the digits after the point of what it multiplies, BigQuery
            keeps nine: 18, 27 and 36 of them are then NUMERIC, as they come of that.

    Raises:
        SQLError: BigQuery has no such type, or it cannot be kept as Parquet.
    """
    found = str(kind.id)
    if found in _PLAIN:
        return _PLAIN[found]
    if found == "decimal":
        scale = dict(kind.children)["scale"]
        product = products and scale > _NUMERIC_SCALE and scale % _NUMERIC_SCALE == 0
        if scale <= _NUMERIC_SCALE or product:
            return NUMERIC, pa.decimal128(38, _NUMERIC_SCALE)
        return str(kind), pa.decimal256(76, _FINEST)
    if found in ("list", "array"):
        text, type = canonical(name, dict(kind.children)["child"], products=products)
        return f"{text}[]", pa.list_(type)
    if found == "struct":
        parts = [(part, *canonical(f"{name}.{part}", child, products=products)) for part, child in kind.children]
        text = ", ".join(f"{quoted(part)} {inner}" for part, inner, _ in parts)
        return f"STRUCT({text})", pa.struct([(part, type) for part, _, type in parts])
    raise SQLError(
        f"column {name!r} is of DuckDB's type {kind}, which BigQuery does not have or Parquet does not keep",
        "make a number, a text, an ARRAY or a STRUCT of it in the query.",
    )


def cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return `batch` with the types of `schema`, value for value; itself when it has them."""
    if batch.schema.equals(schema):
        return batch
    columns = [_as(column, field.type) for column, field in zip(batch.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def quoted(name: str) -> str:
    """Return `name` as DuckDB's SQL takes it whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def _as(column: pa.Array, type: pa.DataType) -> pa.Array:
    return column if column.type == type else column.cast(type)


def casted(column: str, kind: tuple[str, pa.DataType]) -> str:
    """Return SQL that gives the quoted `column` its canonical type; a list that is null is empty, as in BigQuery."""
    text = f"CAST({column} AS {kind[0]})"
    return f"COALESCE({text}, []) AS {column}" if pa.types.is_list(kind[1]) else f"{text} AS {column}"


def twice(names: Sequence[str]) -> str | None:
    """Return the first name, in the alphabet, that stands there more than once, whatever its case."""
    lower = [name.lower() for name in names]
    return next((name for name in sorted(names) if lower.count(name.lower()) > 1), None)
