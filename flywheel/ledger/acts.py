"""What people do to a flywheel by hand: who did it, when and why; nothing is ever taken out of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from flywheel.errors import ConfigError

if TYPE_CHECKING:
    from mlflow.entities import Run

Kind = Literal["promote", "rollback", "approve", "freeze", "unfreeze"]
ACT = "act"
REASON, WHO = "flywheel.reason", "flywheel.who"
_KIND, _VERSION = "flywheel.act", "flywheel.version"
_LONGEST = 1000
_DONE = {
    "promote": "version {0} was made champion",
    "rollback": "rolled back to version {0}",
    "approve": "version {0} was approved",
    "freeze": "frozen",
    "unfreeze": "unfrozen",
}


@dataclass(frozen=True)
class Act:
    """What one person did.

    Attributes:
        kind: What.
        version: The version that it makes champion; empty for those that make none.
        reason: Why.
        who: Who.
        at: When (UTC).
        run: Its MLflow run.
        finished: Whether all that follows from it happened; an act that was killed is taken up again, not done twice.
    """

    kind: str
    version: str
    reason: str
    who: str
    at: datetime
    run: str
    finished: bool

    @classmethod
    def of(cls, run: Run) -> Act:
        """Return the act that an MLflow run is."""
        tags = run.data.tags
        return cls(
            kind=tags.get(_KIND, ""),
            version=tags.get(_VERSION, ""),
            reason=tags.get(REASON, ""),
            who=tags.get(WHO, ""),
            at=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
            run=run.info.run_id,
            finished=run.info.status == "FINISHED",
        )

    def __str__(self) -> str:
        done = _DONE.get(self.kind, self.kind).format(self.version)
        return f"{done} by {self.who or 'nobody named'} on {self.at:%Y-%m-%d at %H:%M} UTC: {self.reason}"


def tags(kind: Kind, version: str, reason: str, who: str) -> dict[str, str]:
    """Return the tags of an act's run.

    Raises:
        ConfigError: There is no reason, or one too long for the ledger.
    """
    return {_KIND: kind, _VERSION: version, REASON: checked(reason, f"`flywheel {kind}`"), WHO: who}


def checked(reason: str, what: str) -> str:
    """Return a reason as the ledger keeps it.

    Args:
        reason: What a person wrote.
        what: What it is the reason of, for the error.

    Raises:
        ConfigError: There is none, or it is too long for the ledger.
    """
    said = reason.strip()
    if not said:
        raise ConfigError(f"{what} has no reason", 'say why, for whoever asks later: --reason "…".')
    if len(said) > _LONGEST:
        raise ConfigError(
            f"the reason has {len(said):,} characters, the ledger keeps {_LONGEST:,}", "say it shorter, link the rest."
        )
    return said
