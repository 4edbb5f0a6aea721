"""The report of a backtest: quality in service against trainings, over time, and what each line did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flywheel.backtest.compare import Comparison
from flywheel.backtest.replay import Replayed
from flywheel.reports import Section, charts, page, table

if TYPE_CHECKING:
    from markupsafe import Markup

_SMOOTH = 14
_TRAININGS = (0, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_LINES = 4
_LEGEND = {"legend": {"orient": "top", "title": None, "labelLimit": 0}}
_ABOUT = (
    "Each span is served by the model that stood at its start. Differences are paired span by span, to the first line; "
    "intervals are 95%, from weeks. A line is dominated when another is at least as good with no more trainings."
)


def render(name: str, metric: str, found: Sequence[Replayed], rows: Sequence[Comparison]) -> str:
    """Return the report as one self-contained HTML document.

    Args:
        name: Of the flywheel.
        metric: Which one is compared.
        found: What became of each line.
        rows: The lines beside one another, in the same order.
    """
    best = [row for row in rows if not row.dominated]
    sections = [
        Section("Quality against trainings", _scatter(rows, metric), _ABOUT),
        Section("Lines", table([as_row(row, metric) for row in rows])),
        Section(
            "Over time",
            _course(found, metric),
            f"Means of {_SMOOTH} spans, or a third of all. Of more than {_LINES} lines those that lie furthest apart. "
            "Grey: spans that the data gate kept out.",
        ),
    ]
    for each in found:
        told = [{"span": span, "decision": what} for span, what in each.decisions.items()]
        sections.append(Section(f"{each.line}: every span", table(told), collapsed=True))
    spans = [span for each in found for span in each.spans]
    return page(
        "Backtest of retraining policies",
        sections,
        subtitle=f"{name}, {min(spans)} to {max(spans)}." if spans else name,
        facts={"lines": len(rows), "not dominated": "; ".join(str(row.line) for row in best)},
    )


def as_row(row: Comparison, metric: str) -> dict[str, object]:
    """Return a line as a row of a table."""
    interval = f"{row.low:+.4f} to {row.high:+.4f}" if math.isfinite(row.low) else ""
    weeks = f"{row.worst:+.3f} to {row.best:+.3f}" if math.isfinite(row.worst) else ""
    return {
        "line": str(row.line),
        metric: f"{row.mean:.4f}",
        "difference": f"{row.difference:+.4f}",
        "95% interval": interval,
        "in single weeks": weeks,
        "trainings": row.trainings,
        "promotions": row.promotions,
        "rejected": row.rejected,
        "training seconds": round(row.seconds, 1),
        "dominated by": row.dominated,
    }


def _scatter(rows: Sequence[Comparison], metric: str) -> Markup:
    windows = {row.line.window for row in rows}
    values = [
        {
            "line": str(row.line) if len(windows) > 1 else row.line.called(),
            "trainings": row.trainings,
            "value": row.mean,
            "kind": "dominated" if row.dominated else "not dominated",
        }
        for row in rows
        if math.isfinite(row.mean)
    ]
    most = 2 * max((row.trainings for row in rows), default=1)  # room for names
    axis = {"title": "trainings", "tickCount": 20, "values": [each for each in _TRAININGS if each <= most]}
    scale = {"type": "symlog", "constant": 5, "domainMax": most}
    x = {"field": "trainings", "type": "quantitative", "scale": scale, "axis": axis}
    y = {"field": "value", "type": "quantitative", "scale": {"zero": False}, "axis": {"title": f"{metric} in service"}}
    colour = {"field": "kind", "type": "nominal", "scale": {"domain": ["not dominated", "dominated"]}}
    layers = [
        {
            "mark": {"type": "point", "filled": True, "size": 70},
            "encoding": {"color": colour},
        },
        {
            "mark": {"type": "text", "align": "left", "dx": 7, "fontSize": 10},
            "encoding": {"text": {"field": "line", "type": "nominal"}},
        },
    ]
    spec = {"data": {"values": values}, "encoding": {"x": x, "y": y}, "layer": layers, "width": 760, "height": 420}
    spec["config"] = _LEGEND
    return charts.render(spec, f"{metric} of the model in service against the number of trainings, a point a line")


def _course(found: Sequence[Replayed], metric: str) -> Markup:
    chosen = sorted(found, key=lambda each: sum(value for value in each.values if math.isfinite(value)))
    if len(chosen) > _LINES:
        chosen = [*chosen[: _LINES // 2], *chosen[-(_LINES - _LINES // 2) :]]
    starts = sorted({span for each in found for span in each.spans})
    place = {span: float(number) for number, span in enumerate(starts)}
    series = {str(each.line): _smooth([place[span] for span in each.spans], each.values) for each in chosen}
    x = f"spans since {starts[0]}" if starts else ""
    bands = _bands(sorted({place[span] for each in found for span in each.rejected if span in place}))
    return charts.lines(
        series, f"{metric} over time", x=x, y=metric, bands=bands, width=640, height=260, config=_LEGEND
    )


def _bands(places: Sequence[float]) -> list[tuple[float, float]]:
    """Return from where to where places follow one another."""
    found: list[tuple[float, float]] = []
    for place in places:
        if found and found[-1][1] == place:
            found[-1] = (found[-1][0], place + 1)
        else:
            found.append((place, place + 1))
    return found


def _smooth(places: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    known = [(place, value) for place, value in zip(places, values, strict=True) if math.isfinite(value)]
    over = min(_SMOOTH, max(len(known) // 3, 1))
    return [
        (known[end][0], sum(value for _, value in known[end - over + 1 : end + 1]) / over)
        for end in range(over - 1, len(known), max(over // 4, 1))
    ]
