"""BigQuery's types in the stand-in: as the REST API names them, as DuckDB keeps them, as Arrow and JSON carry them."""

import base64
import datetime
from decimal import Decimal

import pyarrow as pa

KEPT_AS_TEXT = ("JSON", "GEOGRAPHY", "BIGNUMERIC")
"""DuckDB has no such type, or not with as many digits: their values pass through it as text."""

_ARROW = {
    "INTEGER": pa.int64(), "FLOAT": pa.float64(), "NUMERIC": pa.decimal128(38, 9), "BIGNUMERIC": pa.decimal256(76, 38),
    "BOOLEAN": pa.bool_(), "STRING": pa.string(), "BYTES": pa.binary(), "JSON": pa.string(), "GEOGRAPHY": pa.string(),
    "DATE": pa.date32(), "TIME": pa.time64("us"), "DATETIME": pa.timestamp("us"),
    "TIMESTAMP": pa.timestamp("us", "UTC"), "INTERVAL": pa.month_day_nano_interval(),
}  # fmt: skip
_LONG = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}


def field(name, kind, mode="NULLABLE", fields=()):
    """Return a TableFieldSchema; `kind` by either of its names."""
    made = {"name": name, "type": _LONG.get(kind, kind), "mode": mode}
    return {**made, "fields": list(fields)} if fields else made


def arrow_type(field):
    """Return what the Storage Read API sends a field as."""
    if field["type"] == "RECORD":
        kind = pa.struct([pa.field(each["name"], arrow_type(each)) for each in field["fields"]])
    else:
        kind = _ARROW[field["type"]]
    return pa.list_(kind) if field["mode"] == "REPEATED" else kind


def arrow_schema(fields):
    """Return what the Storage Read API sends a table as; JSON and GEOGRAPHY are marked as BigQuery marks them."""
    marks = {"JSON": "google:sqlType:json", "GEOGRAPHY": "google:sqlType:geography"}
    return pa.schema(
        [
            pa.field(
                each["name"],
                arrow_type(each),
                metadata={"ARROW:extension:name": marks[each["type"]]} if each["type"] in marks else None,
            )
            for each in fields
        ]
    )


def from_arrow(name, kind):
    """Return the field that a column of DuckDB's is in BigQuery."""
    if pa.types.is_list(kind):
        return {**from_arrow(name, kind.value_type), "mode": "REPEATED"}
    if pa.types.is_struct(kind):
        return field(name, "RECORD", fields=[from_arrow(each.name, each.type) for each in kind])
    if pa.types.is_timestamp(kind):
        return field(name, "TIMESTAMP" if kind.tz else "DATETIME")
    if pa.types.is_null(kind):
        return field(name, "INTEGER")
    if pa.types.is_decimal(kind):
        return field(name, "NUMERIC" if kind.scale else "INTEGER")  # a sum of whole numbers is a HUGEINT in DuckDB
    tests = {
        "INTEGER": pa.types.is_integer, "FLOAT": pa.types.is_floating, "BOOLEAN": pa.types.is_boolean,
        "BYTES": pa.types.is_binary, "DATE": pa.types.is_date, "TIME": pa.types.is_time,
        "INTERVAL": pa.types.is_interval, "STRING": pa.types.is_string,
    }  # fmt: skip
    return field(name, next(known for known, fits in tests.items() if fits(kind)))


def to_table(rows, fields):
    """Return rows of DuckDB's as Arrow, as the Storage Read API sends them: an ARRAY is never null."""
    schema = arrow_schema(fields)
    columns = [[_value(row[i], each) for row in rows] for i, each in enumerate(fields)]
    return pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def _value(value, field):
    if field["mode"] == "REPEATED":
        return [_value(each, {**field, "mode": "NULLABLE"}) for each in value or ()]
    if value is None:
        return None
    if field["type"] == "RECORD":
        return {each["name"]: _value(value[each["name"]], each) for each in field["fields"]}
    if field["type"] in ("NUMERIC", "BIGNUMERIC"):
        return Decimal(value)
    if field["type"] == "TIMESTAMP" and value.tzinfo is None:
        return value.replace(tzinfo=datetime.UTC)
    return value


def to_json(value, field, whole_timestamps):
    """Return a value as tabledata.list has it."""
    if field["mode"] == "REPEATED":
        plain = {**field, "mode": "NULLABLE"}
        return [{"v": to_json(each, plain, whole_timestamps)} for each in value]
    if value is None:
        return None
    kind = field["type"]
    if kind == "RECORD":
        return {"f": [{"v": to_json(value[each["name"]], each, whole_timestamps)} for each in field["fields"]]}
    if kind == "TIMESTAMP":
        micros = (value - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1)
        return str(micros) if whole_timestamps else repr(micros / 1e6)
    if kind == "FLOAT":
        return {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(repr(value), repr(value))
    if kind == "BYTES":
        return base64.b64encode(value).decode()
    if kind in ("NUMERIC", "BIGNUMERIC"):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if kind == "BOOLEAN":
        return "true" if value else "false"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
