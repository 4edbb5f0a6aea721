"""DuckDB's errors in terms of the query that the user wrote, and what to do about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from flywheel.errors import SQLError, meant
from flywheel.warehouse.sql import Query

Names = Callable[[list[str] | None], list[str]]


def explain(error: Exception, query: Query, warehouse: str, names: Names) -> SQLError:
    """Return `error` as one that names line and construct of `query`.

    Args:
        error: DuckDB's, or Arrow's when it came while rows were read.
        query: What was asked.
        warehouse: Where the warehouse is.
        names: Gives the tables that there are, or the columns of the tables that it is given.
    """
    text = str(error)
    if missing := re.search(r"Table with name \"?(?P<name>[^\s\"]+)\"? does not exist", text):
        return _no_table(missing["name"], query, warehouse, names(None))
    if missing := re.search(r"(?:Referenced column|does not have a column named) \"(?P<name>[^\"]+)\"", text):
        return _no_column(missing["name"], query, names)
    if missing := re.search(r"Function with name \"?(?P<name>\w+)\"? (?:does not exist|is not in)", text):
        name = missing["name"].upper()
        return SQLError(
            f"{query.written(name)}{query.place(name)} cannot be translated: DuckDB has no such function",
            "write it with functions that both have, or compute it in the trainer.",
        )
    if line := re.search(r"CSV Error on Line: (?P<line>\d+)", text):
        return _no_csv(line["line"], text)
    if out_of_memory(error):
        return SQLError(
            f"the query needs more memory than there is: {first_line(error)}",
            "give the step more memory, or take shorter spans or fewer columns.",
        )
    return SQLError(f"the query does not run on DuckDB: {first_line(error)}", "mend it; it is BigQuery's dialect.")


def one_time(rows: Sequence[Sequence[Any]]) -> datetime | None:
    """Return the time that the rows of a watermark's query are, in UTC without zone.

    Raises:
        SQLError: They are not one value, or it is no time.
    """
    if len(rows) != 1 or len(rows[0]) != 1:
        found = f"{len(rows[0])} columns" if rows and len(rows[0]) != 1 else "no rows" if not rows else "several rows"
        raise SQLError(f"the watermark's query gives {found}", "let it give one time, as SELECT MAX(loaded) FROM t.")
    value = rows[0][0]
    if value is None:
        return None
    if isinstance(value, date):
        return in_utc(value)
    raise SQLError(f"the watermark's query gives {value!r}", "let it give a TIMESTAMP, a DATETIME or a DATE.")


def in_utc(value: date) -> datetime:
    """Return a TIMESTAMP or DATETIME in UTC without zone; of a DATE its first instant."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    return datetime(value.year, value.month, value.day)


def out_of_memory(error: Exception) -> bool:
    """Return whether that is what DuckDB says, itself or through Arrow."""
    return "out of memory" in str(error).lower()


def first_line(error: Exception) -> str:
    """Return what an error says first."""
    return str(error).strip().splitlines()[0]


def suggest(name: str, known: Sequence[str]) -> str:
    """Return which of `known` was probably meant by `name`, and all of them."""
    there = f"it has {', '.join(known)}." if known else "it has none."
    return meant(name.lower(), [each.lower() for each in known]) + there


def _no_table(name: str, query: Query, warehouse: str, tables: list[str]) -> SQLError:
    place = query.place(name.split(".")[-1])
    found = f"the warehouse {warehouse!r} has no table {name!r}" + (f", read{place}" if place else "")
    return SQLError(found, suggest(name.split(".")[-1], tables))


def _no_csv(line: str, text: str) -> SQLError:
    """Return what is wrong with one line of a file: DuckDB says where above, what in the middle and in which below."""
    file = re.search(r"^\s*file = (?P<name>.*)$", text, re.M)
    said = re.search(r"^(?!Original Line|.*CSV Error on Line)(?P<said>\S.*)$", text, re.M)
    of = f" of {file['name']!r}" if file else ""
    return SQLError(
        f"line {line}{of} is not like those before it: {said['said'] if said else text.strip().splitlines()[0]}",
        "mend that line; a column's type is that of its first rows.",
    )


def _no_column(name: str, query: Query, names: Names) -> SQLError:
    tables = sorted({table.name for table in query.tables()})
    found = f"there is no column {name!r}{query.place(name)} in {', '.join(tables) or 'what the query reads'}"
    return SQLError(found, suggest(name, names(tables)))
