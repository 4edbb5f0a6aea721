"""The table of runs that `flywheel run` ends with and `flywheel status` shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
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


def outcomes(rows: Iterable[Row], serves: Mapping[str, str] | None = None, hourly: float | None = None) -> Table:
    """Return one line a run: what was decided, and on what.

    Args:
        rows: The runs, oldest first.
        serves: By run, the version in service once it was closed; without it there is no such column.
        hourly: What an hour of a run costs; without it there is no such column.
    """
    from rich.table import Table

    rows = list(rows)
    metric = next((row.metric for row in reversed(rows) if row.metric), "figure")
    compared = [name for name in ("champion", "baseline") if any(row.figures[name] is not None for row in rows)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in [
        ("span", "left"),
        ("rows", "right"),
        ("data", "left"),
        *([("trained", "left")] if serves is not None else []),
        ("model", "left"),
        (metric, "right"),
        *((name, "right") for name in compared),
        ("outcome", "left"),
        *([("serves", "left")] if serves is not None else []),
        ("seconds", "right"),
        *([("cost", "right")] if hourly is not None else []),
    ]:
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in rows:
        outcome = row.outcome or row.status
        colour = _COLOURS.get(outcome, "default")
        table.add_row(
            row.span,
            "" if row.rows is None else f"{row.rows:,}",
            _said(row, "data"),
            *(["yes" if row.trained else "no"] if serves is not None else []),
            _said(row, "model"),
            *(_figure(row.figures[name]) for name in ("candidate", *compared)),
            f"[{colour}]{outcome}[/]" + (f" v{row.version}" if row.version else ""),
            *([_version(serves.get(row.run, ""))] if serves is not None else []),
            "" if row.seconds is None else f"{row.seconds:.1f}",
            *([cost(row, hourly)] if hourly is not None else []),
        )
    return table


def show_whole(table: Table) -> Console:
    """Print a table no line of which is cut: a figure that is cut short says nothing; return the console."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, console.measure(table, options=console.options.update(width=500)).maximum)
    console.print(table)
    return console


def show(rows: Sequence[Row], serves: Mapping[str, str] | None = None, hourly: float | None = None) -> None:
    """Print the table, and under it why each run ended as it did; on a narrow terminal a block a run instead.

    Args:
        rows: The runs, oldest first.
        serves: As `outcomes` takes it.
        hourly: As `outcomes` takes it.
    """
    from rich.console import Console

    console, table = Console(highlight=False, soft_wrap=True), outcomes(rows, serves, hourly)
    needed = console.measure(table, options=console.options.update(width=500)).maximum
    if console.is_terminal and console.width < needed:
        for row in rows:
            _block(console, row, serves or {}, hourly)
        return
    # A figure that is cut short says nothing: where there is no terminal, lines are as long as they have to be.
    console.width = max(console.width, needed)
    console.print()
    console.print(table)
    for row in rows:
        console.print(f"{row.span}: {row.unfinished or row.why}", markup=False, style="dim")


def cost(row: Row, hourly: float) -> str:
    """Return what a run cost, as people read it; empty while it is open."""
    return "" if row.seconds is None else f"{row.seconds / 3600 * hourly:.4f}"


def _block(console: Console, row: Row, serves: Mapping[str, str], hourly: float | None) -> None:
    outcome = row.outcome or row.status
    version = f" v{row.version}" if row.version else ""
    console.print(f"\n[bold]{row.span}[/]  [{_COLOURS.get(outcome, 'default')}]{outcome}[/]{version}")
    told = {
        "rows": "" if row.rows is None else f"{row.rows:,}",
        "data": _said(row, "data"),
        "model": _said(row, "model"),
        row.metric: _figure(row.figures["candidate"]),
        "champion": _figure(row.figures["champion"]),
        "baseline": _figure(row.figures["baseline"]),
        "serves": _version(serves.get(row.run, "")),
        "seconds": "" if row.seconds is None else f"{row.seconds:.1f}",
        "cost": cost(row, hourly) if hourly is not None else "",
    }
    parts = [f"[dim]{name}[/] {value}" for name, value in told.items() if value]
    console.print("  " + "  ".join(parts), soft_wrap=False)
    console.print(f"  {row.unfinished or row.why}", markup=False, style="dim", soft_wrap=False)


def _version(version: str) -> str:
    return f"v{version}" if version else ""


def _said(row: Row, gate: str) -> str:
    decision = row.decisions.get(gate)
    return "" if decision is None else "[green]ok[/]" if decision.ok else "[yellow]no[/]"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"
