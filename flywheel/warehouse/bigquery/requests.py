"""What is sent: the user's text, never rewritten but for what is spliced in, and @start and @end in the right type.

BigQuery compares a TIMESTAMP with a TIMESTAMP only. A DATE or DATETIME column wants a parameter of the civil kind:
DATE where both ends of a span are midnights (a partition column of that type is then pruned), DATETIME otherwise,
to which a DATE is coerced. Which kind a query wants is found by dry runs, which are free.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import TokenType, exp

from flywheel.spans import Span

if TYPE_CHECKING:
    from google.cloud.bigquery import ScalarQueryParameter

KINDS = ("TIMESTAMP", "DATE", "DATETIME")
_MIXED_AT_MOST = 6


@dataclass(frozen=True)
class Use:
    """One place where a query takes a parameter.

    Attributes:
        name: `start` or `end`.
        begin: Where `@` stands in the text.
        end: First character after the name.
    """

    name: str
    begin: int
    end: int


def uses(text: str) -> list[Use]:
    """Return where `text` takes its parameters, in the order of the text."""
    tokens = sqlglot.tokenize(text, read="bigquery")
    pairs = itertools.pairwise(tokens)
    return [Use(b.text.lower(), a.start, b.end + 1) for a, b in pairs if a.token_type == TokenType.PARAMETER]


def kinds_to_try(text: str) -> Iterator[tuple[str, ...]]:
    """Yield one type for each use: all alike first, then mixtures, those first that change least along the text."""
    count = len(uses(text))
    yield from ((kind,) * count for kind in KINDS)
    if 1 < count <= _MIXED_AT_MOST:
        mixed = [kinds for kinds in itertools.product(KINDS[:2], repeat=count) if len(set(kinds)) > 1]
        yield from sorted(mixed, key=lambda kinds: sum(a != b for a, b in itertools.pairwise(kinds)))


def bind(text: str, kinds: Sequence[str], span: Span) -> tuple[str, list[ScalarQueryParameter]]:
    """Return what is sent for one span: `text` as it is where one type serves all uses, and the values of it."""
    from google.cloud.bigquery import ScalarQueryParameter

    values = {"start": span.start, "end": span.end}
    midnights = all(value.time() == time() for value in values.values())
    chosen = [kind if midnights or kind == "TIMESTAMP" else "DATETIME" for kind in kinds]
    alike, parameters, edits = len(set(chosen)) == 1, {}, []
    for use, kind in zip(uses(text), chosen, strict=True):
        name = use.name if alike else f"{use.name}_{kind.lower()}"
        parameters[name] = ScalarQueryParameter(name, kind, _value(values[use.name], kind))
        if name != use.name:
            edits.append((use.begin, use.end, f"@{name}"))
    return splice(text, edits), [parameters[name] for name in sorted(parameters)]


def _value(instant: datetime, kind: str) -> datetime | date:
    if kind == "DATE":
        return instant.date()
    return instant.replace(tzinfo=UTC) if kind == "TIMESTAMP" else instant


@dataclass(frozen=True)
class Written:
    """A table as the user wrote it.

    Attributes:
        name: project.dataset.table, as far as it was written.
        after: Where in the text its name, with its alias, is over.
        plain: Whether a time may be asked of it there: no wildcard, no time of its own, not pivoted.
    """

    name: tuple[str, ...]
    after: int
    plain: bool


def tables(tree: exp.Query) -> list[Written]:
    """Return the tables that a query names, those aside that it defines itself by WITH."""
    found = []
    for table in tree.find_all(exp.Table):
        parts = [part for part in table.parts if isinstance(part, exp.Identifier)]
        name = tuple(piece for part in parts for piece in part.name.split("."))
        if len(parts) != len(table.parts) or (len(name) == 1 and _is_defined(table, name[0].lower())):
            continue
        alias = table.args["alias"].this if table.args.get("alias") else None
        ends = [part.meta["end"] for part in (*parts, alias) if part is not None and "end" in part.meta]
        plain = not name[-1].endswith("*") and not table.args.get("version") and not table.args.get("pivots")
        found.append(Written(name, max(ends, default=-1) + 1, plain and bool(ends)))
    return found


def _is_defined(table: exp.Expression, name: str) -> bool:
    """Return whether `name`, where `table` stands, is one that a WITH defines: in its own definition it is not yet."""
    node: Any = table
    while node is not None:
        if isinstance(node, exp.CTE) and isinstance(node.parent, exp.With):
            ctes = node.parent.expressions
            place = next(i for i, cte in enumerate(ctes) if cte is node)
            seen = ctes if node.parent.args.get("recursive") else ctes[:place]
            node = node.parent.parent
        else:
            seen = node.ctes if isinstance(node, exp.Query) else []
        if any(cte.alias_or_name.lower() == name for cte in seen):
            return True
        node = node.parent
    return False


def splice(text: str, edits: Sequence[tuple[int, int, str]]) -> str:
    """Return `text` with each (begin, end, replacement) done; nothing else of it changes."""
    for begin, end, new in sorted(edits, reverse=True):
        text = text[:begin] + new + text[end:]
    return text


def body(text: str) -> str:
    """Return a query without the semicolon at its end, to be put inside another one."""
    tokens = sqlglot.tokenize(text, read="bigquery")
    if tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        return text[: tokens[-1].start] + text[tokens[-1].end + 1 :]
    return text
