"""BigQuery's types as Arrow's: one of each, however the rows come (Storage API, REST or an exported file)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from flywheel.errors import SQLError

if TYPE_CHECKING:
    from google.cloud.bigquery import SchemaField

ROWS = 128 * 1024
"""Rows of a record batch at most: that of a row group of Examples."""

_TYPES: Mapping[str, pa.DataType] = {
    "INT64": pa.int64(), "INTEGER": pa.int64(),
    "FLOAT64": pa.float64(), "FLOAT": pa.float64(),
    "NUMERIC": pa.decimal128(38, 9), "BIGNUMERIC": pa.decimal256(76, 38),
    "BOOL": pa.bool_(), "BOOLEAN": pa.bool_(),
    "STRING": pa.string(), "BYTES": pa.binary(), "JSON": pa.string(), "GEOGRAPHY": pa.string(),
    "DATE": pa.date32(), "TIME": pa.time64("us"),
    "DATETIME": pa.timestamp("us"), "TIMESTAMP": pa.timestamp("us", tz="UTC"),
}  # fmt: skip
"""Both names that the REST API has for a type; JSON and GEOGRAPHY (WKT) travel as text."""

_REMEDIES = {
    "INTERVAL": "write it as text or a number: CAST(x AS STRING), or EXTRACT(DAY FROM x).",
    "RANGE": "take its ends apart: RANGE_START(x), RANGE_END(x).",
}


def schema_of(fields: Iterable[SchemaField]) -> pa.Schema:
    """Return the Arrow schema of a result.

    Raises:
        SQLError: A column has a type that Parquet does not hold: INTERVAL, RANGE.
    """
    return pa.schema([pa.field(field.name, _type(field, field.name)) for field in fields])


def _type(field: SchemaField, path: str) -> pa.DataType:
    if field.field_type in ("RECORD", "STRUCT"):
        kind = pa.struct([pa.field(each.name, _type(each, f"{path}.{each.name}")) for each in field.fields])
    elif field.field_type in _TYPES:
        kind = _TYPES[field.field_type]
    else:
        raise SQLError(
            f"column {path!r} is of BigQuery's type {field.field_type}, which Parquet does not hold",
            _REMEDIES.get(field.field_type, "leave it out, or CAST it to a type that it holds."),
        )
    return pa.list_(kind) if field.mode == "REPEATED" else kind


def as_text(fields: Iterable[SchemaField]) -> list[SchemaField]:
    """Return `fields` with JSON and GEOGRAPHY as STRING, so that the client hands their text on as it came."""
    from google.cloud.bigquery import SchemaField

    return [
        SchemaField(
            field.name,
            "STRING" if field.field_type in ("JSON", "GEOGRAPHY") else field.field_type,
            mode=field.mode,
            fields=as_text(field.fields),
        )
        for field in fields
    ]


def cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return `batch` with exactly the columns of `schema`, found by name; a value that does not fit is an error."""
    columns = [_cast(batch.column(batch.schema.get_field_index(field.name)), field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    plain = column.storage if isinstance(column, pa.ExtensionArray) else column
    return plain if plain.type == kind else plain.cast(kind)


def from_rows(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Return rows of Python values, as the client parses them from JSON, as a record batch of `schema`."""
    columns = [pa.array([row[i] for row in rows], field.type) for i, field in enumerate(schema)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def evenly(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in batches of `ROWS`: their sizes are then no trace of how the rows came."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        while rows >= ROWS:
            table = pa.Table.from_batches(waiting, schema)
            yield from table.slice(0, ROWS).combine_chunks().to_batches()
            waiting = table.slice(ROWS).to_batches()
            rows -= ROWS
    if rows:
        yield from pa.Table.from_batches(waiting, schema).combine_chunks().to_batches()


def in_order(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows sorted by all of their columns: the same rows give the same batches, however they came."""
    table = pa.Table.from_batches(list(batches), schema).combine_chunks()
    if table.num_rows:
        keys = pa.table([_key(column) for column in table.columns], names=[str(i) for i in range(table.num_columns)])
        order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names])
        yield from evenly(table.take(order).combine_chunks().to_batches(), schema)


def _key(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return what a column is sorted by: any order will do, as long as only equal values are equal in it."""
    kind = column.type
    if pa.types.is_floating(kind):
        return pa.chunked_array([chunk.view(pa.int64()) for chunk in column.chunks], pa.int64())
    if pa.types.is_nested(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind):
        texts = [None if value is None else json.dumps(value, default=repr) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    if pa.types.is_temporal(kind):
        return column.cast(pa.int32() if kind == pa.date32() else pa.int64())
    return column
