"""What changed from one state to another: vocabularies, boundaries, means, and the features themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from flywheel.transform.feature import Feature
from flywheel.transform.state import State

_SHOWN = 8
_SETTINGS = ("columns", "types", "function", "result")


@dataclass(frozen=True)
class Change:
    """One thing that two states say differently of a feature.

    Attributes:
        feature: Its name.
        what: `feature` when it is there in one state only, `kind`, or an attribute, as `mean` or `vocabulary`.
        before: What the first state says; of a vocabulary, its size.
        after: What the second state says.
        gained: Values that only the second vocabulary has, the most frequent first.
        lost: Values that only the first vocabulary has.
    """

    feature: str
    what: str
    before: Any
    after: Any
    gained: tuple[Any, ...] = ()
    lost: tuple[Any, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = asdict(self)
        return values if self.what == "vocabulary" else {key: values[key] for key in list(values)[:4]}

    def __str__(self) -> str:
        if self.what == "feature":
            return "gone" if self.after is None else f"new: {self.after}"
        if self.what == "vocabulary":
            parts = [f"{self.before} → {self.after} values"]
            parts += [f"gained {_some(self.gained)}"] if self.gained else []
            parts += [f"lost {_some(self.lost)}"] if self.lost else []
            return "; ".join(parts if self.gained or self.lost else [*parts, "in another order"])
        return f"{self.what} {_short(self.before)} → {_short(self.after)}{_apart(self.before, self.after)}"


def diff(one: State, other: State) -> list[Change]:
    """Return what `other` says differently from `one`, feature by feature; nothing when both transform alike."""
    before, after = ({each.name: each for each in state.features} for state in (one, other))
    changes: list[Change] = []
    for name in dict.fromkeys([*before, *after]):
        if name not in before or name not in after:
            kinds = [side[name].kind if name in side else None for side in (before, after)]
            changes.append(Change(name, "feature", *kinds))
        elif before[name].kind != after[name].kind:
            changes.append(Change(name, "kind", before[name].kind, after[name].kind))
        else:
            changes += _changes(before[name], after[name])
    return changes


def _changes(one: Feature, other: Feature) -> Iterator[Change]:
    learned = list(one.summary())
    for what in (*_SETTINGS, *learned):
        before, after = getattr(one, what), getattr(other, what)
        if before == after:
            continue
        if what == "vocabulary":
            mine, others = set(before), set(after)
            gained = tuple(value for value in after if value not in mine)
            lost = tuple(value for value in before if value not in others)
            yield Change(one.name, what, len(before), len(after), gained, lost)
        else:
            yield Change(one.name, what, before, after)


def _some(values: tuple[Any, ...]) -> str:
    shown = ", ".join(map(repr, values[:_SHOWN]))
    return f"{len(values)} ({shown}{', …' if len(values) > _SHOWN else ''})"


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_short, value[:_SHOWN])) + (", …]" if len(value) > _SHOWN else "]")
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else str(value)


def _apart(before: Any, after: Any) -> str:
    """Return how far two numbers are apart, relative to the first."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (before, after))
    return f" ({(after - before) / abs(before):+.1%})" if numbers and before else ""
