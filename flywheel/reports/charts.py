"""Charts as inline SVG: Vega-Lite specifications, rendered in process by vl-convert, coloured by the page's style.

The first chart of a process takes about a third of a second (an engine starts, with threads: never draw before a fork),
each further one about 30 ms; steps on this machine share an engine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flywheel.drawing import drawn
from flywheel.reports import _part

if TYPE_CHECKING:
    from markupsafe import Markup

PALETTE = ("#2f6fde", "#e08a1e", "#3a9d6e", "#a1569c")
RESULTS = {"pass": "#2e9e6b", "warn": "#d9930f", "undecided": "#7088bd", "fail": "#d6453b", "": PALETTE[0]}
_LONGEST_LABEL = 18
_TICK = "abs(datum.value) >= 10000 ? format(datum.value, '~s') : format(datum.value, ',~g')"
_CONFIG = {
    "background": None,
    "font": "sans-serif",
    "aria": False,
    "padding": 4,
    "autosize": {"type": "fit-x", "contains": "padding"},
    "view": {"stroke": None},
    "axis": {"title": None, "labelFontSize": 10, "grid": False, "tickSize": 3, "labelLimit": 0},
    "axisQuantitative": {"tickCount": 4, "labelExpr": _TICK},
    "legend": {"disable": True},
}

Bin = tuple[float, float, float]
"""Lower edge, upper edge, and the share of rows between them."""


@dataclass(frozen=True)
class Interval:
    """One line of an interval chart.

    Attributes:
        label: What was measured, as `carrier=HA`.
        value: The estimate.
        low: Lower end of its interval.
        high: Upper end of its interval.
        result: `pass`, `fail`, `warn`, `undecided`: its colour.
    """

    label: str
    value: float
    low: float
    high: float
    result: str = ""


def render(spec: Mapping[str, Any], alt: str) -> Markup:
    """Return a Vega-Lite specification drawn as inline SVG.

    Args:
        spec: The specification, its data inline; house fonts, colours and sizes are laid under it.
        alt: What is to be seen, for those who cannot see it.
    """
    import vl_convert
    from markupsafe import Markup

    config = _CONFIG | dict(spec.get("config", {}))
    whole = {"width": 250, "height": 90} | dict(spec) | {"config": config}
    svg = drawn(whole) or vl_convert.vegalite_to_svg(whole)
    return _part("figure", Markup(svg), alt)


def legend(names: Sequence[str]) -> Markup:
    """Return the colours of series called `names`, in the order in which the charts were given them."""
    return _part("legend", dict(zip(names, PALETTE, strict=False)))


def histogram(series: Mapping[str, Sequence[Bin]], alt: str, **spec: Any) -> Markup:
    """Return the distributions of a number, the first as bars and the others as outlines over them.

    Heights are densities, so unequal bins compare.

    Args:
        series: Bins of each series by its name, at most four series.
        alt: What is to be seen, in words.
        **spec: Further Vega-Lite settings, as `width=460`.
    """
    values = [
        {"series": name, "low": low, "high": high, "density": share / (high - low)}
        for name, bins in series.items()
        for low, high, share in bins
        if high > low and all(math.isfinite(part) for part in (low, high, share))
    ]
    first = sum(value["series"] == next(iter(series)) for value in values)
    encoding: dict[str, Any] = {
        "x": {"field": "low", "type": "quantitative", "scale": {"zero": False, "nice": False}},
        "x2": {"field": "high"},
        "y": {"field": "density", "type": "quantitative", "axis": None},
        "y2": {"datum": 0},
        "color": _colours(series),
    }
    outline = {key: encoding[key] for key in ("y", "color")} | {"x": encoding["x"] | {"field": "at"}}
    layers = [
        {"mark": {"type": "rect", "opacity": 0.6}, "encoding": encoding, "data": {"values": values[:first]}},
        {
            "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 1.8},
            "encoding": outline,
            "data": {"values": _outlined(values[first:])},
        },
    ]
    return render({"layer": layers} | spec, alt)


def bars(series: Mapping[str, Mapping[str, float]], alt: str, **spec: Any) -> Markup:
    """Return the shares of categories, the series side by side; categories in the order in which they are given.

    Args:
        series: Share of each category by the series' name, at most four series.
        alt: What is to be seen, in words.
        **spec: Further Vega-Lite settings.
    """
    labels = _distinct_labels([category for shares in series.values() for category in shares])
    values = [
        {"series": name, "category": labels[category], "share": share}
        for name, shares in series.items()
        for category, share in shares.items()
        if math.isfinite(share)
    ]
    encoding = {
        "y": {"field": "category", "type": "nominal", "sort": list(labels.values())},
        "yOffset": {"field": "series", "type": "nominal", "sort": list(series)},
        "x": {"field": "share", "type": "quantitative", "axis": {"labelExpr": "format(datum.value, '.2~%')"}},
        "color": _colours(series),
    }
    height = {"step": 18 / len(series)} if series else 0
    return render({"data": {"values": values}, "mark": "bar", "encoding": encoding, "height": height} | spec, alt)


def intervals(rows: Sequence[Interval], alt: str, bound: float | None = None, **spec: Any) -> Markup:
    """Return estimates with their intervals, one a line, and the bound that they are held against.

    Args:
        rows: What to show, from top to bottom.
        alt: What is to be seen, in words.
        bound: Drawn as a dashed line.
        **spec: Further Vega-Lite settings.
    """
    labels = _distinct_labels([row.label for row in rows])
    values = [
        {"label": labels[row.label], "value": row.value, "low": row.low, "high": row.high, "result": row.result}
        for row in rows
        if all(math.isfinite(part) for part in (row.value, row.low, row.high))
    ]
    y = {"field": "label", "type": "nominal", "sort": list(labels.values())}
    x = {"field": "value", "type": "quantitative", "scale": {"zero": False}}
    colour = {"field": "result", "type": "nominal", "scale": {"domain": list(RESULTS), "range": list(RESULTS.values())}}
    layers: list[dict[str, Any]] = [
        {
            "mark": {"type": "rule", "strokeWidth": 2},
            "encoding": {"x": x | {"field": "low"}, "x2": {"field": "high"}, "y": y, "color": colour},
        },
        {
            "mark": {"type": "point", "filled": True, "opacity": 1, "size": 55},
            "encoding": {"x": x, "y": y, "color": colour},
        },
    ]
    if bound is not None:
        line = {"type": "rule", "strokeDash": [4, 3], "color": "#8892a3"}
        layers.append({"mark": line, "encoding": {"x": {"datum": bound, "type": "quantitative"}}})
    size = {"width": 420, "height": {"step": 20}}
    return render({"data": {"values": values}, "layer": layers} | size | spec, alt)


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]],
    alt: str,
    *,
    x: str = "",
    y: str = "",
    bands: Sequence[tuple[float, float]] = (),
    **spec: Any,
) -> Markup:
    """Return one line a series through its (x, y) points.

    Args:
        series: Points by the series' name, at most four series.
        alt: What is to be seen, in words.
        x: Title of the horizontal axis.
        y: Title of the vertical axis.
        bands: From where to where, on the horizontal axis, the ground is grey.
        **spec: Further Vega-Lite settings.
    """
    values = [
        {"series": name, "x": left, "y": up}
        for name, points in series.items()
        for left, up in points
        if math.isfinite(left) and math.isfinite(up)
    ]
    across = {"type": "quantitative", "scale": {"zero": False, "nice": not bands}, "axis": {"title": x or None}}
    up = {"type": "quantitative", "scale": {"zero": False}, "axis": {"title": y or None}}
    encoding = {"x": across | {"field": "x"}, "y": up | {"field": "y"}, "color": _colours(series)}
    drawn: list[dict[str, Any]] = [
        {"data": {"values": values}, "mark": {"type": "line", "point": {"size": 25}}, "encoding": encoding}
    ]
    if bands:
        ground = [{"x": left, "x2": right} for left, right in bands]
        places = {"x": across | {"field": "x"}, "x2": {"field": "x2"}}
        mark = {"type": "rect", "color": "#888", "opacity": 0.18}
        drawn.insert(0, {"data": {"values": ground}, "mark": mark, "encoding": places})
    return render({"layer": drawn, "width": 300, "height": 200} | spec, alt)


def matrix(
    cells: Mapping[tuple[str, str], float], alt: str, *, rows: str = "", columns: str = "", **spec: Any
) -> Markup:
    """Return shares as squares, the darker the larger, each with its figure.

    Args:
        cells: Share by (row, column), in the order in which they are drawn.
        alt: What is to be seen, in words.
        rows: Title of the vertical axis.
        columns: Title of the horizontal axis.
        **spec: Further Vega-Lite settings.
    """
    labels = _distinct_labels([name for pair in cells for name in pair])
    values = [
        {"row": labels[row], "column": labels[column], "share": share, "text": f"{share:.0%}" if share >= 0.005 else ""}
        for (row, column), share in cells.items()
    ]
    axis = {"type": "nominal", "sort": list(labels.values())}
    place = {
        "y": axis | {"field": "row", "axis": {"title": rows or None}},
        "x": axis | {"field": "column", "axis": {"title": columns or None, "labelAngle": -45}},
    }
    shade = {"field": "share", "type": "quantitative", "scale": {"domain": [0, 1], "range": [0.04, 0.75]}}
    layers = [
        {"mark": {"type": "rect", "color": PALETTE[0]}, "encoding": place | {"opacity": shade}},
        {"mark": {"type": "text", "fontSize": 10}, "encoding": place | {"text": {"field": "text"}}},
    ]
    size = {"width": {"step": 34}, "height": {"step": 24}, "autosize": "pad"}
    return render({"data": {"values": values}, "layer": layers} | size | spec, alt)


def _outlined(bins: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the corners of the outlines of bins, down to 0 where a series ends."""
    corners = []
    for index, found in enumerate(bins):
        corners.append({"series": found["series"], "at": found["low"], "density": found["density"]})
        if index + 1 == len(bins) or bins[index + 1]["series"] != found["series"]:
            corners.append({"series": found["series"], "at": found["high"], "density": found["density"]})
            corners.append({"series": found["series"], "at": found["high"], "density": 0.0})
    return corners


def _colours(series: Mapping[str, Any]) -> dict[str, Any]:
    scale = {"domain": list(series), "range": list(PALETTE[: len(series)])}
    return {"field": "series", "type": "nominal", "scale": scale}


def _distinct_labels(names: Sequence[str]) -> dict[str, str]:
    """Return a label short enough to draw for each name; two names never share one."""
    labels: dict[str, str] = {}
    for name in dict.fromkeys(names):
        label, count = _cut(name, _LONGEST_LABEL), 1
        while label in labels.values():
            count += 1
            label = _cut(name, _LONGEST_LABEL - 4) + f" ({count})"
        labels[name] = label
    return labels


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
