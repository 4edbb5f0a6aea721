"""What is wrong with schema.pbtxt and invariants.yaml themselves, before any row is looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flywheel.errors import meant
from flywheel.invariants import FILE as INVARIANTS
from flywheel.invariants import Invariant
from flywheel.labels import columns_of
from flywheel.schemas.changes import KINDS, bounds
from flywheel.statistics.schema import SCHEMA_FILE, SERVING


@dataclass(frozen=True)
class Problem:
    """Something that the project's files say and that cannot be right.

    Attributes:
        what: What is wrong and what was found.
        remedy: What to do about it.
        blocks: Whether it is wrong, rather than worth a look.
    """

    what: str
    remedy: str
    blocks: bool = True

    def __str__(self) -> str:
        return f"{self.what}\n  {self.remedy}"


def problems(
    schema: Any, label: str, used: Sequence[str], given: Sequence[str], invariants: Iterable[Invariant]
) -> list[Problem]:
    """Return what does not fit together, the plainest first.

    Args:
        schema: The project's.
        label: The column to predict, or columns as `flywheel.labels` joins them.
        used: Columns that flywheel.yaml names, the label among them.
        given: Columns that the query gives.
        invariants: The project's.
    """
    return [
        *_of_the_schema(schema),
        *_of_the_project(schema, label, used),
        *_of_the_query(schema, given),
        *(_unknown(rule, column, given) for rule in invariants for column in rule.columns if column not in given),
    ]


def _of_the_schema(schema: Any) -> Iterator[Problem]:
    domains = {domain.name for domain in schema.string_domain}
    for name, times in Counter(feature.name for feature in schema.feature).items():
        if times > 1:
            yield Problem(f"{SCHEMA_FILE} has {times} features named {name!r}", "take all but one of them out.")
    for feature in schema.feature:
        name, (low, high) = feature.name, bounds(feature)
        if feature.domain and feature.domain not in domains:
            hint = meant(feature.domain, domains).rstrip() or f"write a string_domain named {feature.domain!r}."
            yield Problem(f"{name} is of the domain {feature.domain!r}, which {SCHEMA_FILE} does not have", hint)
        if low > high:
            yield Problem(f"{name} is to be from {low:g} to {high:g}: nothing is", "swap min and max of its domain.")
        shares = (feature.presence.min_fraction, feature.distribution_constraints.min_domain_mass)
        for said, share in zip(("min_fraction", "min_domain_mass"), shares, strict=True):
            if not 0 <= share <= 1:
                yield Problem(f"{said} of {name} is {share:g}", "write a share of rows, from 0 to 1.")


def _of_the_project(schema: Any, label: str, used: Sequence[str]) -> Iterator[Problem]:
    known = {feature.name.split("/")[0]: feature for feature in schema.feature}
    labels = columns_of(label)
    for column in used:
        if column not in known:
            what = "the label" if column in labels else "the column"
            yield Problem(
                f"{SCHEMA_FILE} does not have {what} {column!r}, which flywheel.yaml names",
                f"flywheel schema accept SPAN --feature {column}",
            )
    for name in (each for each in labels if each in known):
        if known[name].type not in (2, 3):
            kind = KINDS.get(known[name].type, "of no type")
            yield Problem(
                f"the label {name!r} is {kind} in {SCHEMA_FILE}", "have the query give 0 or 1, and the schema INT."
            )
        if schema.default_environment and SERVING not in known[name].not_in_environment:
            yield Problem(
                f"the label {name!r} is expected in SERVING; requests have none",
                f'write `not_in_environment: "{SERVING}"` in its feature.',
            )


def _of_the_query(schema: Any, given: Sequence[str]) -> Iterator[Problem]:
    known = [feature.name.split("/")[0] for feature in schema.feature]
    for column in dict.fromkeys(known):
        if column not in given:
            yield Problem(
                f"{SCHEMA_FILE} has the column {column!r}, which the query does not give",
                f"{meant(column, given)}have the query give it, or: flywheel schema accept SPAN --feature {column}",
            )
    for column in given:
        if column not in known:
            yield Problem(
                f"{SCHEMA_FILE} does not have the column {column!r}, which the query gives",
                f"flywheel schema accept SPAN --feature {column}, or take it out of the query.",
                blocks=False,
            )


def _unknown(rule: Invariant, column: str, given: Sequence[str]) -> Problem:
    return Problem(
        f"{INVARIANTS}: {rule} names the column {column!r}, which the query does not give",
        f"{meant(column, given)}have the query give it, or take the invariant out.",
    )
