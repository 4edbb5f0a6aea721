"""The table of runs that `flywheel run` ends with and `flywheel status` shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from flywheel.ledger import Row

_COLOURS = {
    "promoted": "green",
    "awaiting-approval": "cyan",
    "kept-champion": "yellow",
    "data-rejected": "yellow",
    "not-ready": "yellow",
    "failed": "red",
}


def outcomes(rows: Iterable[Row]) -> Table:
    """Return one line a run: what was decided, and on what."""
    from rich.table import Table

    rows = list(rows)
    metric = next((row.metric for row in reversed(rows) if row.metric), "figure")
    compared = [name for name in ("champion", "baseline") if any(row.figures[name] is not None for row in rows)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in [
        ("span", "left"),
        ("rows", "right"),
        ("data", "left"),
        ("model", "left"),
        (metric, "right"),
        *((name, "right") for name in compared),
        ("outcome", "left"),
        ("seconds", "right"),
    ]:
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in rows:
        outcome = row.outcome or row.status
        colour = _COLOURS.get(outcome, "default")
        rows_read = row.decisions["data"].facts.get("rows") if "data" in row.decisions else None
        table.add_row(
            row.span,
            f"{rows_read:,}" if isinstance(rows_read, int) else "",
            _said(row, "data"),
            _said(row, "model"),
            *(_figure(row.figures[name]) for name in ("candidate", *compared)),
            f"[{colour}]{outcome}[/]" + (f" v{row.version}" if row.version else ""),
            "" if row.seconds is None else f"{row.seconds:.1f}",
        )
    return table


def show(rows: Sequence[Row]) -> None:
    """Print the table, and under it why each run ended as it did."""
    from rich.console import Console

    console, table = Console(highlight=False, soft_wrap=True), outcomes(rows)
    # A figure that is cut short says nothing: a narrow terminal, or none, gets longer lines.
    console.width = max(console.width, console.measure(table, options=console.options.update(width=500)).maximum)
    console.print("\n", table, sep="")
    for row in rows:
        console.print(f"{row.span}: {row.unfinished or row.why}", markup=False, style="dim")


def _said(row: Row, gate: str) -> str:
    decision = row.decisions.get(gate)
    return "" if decision is None else "[green]ok[/]" if decision.ok else "[yellow]no[/]"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"
