"""Waivers: a person says that a span may be trained on, whatever the data gate finds, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flywheel.ledger.acts import REASON, WHO, checked
from flywheel.ledger.rows import SPAN

if TYPE_CHECKING:
    from mlflow.entities import Run

WAIVER = "waiver"
_CHECKS = "flywheel.checks"
_BETWEEN = "\n"


@dataclass(frozen=True)
class Waiver:
    """What one person decided about one span; nothing is ever taken out of the ledger, the newest one counts.

    Attributes:
        span: Name of the span.
        reason: Why its data is good enough to train on.
        who: Who decided.
        checks: Names of checks, or columns, that it is about; none for whatever is found.
        at: When (UTC).
    """

    span: str
    reason: str
    who: str
    checks: tuple[str, ...]
    at: datetime

    @classmethod
    def of(cls, run: Run) -> Waiver:
        """Return the waiver that an MLflow run is."""
        tags = run.data.tags
        return cls(
            span=tags.get(SPAN, ""),
            reason=tags.get(REASON, ""),
            who=tags.get(WHO, ""),
            checks=tuple(name for name in tags.get(_CHECKS, "").split(_BETWEEN) if name),
            at=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        )

    def covers(self, name: str, column: str = "") -> bool:
        """Return whether a check called `name`, about `column`, is waived."""
        return not self.checks or name in self.checks or (bool(column) and column in self.checks)


def tags(span: str, reason: str, who: str, checks: Sequence[str]) -> dict[str, str]:
    """Return the tags of a waiver's run.

    Raises:
        ConfigError: There is no reason, or one too long for the ledger.
    """
    said = checked(reason, f"the waiver of span {span!r}")
    return {SPAN: span, REASON: said, WHO: who, _CHECKS: _BETWEEN.join(checks)}
