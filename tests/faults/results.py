"""What the gate said of a damaged day, and of a clean one, as plain values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from flywheel.artifacts import Check
from tests.faults.fault import ROWS, Fault

COLUMNS = frozenset(
    "late carrier origin dest distance hour minute_of_day weekday plane_age seats manufacturer"
    " temp dewp humid wind_speed precip pressure visib flight departs".split()
)
"""What the example's query gives."""

BLOCKED, WARNED, MISSED = "blocked", "warned", "missed"


@dataclass(frozen=True)
class Alarm:
    """One check that did not pass.

    Attributes:
        name: Of the check.
        columns: The columns that it names: that of the check, and those that its name speaks of. `ROWS` is among them
            when it is about which rows there are: it has no column, or is about keys.
        result: `fail` or `warn`.
        reason: In words.
    """

    name: str
    columns: tuple[str, ...]
    result: str
    reason: str

    @classmethod
    def of(cls, check: Check) -> Alarm:
        """Return the alarm that a check raised."""
        words = re.findall(r"\w+", check.name)
        named = dict.fromkeys([check.column, *(word for word in words if word in COLUMNS)])
        rows = [ROWS] if not check.column or words[:1] == ["unique"] else []
        return cls(check.name, (*filter(None, named), *rows), check.result, check.reason)


def alarms_of(checks: Sequence[Check]) -> tuple[Alarm, ...]:
    """Return the alarms among checks, those that block first."""
    found = [Alarm.of(check) for check in checks if check.result in ("fail", "warn", "undecided")]
    return tuple(sorted(found, key=lambda alarm: alarm.result == "warn"))


def outcome(alarms: Sequence[Alarm]) -> str:
    """Return what the alarms of a day come to."""
    if any(alarm.result != "warn" for alarm in alarms):
        return BLOCKED
    return WARNED if alarms else MISSED


@dataclass(frozen=True)
class Clean:
    """A day as it was.

    Attributes:
        day: Its date.
        declared: Whether the calendar names it.
        alarms: What the gate said.
    """

    day: str
    declared: bool
    alarms: tuple[Alarm, ...] = ()

    @property
    def outcome(self) -> str:
        """`blocked`, `warned` or `missed`, which is right here."""
        return outcome(self.alarms)


@dataclass(frozen=True)
class Trial:
    """A fault of a size on a day.

    Attributes:
        fault: Its name.
        size: `small`, `medium` or `large`.
        day: The last of its days.
        alarms: What the gate said: of the first day that it blocked, else of the last.
        right: Columns in which the damage is.
        clean: What the gate says of the same day when nothing is wrong with it; of a slow fault, whose days all differ,
            `missed`, since days that are blocked when clean do not count there.
        until: Of a slow fault, on which of its days the gate first blocked; None when it did not.
        until_warned: Of a slow fault, on which it first said anything.
    """

    fault: str
    size: str
    day: str
    alarms: tuple[Alarm, ...]
    right: tuple[str, ...]
    clean: str = MISSED
    until: int | None = None
    until_warned: int | None = None

    @classmethod
    def of(cls, fault: Fault, size: str, day: str, alarms: Sequence[Alarm], **beside: Any) -> Trial:
        """Return what came of a fault."""
        return cls(fault.name, size, day, tuple(alarms), fault.columns, **beside)

    @property
    def outcome(self) -> str:
        """`blocked`, `warned` or `missed`."""
        return outcome(self.alarms)

    @property
    def named(self) -> bool:
        """Whether some alarm that blocks names a right column."""
        return any(set(alarm.columns) & set(self.right) for alarm in self.alarms if alarm.result != "warn")

    @property
    def caught(self) -> bool:
        """Whether it was blocked with a right column named."""
        return self.outcome == BLOCKED and self.named

    @property
    def counts(self) -> bool:
        """Whether it proves anything: not where the day is blocked without a fault."""
        return self.clean != BLOCKED


@dataclass
class Results:
    """Everything that was measured.

    Attributes:
        clean: Every day of the year.
        trials: Every fault, size and sampled day on which it changed something.
    """

    clean: list[Clean] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return them as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Results:
        """Return what `to_json` gave."""
        return cls(
            [Clean(**_with_alarms(each)) for each in values["clean"]],
            [Trial(**_with_alarms(each) | {"right": tuple(each["right"])}) for each in values["trials"]],
        )


def _with_alarms(values: dict[str, Any]) -> dict[str, Any]:
    alarms = (Alarm(**alarm | {"columns": tuple(alarm["columns"])}) for alarm in values["alarms"])
    return values | {"alarms": tuple(alarms)}
