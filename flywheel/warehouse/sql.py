"""BigQuery's SQL for DuckDB: translated by SQLGlot, and what cannot be translated is named with its line."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, ParseError, TokenError, UnsupportedError

from flywheel.errors import SQLError
from flywheel.warehouse import PARAMETERS
from flywheel.warehouse.repairs import repair


@dataclass(frozen=True)
class Query:
    """A query in both dialects.

    Attributes:
        text: What the user wrote.
        tree: What it means; not to be changed.
        duckdb: The same in DuckDB's dialect, `@start` as `$start`.
        parameters: Which of `start` and `end` it takes.
    """

    text: str
    tree: exp.Query
    duckdb: str
    parameters: frozenset[str]

    def tables(self) -> list[exp.Table]:
        """Return the tables that it reads, those aside that it defines itself by WITH."""
        own = {cte.alias_or_name.lower() for cte in self.tree.find_all(exp.CTE)}
        tables = [table for table in self.tree.find_all(exp.Table) if isinstance(table.this, exp.Identifier)]
        return [table for table in tables if table.db or table.name.lower() not in own]

    def written(self, function: str) -> str:
        """Return the name of a function with the family that the user wrote before it, as `NET.HOST`."""
        words = [token.text for token in sqlglot.tokenize(self.text, read="bigquery")]
        for before, dot, word in zip(words, words[1:], words[2:], strict=False):
            if dot == "." and word.lower() == function.lower():
                return f"{before}.{word}"
        return function

    def place(self, word: str) -> str:
        """Return where `word` first stands, as ` at line 3, column 12`; empty when the user did not write it."""
        for token in sqlglot.tokenize(self.text, read="bigquery"):
            if token.text.lower() == word.lower():
                return f" at line {token.line}, column {max(token.col - len(token.text) + 1, 1)}"
        return ""


@functools.lru_cache(maxsize=32)
def translate(text: str, *, bound: bool = True, datasets: bool = True) -> Query:
    """Return `text`, one SELECT in BigQuery's dialect, in both dialects.

    Args:
        text: What the user wrote.
        bound: Whether it takes @start or @end or both; false for neither.
        datasets: Whether tables stand in datasets; false, and a dataset before a table's name is left out.

    Raises:
        SQLError: It does not parse, is something else than one query, takes other parameters than @start and @end or
            neither, or has a construct that DuckDB cannot express.
    """
    tree = parse(text)
    taken = parameters(tree, bound=bound)
    try:
        duckdb = repair(tree, datasets=datasets).sql(dialect="duckdb", unsupported_level=ErrorLevel.RAISE)
    except UnsupportedError as error:
        raise SQLError(
            f"the query cannot be translated for DuckDB: {error}", "write that part in another way."
        ) from None
    return Query(text, tree, duckdb, taken)


def extent(query: Query, *, datasets: bool = True) -> str | None:
    """Return SQL for DuckDB that finds the first and last value of what `query` holds against @start.

    None when that is not plainly one condition in the WHERE of its outermost SELECT.
    """
    select = query.tree.copy()
    where = select.args.get("where")
    if not isinstance(select, exp.Select) or where is None:
        return None
    conditions = list(where.this.flatten()) if isinstance(where.this, exp.And) else [where.this]
    bound = [condition for condition in conditions if condition.find(exp.Parameter)]
    starts = [c.this for c in bound if isinstance(c, exp.GTE | exp.GT | exp.Between) and not c.this.find(exp.Parameter)]
    if len(starts) != 1:
        return None
    kept = [condition for condition in conditions if condition not in bound]
    select.set("where", exp.Where(this=exp.and_(*kept)) if kept else None)
    for clause in ("group", "having", "qualify", "order", "limit", "distinct"):
        select.set(clause, None)
    select.set("expressions", [exp.Min(this=starts[0].copy()), exp.Max(this=starts[0].copy())])
    return None if select.find(exp.Parameter) else repair(select, datasets=datasets).sql(dialect="duckdb")


def parse(text: str) -> exp.Query:
    """Return what `text`, one SELECT in BigQuery's dialect, means.

    Raises:
        SQLError: It does not parse, or is something else than one query.
    """
    try:
        parsed = sqlglot.parse(text, read="bigquery")
        statements = [tree for tree in parsed if tree is not None and not isinstance(tree, exp.Semicolon)]
    except ParseError as error:
        fault = error.errors[0] if error.errors else {}
        found = f" near {fault['highlight']!r}" if fault.get("highlight") else ""
        where = f"line {fault.get('line')}, column {fault.get('col')}"
        raise SQLError(
            f"the query does not parse at {where}{found}: {fault.get('description', error)}", "mend it there."
        ) from None
    except TokenError as error:
        raise SQLError(
            f"the query does not parse at line {_unclosed(text)}: {error}", "close every quote, backtick and comment."
        ) from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        found = ", ".join(type(tree).__name__.lower() for tree in statements) or "nothing"
        raise SQLError(f"the query has to be one SELECT, found {found}", "keep a single SELECT (WITH … is fine).")
    return statements[0]


def _unclosed(text: str) -> int:
    """Return the line from which on `text` cannot be split into tokens: that of an unclosed quote."""
    lines, closed = text.splitlines(keepends=True), 0
    for count in range(1, len(lines)):
        try:
            sqlglot.tokenize("".join(lines[:count]), read="bigquery")
            closed = count
        except TokenError:
            continue
    return closed + 1


def parameters(tree: exp.Query, *, bound: bool = True) -> frozenset[str]:
    """Return which of `start` and `end` a query takes, both written small in `tree` from now on.

    Raises:
        SQLError: It takes another parameter, or neither of them while `bound`, or one while not.
    """
    found = set()
    for parameter in tree.find_all(exp.Parameter):
        parameter.this.set("this", parameter.name.lower())
        found.add(parameter.name)
    unknown = sorted(found - set(PARAMETERS))
    if unknown:
        raise SQLError(f"the query takes the parameter @{unknown[0]}", "only @start and @end are given.")
    if found and not bound:
        raise SQLError(f"the query takes the parameter @{min(found)}", "it is asked without a span: take none.")
    if bound and not found:
        raise SQLError(
            "the query takes neither @start nor @end: every span would have the same rows",
            "limit it to a span, as in `WHERE time >= @start AND time < @end`.",
        )
    return frozenset(found)
