"""`source.sample`, `source.split` and `train.weight`: which rows are taken, and what for, the same in every warehouse.

Rows of one key stay together. What is sampled at 10% is part of what is sampled at 20%, and whether a row is held back
for validation does not depend on whether it is sampled: the two look at different fingerprints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlglot

from flywheel.artifacts.examples import VALIDATION, WEIGHT
from flywheel.errors import ConfigError
from flywheel.warehouse.explain import suggest

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = 1_000_000  # a share is a whole number of these


def narrowed(query: str, schema: pa.Schema, source: Mapping[str, Any]) -> str:
    """Return `query`, limited to `sample` and with the columns that `split` and `weight` add, where `source` has them.

    Args:
        query: SQL in BigQuery's dialect.
        schema: The columns that it gives.
        source: As `source` in flywheel.yaml; and `weight`, as in `train` there.

    Raises:
        ConfigError: A key or the weight names no column, or a key one whose text differs from warehouse to warehouse.
    """
    sample, split = source.get("sample"), source.get("split")
    weight, added, rows = source.get("weight"), "", ""
    if split:
        added += f", {_below(_key('split', split['key'], schema), split['validation'])} AS {VALIDATION}"
        _refuse_if_given(VALIDATION, "source.split", schema)
    if weight:
        added += f", {_weight(weight, schema)} AS {WEIGHT}"
        _refuse_if_given(WEIGHT, "train.weight", schema)
    if sample and sample["share"] < 1:
        rows = f" WHERE {_below(_key('sample', sample['key'], schema), sample['share'])}"
    return f"SELECT *{added} FROM (\n{_one(query)}\n){rows}" if added or rows else query


def _weight(column: str, schema: pa.Schema) -> str:
    """Return SQL that gives a row's weight."""
    if column not in schema.names:
        raise ConfigError(
            f"train.weight names {column!r}, which the query does not give", suggest(column, schema.names)
        )
    return f"CAST(`{column}` AS FLOAT64)"


def _refuse_if_given(column: str, key: str, schema: pa.Schema) -> None:
    if column in schema.names:
        raise ConfigError(f"the query gives a column {column!r}, as `{key}` does", "name it otherwise.")


def _below(key: str, share: float) -> str:
    """Return SQL that is true for a share of the keys."""
    part = f"MOD(MOD(FARM_FINGERPRINT({key}), {PARTS}) + {PARTS}, {PARTS})"  # MOD alone has the dividend's sign
    return f"{part} < {round(share * PARTS)}"


def _key(purpose: str, columns: Sequence[str], schema: pa.Schema) -> str:
    """Return SQL that gives the text whose fingerprint decides; a null counts as an empty text."""
    parts = [f"'{purpose}'"]
    for name in columns:
        if name not in schema.names:
            raise ConfigError(
                f"source.{purpose}.key names {name!r}, which the query does not give", suggest(name, schema.names)
            )
        _refuse_unless_same_text_everywhere(purpose, name, schema.field(name).type)
        parts += ["'|'", f"IFNULL(CAST(`{name}` AS STRING), '')"]
    return f"CONCAT({', '.join(parts)})"


def _refuse_unless_same_text_everywhere(purpose: str, name: str, type: pa.DataType) -> None:
    import pyarrow as pa

    if type not in (pa.int64(), pa.string(), pa.bool_(), pa.date32()):
        remedy = "take a column that is a number, a text or a date, or make a text of it in the query"
        if pa.types.is_timestamp(type):
            remedy += f", as FORMAT_TIMESTAMP('%F %T', {name})"
        raise ConfigError(
            f"source.{purpose}.key names {name!r}, which is {type}: its text is another one in each warehouse",
            f"{remedy}.",
        )


def _one(query: str) -> str:
    """Return `query` without the semicolon at its end, so that it can stand within another."""
    tokens = sqlglot.tokenize(query, read="bigquery")
    while tokens and tokens[-1].text == ";":
        query = query[: tokens.pop().start]
    return query
