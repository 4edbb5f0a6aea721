"""The four kinds of invariant: what is always true of a row, or of two rows, whatever the day."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Unique:
    """No two rows of a span, nor of it and the span before, share these columns; a row with a null does not count.

    Attributes:
        columns: One or more.
        tolerance: Largest share of rows that may violate it.
        why: Why it is true of the world.
    """

    columns: tuple[str, ...]
    tolerance: float = 0.0
    why: str = field(default="", compare=False)
    kind = "unique"

    def __str__(self) -> str:
        return f"unique {', '.join(self.columns)}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as invariants.yaml has it, without tolerance and why."""
        return {self.kind: list(self.columns)}


@dataclass(frozen=True)
class Determines:
    """Rows that share `by` share `column`, within a span and with the spans before; a row with a null does not count.

    Attributes:
        by: The columns that determine, one or more.
        column: The one that is determined.
        tolerance: Largest share of rows that may violate it.
        why: Why it is true of the world.
    """

    by: tuple[str, ...]
    column: str
    tolerance: float = 0.0
    why: str = field(default="", compare=False)
    kind = "determines"

    @property
    def columns(self) -> tuple[str, ...]:
        """All of its columns, the determined one first."""
        return (self.column, *self.by)

    def __str__(self) -> str:
        return f"{', '.join(self.by)} determines {self.column}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as invariants.yaml has it, without tolerance and why."""
        return {self.kind: {"by": list(self.by), "column": self.column}}


@dataclass(frozen=True)
class Ordered:
    """Two numbers or times of a row stand in this order, or are equal, where both are there.

    Attributes:
        columns: The lower one and the higher one.
        tolerance: Largest share of rows that may violate it.
        why: Why it is true of the world.
    """

    columns: tuple[str, str]
    tolerance: float = 0.0
    why: str = field(default="", compare=False)
    kind = "ordered"

    def __str__(self) -> str:
        return f"{self.columns[0]} <= {self.columns[1]}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as invariants.yaml has it, without tolerance and why."""
        return {self.kind: list(self.columns)}


@dataclass(frozen=True)
class Sum:
    """The numbers `of` add up to `total`, to within rounding, where all are there.

    Attributes:
        of: What is added, two or more columns.
        total: The column that holds the sum.
        tolerance: Largest share of rows that may violate it.
        why: Why it is true of the world.
    """

    of: tuple[str, ...]
    total: str
    tolerance: float = 0.0
    why: str = field(default="", compare=False)
    kind = "sum"

    @property
    def columns(self) -> tuple[str, ...]:
        """All of its columns, the sum first."""
        return (self.total, *self.of)

    def __str__(self) -> str:
        return f"{' + '.join(self.of)} = {self.total}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as invariants.yaml has it, without tolerance and why."""
        return {self.kind: {"of": list(self.of), "is": self.total}}


Invariant = Unique | Determines | Ordered | Sum


@dataclass(frozen=True)
class Violation:
    """How an invariant fared on one span.

    Attributes:
        invariant: Which.
        rows: How many rows were looked at: those without a null in its columns, of a very large span a part.
        violating: How many of them violate it.
        share: `violating` of `rows`; 0 without any.
        example: A row that violates it, in words; empty when none does.
        columns: The columns that it is about, first the one most likely at fault.
    """

    invariant: Invariant
    rows: int
    violating: int
    share: float
    example: str
    columns: tuple[str, ...]

    @property
    def broken(self) -> bool:
        """Whether more rows violate it than it tolerates."""
        return self.share > self.invariant.tolerance

    def __str__(self) -> str:
        if not self.violating:
            return f"{self.invariant} holds in all {self.rows:,} rows"
        shown = f", as in {self.example}" if self.example else ""
        return f"{self.invariant} does not hold in {self.violating:,} of {self.rows:,} rows{shown}"
