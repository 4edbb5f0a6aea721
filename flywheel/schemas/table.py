"""A schema as a table that people read: one line a column."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from flywheel.labels import columns_of
from flywheel.schemas.changes import KINDS, allowed, bounds

if TYPE_CHECKING:
    from rich.table import Table

_WORDS = 60


def table(schema: Any, label: str) -> Table:
    """Return one line a column: its type, how often it is there, what it may hold, and where it is expected."""
    from rich.markup import escape
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (
        ("column", "left"),
        ("type", "left"),
        ("there in", "right"),
        ("may hold", "left"),
        ("", "left"),
    ):
        made.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for feature in schema.feature:
        notes = ["label"] * (feature.name in columns_of(label))
        notes += [f"not in {', '.join(feature.not_in_environment)}"] * bool(feature.not_in_environment)
        made.add_row(
            escape(feature.name),
            KINDS.get(feature.type, "?"),
            f">= {feature.presence.min_fraction:.1%}" if feature.presence.min_fraction else "",
            escape(holds(schema, feature)),
            "; ".join(notes),
        )
    return made


def holds(schema: Any, feature: Any) -> str:
    """Return in words what values a feature allows."""
    domain, (low, high) = allowed(schema, feature), bounds(feature)
    if domain is not None:
        words = ", ".join(domain.value)
        text = f"{len(domain.value)} values: {words if len(words) <= _WORDS else words[: _WORDS - 3] + '...'}"
        mass = feature.distribution_constraints.min_domain_mass
        return text + (f"; up to {1 - mass:.2%} others" if mass < 1 else "")
    if math.isfinite(low) or math.isfinite(high):
        return f"{low:g} to {high:g}"
    return "0 or 1" if feature.WhichOneof("domain_info") == "bool_domain" else "anything"
