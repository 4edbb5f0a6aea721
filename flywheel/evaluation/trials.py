"""A gate held against some rows: what it looks at, its bound, and what it says in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flywheel.artifacts import Check
from flywheel.evaluation.estimates import difference, figure, value
from flywheel.evaluation.paired import ALPHA, Estimate
from flywheel.evaluation.predictions import BASELINE, CANDIDATE, CHAMPION, Predictions
from flywheel.evaluation.regression import NAIVE

if TYPE_CHECKING:
    from flywheel.config import ModelGate

_THEIRS = {CHAMPION: "the champion's", BASELINE: "the baseline's", NAIVE: "the naive forecast's"}


@dataclass(frozen=True)
class Trial:
    """A gate held against some rows.

    Attributes:
        gate: The gate.
        estimate: What it looks at: the candidate's figure, or what it gains over the other (more is better).
        rows: How many rows that rests on.
        slice: Which rows, as `carrier=HA`; empty for all.
        values: The metric's value by model.
        unit: What counts as one piece of evidence, in words.
        spans: How many spans judge.
    """

    gate: ModelGate
    estimate: Estimate
    rows: int
    slice: str
    values: dict[str, float]
    unit: str = "span"
    spans: int = 0

    @property
    def name(self) -> str:
        """What is checked, in words."""
        if self.gate.no_worse_than:
            return f"{self.gate.metric} no worse than {self.gate.no_worse_than}, margin {self.gate.margin:g}"
        return f"{self.gate.metric} at {'least' if self.gate.at_most is None else 'most'} {self.bound:g}"

    @property
    def bound(self) -> float:
        """The figure that the estimate is held against."""
        if self.gate.no_worse_than:
            return -self.gate.margin
        return float(self.gate.at_least if self.gate.at_least is not None else self.gate.at_most or 0.0)

    @property
    def theirs(self) -> str:
        """The figure that the candidate's is compared with, in words."""
        assert self.gate.no_worse_than
        return f"{_THEIRS[self.gate.no_worse_than]} {self.values[self.gate.no_worse_than]:.4g}"

    @property
    def p_worse(self) -> float:
        """P-value against the bound being kept; small when these rows are shown to be worse."""
        return (self.estimate.p_below if self.gate.at_most is None else self.estimate.p_above)(self.bound)

    def check(
        self, result: str, reason: str, remedy: str = "", level: float | None = None, more: int | None = None
    ) -> Check:
        """Return the outcome of this trial; its interval has the two-sided level that goes with `level`, or 90%."""
        return Check(
            name=self.name,
            result=result,
            observed=self.estimate.value if math.isfinite(self.estimate.value) else None,
            bound=self.bound,
            slice=self.slice,
            reason=reason,
            remedy=remedy,
            interval=self.estimate.interval(level or ALPHA),
            rows=self.rows,
            level=level,
            more=more,
        )


def trial(found: Predictions, gate: ModelGate, slice: str = "") -> Trial:
    """Return `gate` held against the rows of `found`."""
    other = gate.no_worse_than
    estimate = difference(found, gate.metric, other) if other else figure(found, gate.metric, CANDIDATE)
    compared = [CANDIDATE, other] if other else [CANDIDATE]
    values = {name: value(found, gate.metric, name) for name in compared}
    return Trial(gate, estimate, len(found), slice, values, found.evidence.unit, len(found.spans.keys))


def count_of(number: int, unit: str) -> str:
    """Return so many pieces of evidence in words."""
    return f"{number} {plural(number, unit)}"


def plural(number: int, unit: str) -> str:
    """Return the word for so many of them."""
    if unit in ("span", "row"):
        return f"{unit}s" if number != 1 else unit
    return f"values of {unit}" if number != 1 else f"value of {unit}"
