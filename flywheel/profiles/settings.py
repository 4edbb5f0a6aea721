"""What the data gate was told to look at, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flywheel.errors import ConfigError
from flywheel.spans import Every, Span


@dataclass(frozen=True)
class Settings:
    """The parts of flywheel.yaml that decide what a normal span is.

    Attributes:
        label: Column to predict, or columns as `flywheel.labels` joins them; empty for none.
        task: `binary`, `multiclass`, `multilabel` or `regression`: what the label may be.
        every: How long a span is.
        false_alarms: How often a normal span may be called unusual.
        columns: Column: `severity`, `nulls_at_most` and `distance_at_most`, each where it was given.
        calendar: Names of spans that were declared unusual.
        rows_at_least: Fewest rows of a span.
        fresh: `column` and `within` seconds before the end of a span that its newest row may be; empty for no such bar.
        leave_out: Columns that are not the data's own.
        key: Columns that together name a row.
        new_keys_at_most: Largest share of keys, less their times, that no span of four weeks had; None for no bar.
    """

    label: str = ""
    task: str = "binary"
    every: Every = "day"
    false_alarms: float = 0.01
    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    calendar: frozenset[str] = frozenset()
    rows_at_least: int = 1
    fresh: Mapping[str, Any] = field(default_factory=dict)
    leave_out: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    new_keys_at_most: float | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """Return what the settings of the component say: `label`, `task`, `every`, `gate` as in flywheel.yaml.

        Raises:
            ConfigError: The calendar names something that is no span.
        """
        gate = values.get("gate", {})
        every: Every = values.get("every", "day")
        return cls(
            label=values.get("label", ""),
            task=values.get("task", cls.task),
            every=every,
            false_alarms=gate.get("false_alarms", cls.false_alarms),
            columns=gate.get("columns", {}),
            calendar=_calendar(gate.get("calendar", ()), every),
            rows_at_least=gate.get("rows_at_least", cls.rows_at_least),
            fresh=gate.get("fresh") or {},
            leave_out=tuple(values.get("leave_out", ())),
            key=tuple(gate.get("key") or ()),
            new_keys_at_most=gate.get("new_keys_at_most"),
        )

    @property
    def rated(self) -> str:
        """The label where its rate says all of it, so where it is 0 or 1; any other one is a column like the rest."""
        return self.label if self.task == "binary" else ""

    def severity(self, column: str) -> str:
        """Return what an alarm of `column` does: `block`, `warn` or `off`."""
        return str(self.columns.get(column, {}).get("severity", "block"))


def _calendar(lines: Any, every: Every) -> frozenset[str]:
    """Return the names of all spans in `first to last` or single ones."""
    found: set[str] = set()
    for line in lines:
        first, separator, last = str(line).partition(" to ")
        span, end = Span.parse(first.strip(), every), Span.parse((last if separator else first).strip(), every)
        if end < span:
            raise ConfigError(f"gates.data.calendar: {line!r} ends before it begins", "write the earlier one first.")
        while span <= end:
            found.add(span.name)
            span = span.shift(1)
    return frozenset(found)
