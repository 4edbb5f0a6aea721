"""Judging one candidate more than once: of the 5% error, each look may spend only a part.

A candidate that a look leaves undecided is looked at again on more spans. Looked at often enough at 5% each, a worse
model passes in the end (Armitage, McPherson & Rowe 1969). So at each look a comparison spends of its 5% no more than
the share of the precision that it needs, less what it has spent: where the standard error is 1.25 times what decides,
four fifths, 4%. That is a spending function (Lan & DeMets 1983) of the power family (Kim & DeMets 1987, exponent 1/2),
whose clock is information, the inverse of the squared error (Mehta & Tsiatis 2001). The errors of all looks add up to
5% at most whatever binds one look to the next (Bonferroni), so no boundary has to be integrated; and a judge that knew
enough at once has all 5%, as if there were no further look.

Slices err the other way, by blocking a model that is good enough there. All of them together spend their 5% by the same
clock: at each look the share of the comparison that is the least precise, as that says how much is still to come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flywheel.evaluation.paired import ALPHA

if TYPE_CHECKING:
    from flywheel.artifacts import Check


SLICES = "slices"
"""What all slices, and labels, of a look together spend of their error: one family, by Holm."""


@dataclass(frozen=True)
class Look:
    """One of the times that the same candidate is judged.

    Attributes:
        number: Which, from 1.
        of: At most so many.
        spent: By check, what earlier looks have spent of the error.
        shown: Checks that an earlier look has passed: those that have nothing left to spend need not be shown twice.
    """

    number: int = 1
    of: int = 1
    spent: Mapping[str, float] = field(default_factory=dict)
    shown: tuple[str, ...] = ()

    @property
    def last(self) -> bool:
        """Whether none may follow."""
        return self.number >= self.of

    def level(self, check: str, precision: float) -> float:
        """Return the one-sided error that `check` may make at this look.

        Args:
            check: Its name.
            precision: The judge's, as a share of what decides; at the last look everything that is left is spent.
        """
        share = 1.0 if self.last else min(1.0, precision)
        return max(0.0, ALPHA * share - self.spent.get(check, 0.0))

    def after(self, checks: Iterable[Check], spans: int) -> dict[str, Any]:
        """Return what a further look has to know, as JSON values.

        Args:
            checks: What this one gave.
            spans: How many spans judged.

        Returns:
            `number` and `of`; `spans` of this look; `spent` and `shown` after it; and `more`, how many further spans
            would decide what was left undecided: None where none would, or nothing was, or something failed.
        """
        checks = list(checks)
        spent = dict(self.spent)
        now = {SLICES if check.slice else check.name: check.level for check in checks if check.level is not None}
        for name, level in now.items():
            spent[name] = spent.get(name, 0.0) + level
        judged = [check for check in checks if check.level is not None and not check.slice]
        passed = [check.name for check in judged if check.result == "pass"]
        return {
            "number": self.number,
            "of": self.of,
            "spans": spans,
            "spent": spent,
            "shown": list(dict.fromkeys([*self.shown, *passed])),
            "more": None if self.last else _more(checks),
        }

    @classmethod
    def following(cls, before: Mapping[str, Any], of: int) -> Look:
        """Return the look after one that left `before`, as `after` gave it."""
        return cls(int(before["number"]) + 1, of, before["spent"], tuple(before["shown"]))


ONLY = Look()
"""Of a candidate that is judged once."""


def _more(checks: list[Check]) -> int | None:
    if any(check.result == "fail" for check in checks):
        return None
    wanted = [check.more for check in checks if check.result == "undecided"]
    known = [more for more in wanted if more is not None]
    return max(known) if known and len(known) == len(wanted) else None
