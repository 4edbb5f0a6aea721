"""What `flywheel schema` looks at: rows of a few spans, what they suggest, and what they do not keep to."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel import invariants
from flywheel.cli.quietly import import_quietly
from flywheel.invariants import Invariant, Known, Proposal, Violation
from flywheel.spans import Span

if TYPE_CHECKING:
    from flywheel.artifacts import Check, Examples
    from flywheel.schemas import Change
    from flywheel.workspace import Workspace


@dataclass(frozen=True)
class Found:
    """What the rows of a span, and of those before it, say about the project's schema and invariants.

    Attributes:
        span: The newest span.
        spans: How many spans with rows were looked at.
        rows: How many rows they have.
        given: The project's schema; an empty one when it has none.
        changes: What the schema would have to say otherwise, and what it could.
        broken: Invariants of the project that do not hold in the newest span.
        proposals: Invariants that the project does not have.
    """

    span: str
    spans: int
    rows: int
    given: Any
    changes: list[Change]
    broken: list[Violation]
    proposals: list[Proposal]


@contextmanager
def rows_of(workspace: Workspace, spans: Sequence[Span]) -> Iterator[Examples]:
    """Give the rows of `spans`, extracted to a folder that goes with the block.

    Raises:
        DataError: The newest span has no rows.
    """
    from flywheel.steps.extract import extract

    with tempfile.TemporaryDirectory(prefix="flywheel-schema-") as folder:
        with redirect_stdout(sys.stderr):  # what a step says in its log is not what this command answers
            examples = extract(
                workspace.query(),
                workspace.warehouse,
                [span.name for span in spans],
                workspace.project.columns,
                workspace.project.source.for_steps(),
                "",
                Path(folder) / "examples",
            )
        yield examples


def find(workspace: Workspace, span: Span, spans: int) -> Found:
    """Look at `spans` spans up to `span`, and return what follows from them."""
    from tensorflow_metadata.proto.v0 import schema_pb2

    from flywheel import schemas, statistics

    given = schemas.load(workspace.folder)
    rules = invariants.load(workspace.folder)
    label = workspace.project.label
    with rows_of(workspace, span.back(spans)) as examples:
        past = schemas.look(examples.batches(), examples.schema.names)
        import_tfdv()
        suggested = statistics.infer_schema(statistics.summarize(batch for _, batch in examples.batches()), label)
        changes = schemas.propose(given if given is not None else schema_pb2.Schema(), suggested, past, label)
        proposals = invariants.propose((batch for _, batch in examples.batches()), label)
        with_rows = [name for name in examples.spans if examples.rows_of([name])]
        found = _violations(rules, examples, with_rows)
        rows = examples.rows
    return Found(
        span.name,
        len(with_rows),
        rows,
        given if given is not None else schema_pb2.Schema(),
        changes,
        [violation for violation in found if violation.broken],
        [each for each in proposals if _same(each.invariant) not in {_same(rule) for rule in rules}],
    )


def latest(workspace: Workspace, now: datetime | None = None) -> tuple[Span, list[str]]:
    """Return the newest span that is over and may have rows, and the columns that the query gives; no rows are read."""
    from flywheel import warehouse as warehouses
    from flywheel.spans import last_complete

    every, query = workspace.project.source.every, workspace.query()
    with warehouses.open(workspace.warehouse, warehouses.Options.of(workspace.project.source.for_steps())) as rows:
        given, extent = rows.schema(query).names, rows.extent(query)
    newest = last_complete(every, now or datetime.now(UTC))
    if extent:
        newest = min(newest, last_complete(every, extent[1].replace(tzinfo=UTC)).shift(1))
    return newest, list(given)


def checks_of(workspace: Workspace, schema: Any, span: Span) -> tuple[list[Check], list[Violation], int]:
    """Return what TFDV says of a span, which of the project's invariants do not hold in it, and its rows."""
    from flywheel import statistics
    from flywheel.profiles.anomalies import schema_checks

    with rows_of(workspace, [span]) as examples:
        found = _violations(invariants.load(workspace.folder), examples, [span.name])
        import_tfdv()
        summary = statistics.summarize(batch for _, batch in examples.batches())
        checks = schema_checks(summary, statistics.for_one_span(schema), span.name)
        return checks, [violation for violation in found if violation.broken], examples.rows


def import_tfdv() -> None:
    """Import TFDV, and keep to ourselves what its libraries print meanwhile."""
    import_quietly("tensorflow_data_validation", "TFDV")


def _violations(rules: Sequence[Invariant], examples: Examples, spans: Sequence[str]) -> list[Violation]:
    """Return how the rules fare on the last of `spans`, by what those before it said."""
    if not rules:
        return []
    known = Known.of(rules)
    for span in spans[:-1]:
        known = known.learn(batch for _, batch in examples.batches([span]))
    return known.violations(batch for _, batch in examples.batches(spans[-1:]))


def _same(rule: Invariant) -> tuple[object, ...]:
    """Return what two invariants that say the same have in common, whatever the order of their columns."""
    if rule.kind == "ordered":
        return rule.kind, rule.columns
    return rule.kind, rule.columns[0] if rule.kind != "unique" else "", frozenset(rule.columns)
