"""Verdicts: what a gate decided, and every check behind it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Check:
    """One thing that a gate looked at.

    Attributes:
        name: What was checked, as `auc at least 0.6`.
        result: `pass`, `fail`, `warn` (said, does not block) or `undecided` (not enough data).
        observed: The figure that was found; None where there is none.
        bound: The figure it was held against; None where there is none.
        slice: Which rows, as `carrier=HA`; empty for all of them.
        reason: Why the result is what it is, as a sentence.
        remedy: What to do about it, as a sentence; empty when passed.
        interval: Lower and upper bound of `observed`, if it has any.
        rows: How many rows it rests on, if that is known.
        column: Which column, if it is about one.
        span: Which span, if it is about one.
        usual: Lower and upper end of where `observed` usually is, if a history says so.
        level: The one-sided error that a test was made at, if a result of it may count once and for all.
        more: How many further spans would decide it, if it is undecided and any would.
    """

    name: str
    result: str
    observed: float | None = None
    bound: float | None = None
    slice: str = ""
    reason: str = ""
    remedy: str = ""
    interval: tuple[float, float] | None = None
    rows: int | None = None
    column: str = ""
    span: str = ""
    usual: tuple[float, float] | None = None
    level: float | None = None
    more: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What a gate decided, and every check that led to it.

    Attributes:
        gate: Which gate: `data`, `model`, …
        checks: Everything that was looked at.
        facts: Figures for ledger and reports, JSON values only.
    """

    gate: str
    checks: tuple[Check, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing failed and nothing was left undecided."""
        return not self.failed and not self.undecided

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.result == "fail")

    @property
    def undecided(self) -> tuple[Check, ...]:
        """The checks for which there was not enough data."""
        return tuple(check for check in self.checks if check.result == "undecided")

    @property
    def warned(self) -> tuple[Check, ...]:
        """The checks that are worth a look but do not block."""
        return tuple(check for check in self.checks if check.result == "warn")

    @property
    def why(self) -> str:
        """The decision in one sentence: the first reasons, and how many more there are."""
        decisive = self.failed + self.undecided
        if not decisive:
            return f"all {len(self.checks)} checks passed" if not self.warned else f"passed; {self.warned[0].reason}"
        more = f" (and {len(decisive) - 1} more)" if len(decisive) > 1 else ""
        return decisive[0].reason + more

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        return {"gate": self.gate, "ok": self.ok, "why": self.why, "facts": self.facts} | {
            "checks": [asdict(check) for check in self.checks]
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Verdict:
        """Return the verdict that `to_dict` gave."""
        checks = [dict(check) for check in values["checks"]]
        for check in checks:
            for pair in ("interval", "usual"):
                check[pair] = tuple(check[pair]) if check.get(pair) else None
        return cls(values["gate"], tuple(Check(**check) for check in checks), values["facts"])
