"""What DuckDB, and SQLGlot with it, would take for something else than BigQuery does, rewritten to mean the same."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from flywheel.errors import SQLError

_DAYS = ("DAY", "WEEK", "ISOWEEK", "MONTH", "QUARTER", "YEAR", "ISOYEAR")
_FRACTIONS = {"MILLISECOND": 1000, "MICROSECOND": 1_000_000}  # DuckDB counts the whole seconds in
_BIG = 19  # digits after the point of a BIGNUMERIC, and before it


def repair(tree: exp.Query, *, datasets: bool = True) -> exp.Query:
    """Return `tree` with every such construct rewritten.

    Args:
        tree: A query; it stays as it is.
        datasets: Whether a dataset before a table's name says something; false, and it is left out.

    Raises:
        SQLError: One cannot be said in DuckDB at all.
    """
    repaired = tree.copy()
    for table in repaired.find_all(exp.Table):
        table.set("catalog", None)  # a BigQuery project; an embedded warehouse is one
        if not datasets:
            table.set("db", None)
    nodes: list[exp.Expression] = list(repaired.find_all(*_REPAIRS))
    for node in reversed(nodes):  # the innermost first
        node.replace(_REPAIRS[type(node)](node))
    return repaired


def _extract(node: exp.Extract) -> exp.Expression:
    part, of = node.this.name.upper(), node.expression.copy()
    if part == "DATE":
        return exp.cast(of, "DATE")
    if part == "TIME":
        return exp.cast(exp.cast(of, "DATETIME", dialect="bigquery"), "TIME")
    if part.startswith("WEEK") or isinstance(node.this, exp.WeekStart):
        raise SQLError(
            f"EXTRACT({part} …) cannot be translated for DuckDB, whose weeks are ISO's", "take EXTRACT(ISOWEEK …)."
        )
    # Not as EXTRACT, which SQLGlot refuses for a TIMESTAMP: the session's time zone is UTC here as in BigQuery.
    found = _call("DATE_PART", exp.Literal.string({"ISOWEEK": "WEEK"}.get(part, part)), of)
    if part == "DAYOFWEEK":  # Sunday is 1 in BigQuery, 0 in DuckDB
        return exp.paren(exp.Add(this=found, expression=exp.Literal.number(1)))
    if part in _FRACTIONS:
        return exp.paren(exp.Mod(this=found, expression=exp.Literal.number(_FRACTIONS[part])))
    return found


def _whole_units(node: exp.TimestampDiff) -> exp.Expression:
    """Count hours that have passed, as BigQuery does here, not strokes of the clock."""
    unit = exp.Literal.string(node.text("unit") or "SECOND")
    return _call("DATE_SUB", unit, node.expression, node.this)


def _printf(node: exp.Format) -> exp.Expression:
    return _call("PRINTF", node.this, *node.expressions)


def _date(node: exp.Expression) -> exp.Expression:
    """Keep a date a date: DuckDB makes a time of day of every sum with an interval."""
    unit = node.args.get("unit")
    if unit is not None and unit.name.upper() not in _DAYS and not isinstance(unit, exp.WeekStart):
        return node.copy()
    return exp.cast(node.copy(), "DATE")


def _timestamp(node: exp.Expression) -> exp.Expression:
    return exp.cast(node.copy(), "TIMESTAMP", dialect="bigquery")


def _time(node: exp.Expression) -> exp.Expression:
    copy = node.copy()
    copy.set("this", exp.cast(copy.this, "DATETIME", dialect="bigquery"))
    return copy


def _number(node: exp.Literal) -> exp.Expression:
    """Make 1.5 a FLOAT64; in a CAST to NUMERIC it stays the decimal that is written there."""
    if node.is_string or node.this.isdigit() or isinstance(node.parent, exp.Cast | exp.DataTypeParam):
        return node.copy()
    return exp.cast(node.copy(), "DOUBLE")


def _decimal(node: exp.DataType) -> exp.Expression:
    copy = node.copy()
    if copy.is_type("DECIMAL") and not copy.expressions:
        return exp.DataType.build("DECIMAL(38, 9)")
    if copy.is_type("BIGDECIMAL"):
        return exp.DataType.build(f"DECIMAL({2 * _BIG}, {_BIG})")
    return copy


def _fingerprint(node: exp.Expression) -> exp.Expression:
    """Take texts and bytes alike, as FARM_FINGERPRINT does."""
    (of,) = node.expressions or [node.this]
    kind = _call("TYPEOF", of.copy())
    of_bytes, of_text = (exp.cast(of.copy(), type) for type in ("BLOB", "TEXT"))
    case = exp.Case().when(kind.eq("BLOB"), _call("FARM_FINGERPRINT_OF_BYTES", of_bytes))
    return case.else_(_call("FARM_FINGERPRINT", of_text))


def _geography(node: exp.Anonymous) -> exp.Expression:
    """Keep geographies as the text that BigQuery gives for them, which those that are stored are already."""
    of = [each.copy() for each in node.expressions]
    name = node.name.upper()
    if name in ("ST_GEOGFROMTEXT", "ST_ASTEXT") and len(of) == 1:
        return exp.cast(of[0], "TEXT")
    if name == "ST_GEOGPOINT" and len(of) == 2:
        longitude, latitude = (_call("PRINTF", exp.Literal.string("%.15g"), exp.cast(x, "DOUBLE")) for x in of)
        return _call("PRINTF", exp.Literal.string("POINT(%s %s)"), longitude, latitude)
    return node.copy()


def _call(name: str, *arguments: exp.Expression) -> exp.Anonymous:
    return exp.Anonymous(this=name, expressions=[each.copy() for each in arguments])


_REPAIRS: dict[type[exp.Expression], Callable[..., exp.Expression]] = {
    exp.Extract: _extract,
    exp.TimestampDiff: _whole_units,
    exp.Format: _printf,
    exp.DateAdd: _date,
    exp.DateSub: _date,
    exp.DateTrunc: _date,
    exp.DateFromUnixDate: _date,
    exp.UnixToTime: _timestamp,
    exp.StrToTime: _timestamp,
    exp.TsOrDsToTime: _time,
    exp.Literal: _number,
    exp.DataType: _decimal,
    exp.Anonymous: _geography,
    exp.FarmFingerprint: _fingerprint,
}
