"""Small charts, written as SVG by hand: they cost microseconds, stretch to any width, and take the page's colours.

Lines and dots keep their thickness when a chart is stretched (`vector-effect`), and a dot is a line of no length with
round ends, so it stays round. Text stands beside a chart, never in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flywheel.reports import _part, number, percent, short
from flywheel.reports.charts import Bin, Interval
from flywheel.reports.past import Point

if TYPE_CHECKING:
    from markupsafe import Markup

_WIDTH, _HEIGHT, _MARGIN = 200.0, 40.0, 4.0
_STATES = {"fail": "blocked", "warn": "blocked, and waived", "calendar": "declared in the calendar"}


@dataclass(frozen=True)
class Spark:
    """One line of small charts.

    Attributes:
        label: What is to be seen.
        svg: The chart.
        value: The figure that it ends with.
    """

    label: str
    svg: Markup
    value: str


def lines(sparks: Iterable[Spark]) -> Markup:
    """Return small charts one under another, each with its label and the figure that it ends with."""
    return _part("sparks", list(sparks))


def spark(points: Sequence[Point], alt: str, least: float = 0.0, zero: bool = False) -> Markup:
    """Return a line through a figure's last spans, its last point and those that were blocked marked.

    Args:
        points: One a span, oldest first.
        alt: What is to be seen, in words.
        least: Least height of the vertical axis, so that what hardly moves looks so.
        zero: Whether the axis begins at 0.
    """
    scale = _Scale([point.value for point in points], least, zero)
    drawn = [
        _line(points, scale),
        *(_dot(x, scale(point.value), _style(point, points)) for x, point in _marked(points)),
    ]
    return _svg(drawn, alt)


def trace(
    points: Sequence[Point],
    alt: str,
    usual: tuple[float, float] | None = None,
    *,
    steady: bool = False,
    read: Callable[[float], str] = short,
) -> Markup:
    """Return a figure's last spans in full: a dot a span, where the newest usually is, and what the axis reaches.

    Args:
        points: One a span, oldest first.
        alt: What is to be seen, in words.
        usual: Where the newest span's figure usually is.
        steady: Whether that was so for the earlier spans too; else it is drawn at the newest alone.
        read: Writes the figures in their unit.
    """
    ends = [end for end in usual or () if math.isfinite(end)]
    scale = _Scale([*(point.value for point in points), *ends], 0.0, False)
    drawn = [_band(usual, scale, len(points), steady)] if usual else []
    drawn.append(_line(points, scale))
    for x, point in _placed(points):
        if math.isfinite(point.value):
            said = f" ({_STATES[point.state]})" if point.state else ""
            drawn.append(_dot(x, scale(point.value), _style(point, points), f"{point.span}: {read(point.value)}{said}"))
    return _part("trace", _svg(drawn, alt), read(scale.high), read(scale.low), points[0].span, points[-1].span)


def bars(points: Sequence[Point], alt: str) -> Markup:
    """Return a bar for each span, from 0 on."""
    scale = _Scale([point.value for point in points], 0.0, True)
    step, drawn = _WIDTH / len(points), []
    for index, point in enumerate(points):
        if math.isfinite(point.value):
            said = f" ({_STATES[point.state]})" if point.state else ""
            title = f"{point.span}: {number(point.value)}{said}"
            top = scale(point.value)
            box = _box(index * step + step * 0.12, step * 0.76, top, _HEIGHT - top)
            drawn.append(f'<rect class="{_style(point, points)}" {box}>{_title(title)}</rect>')
    return _part("trace", _svg(drawn, alt, "bars"), number(scale.high), "0", points[0].span, points[-1].span)


def histogram(series: Mapping[str, Sequence[Bin]], alt: str) -> Markup:
    """Return the first series as bars and the others as outlines, and under them where the axis begins and ends.

    Args:
        series: Bins by the series' name; any may be empty, not all of them.
        alt: What is to be seen, in words.
    """
    shown = [bins for bins in series.values() if bins]
    low, high = min(bins[0][0] for bins in shown), max(bins[-1][1] for bins in shown)
    tallest = max(share / (right - left) for bins in shown for left, right, share in bins if right > left) or 1.0

    def at(value: float) -> float:
        return (value - low) / (high - low) * _WIDTH

    drawn = []
    first, *others = series.values()
    for left, right, share in first:
        height = share / (right - left) / tallest * (_HEIGHT - _MARGIN)
        drawn.append(f'<rect class="now" {_box(at(left), at(right) - at(left), _HEIGHT - height, height)}/>')
    for bins in others:
        corners = []
        for left, right, share in bins:
            top = _HEIGHT - share / (right - left) / tallest * (_HEIGHT - _MARGIN)
            corners += [f"{at(left):.1f},{top:.1f}", f"{at(right):.1f},{top:.1f}"]
        drawn.append(f'<polyline class="then" points="{" ".join(corners)}"/>')
    return _part("trace", _svg(drawn, alt), "", "", short(low), short(high))


def interval(found: Interval, alt: str, bound: float | None = None) -> Markup:
    """Return an estimate with its interval, the bound that it is held against, and where the axis begins and ends.

    Args:
        found: What to show; its label is left out.
        alt: What is to be seen, in words.
        bound: Drawn as a dashed line.
    """
    ends = [each for each in (found.low, found.high, found.value, bound) if each is not None and math.isfinite(each)]
    low, high = min(ends, default=0.0), max(ends, default=0.0)

    def at(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low) if high > low else 0.5
        return 2 * _MARGIN + share * (_WIDTH - 4 * _MARGIN)

    drawn = []
    if not math.isnan(found.low + found.high):
        drawn.append(f'<path class="line {found.result}" d="M{at(found.low):.1f} 20H{at(found.high):.1f}"/>')
    if bound is not None:
        drawn.append(f'<path class="bound" d="M{at(bound):.1f} 2V38"/>')
    if not math.isnan(found.value):
        drawn.append(_dot(at(found.value), 20, found.result, alt))
    return _part("trace", _svg(drawn, alt, "interval"), "", "", short(low), short(high) if high > low else "")


def shares(series: Mapping[str, Mapping[str, float]], categories: Sequence[str], alt: str) -> Markup:
    """Return a line a category: the first series as a bar, the second as a mark on it, and the first's share."""
    first, *others = list(series.values())
    tallest = max((side.get(each, 0.0) for side in series.values() for each in categories), default=0.0) or 1.0
    found = []
    for each in categories:
        drawn = [f'<rect class="now" {_box(0, first.get(each, 0.0) / tallest * _WIDTH, 8, 24)}/>']
        for other in others:
            x = max(other.get(each, 0.0) / tallest * _WIDTH, 1.0)
            drawn.append(f'<path class="then" d="M{min(x, _WIDTH - 1):.1f} 2V38"/>')
        found.append(Spark(each, _svg(drawn, f"{alt}: {each}"), percent(first.get(each, 0.0))))
    return lines(found)


class _Scale:
    """Where a value stands on the vertical axis."""

    def __init__(self, values: Iterable[float], least: float, zero: bool) -> None:
        finite = [value for value in values if math.isfinite(value)] or [0.0]
        self.low, self.high = min(finite), max(finite)
        if zero:
            self.low, self.high = min(self.low, 0.0), max(self.high, least)
        elif self.high - self.low < least:
            middle = (self.high + self.low) / 2
            self.low, self.high = middle - least / 2, middle + least / 2

    def __call__(self, value: float) -> float:
        if self.high <= self.low:
            return _HEIGHT - _MARGIN if self.high == 0 else _HEIGHT / 2
        share = min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)
        return _HEIGHT - _MARGIN - share * (_HEIGHT - 2 * _MARGIN)


def _placed(points: Sequence[Point]) -> list[tuple[float, Point]]:
    step = (_WIDTH - 2 * _MARGIN) / max(len(points) - 1, 1)
    return [(_MARGIN + index * step, point) for index, point in enumerate(points)]


def _marked(points: Sequence[Point]) -> list[tuple[float, Point]]:
    told = [(x, point) for x, point in _placed(points) if point.state in ("fail", "warn") or point is points[-1]]
    return [(x, point) for x, point in told if math.isfinite(point.value)]


def _style(point: Point, points: Sequence[Point]) -> str:
    last = point is points[-1]
    return " ".join(filter(None, [point.state, "alike" if point.alike else "", "newest" if last else ""]))


def _line(points: Sequence[Point], scale: _Scale) -> str:
    """Return a line through the points, broken where a span has no value."""
    drawn, joined = [], False
    for x, point in _placed(points):
        if math.isfinite(point.value):
            drawn.append(f"{'L' if joined else 'M'}{x:.1f} {scale(point.value):.1f}")
        joined = math.isfinite(point.value)
    return f'<path class="line" d="{"".join(drawn)}"/>' if drawn else ""


def _band(usual: tuple[float, float], scale: _Scale, count: int, steady: bool) -> str:
    low, high = (scale(end if math.isfinite(end) else math.copysign(1e300, end)) for end in usual)
    step = (_WIDTH - 2 * _MARGIN) / max(count - 1, 1)
    left = 0.0 if steady else _WIDTH - _MARGIN - 0.7 * step
    return f'<rect class="usual" {_box(left, _WIDTH - left, high, max(low - high, 1.0))}/>'


def _dot(x: float, y: float, kind: str, title: str = "") -> str:
    return f'<path class="dot {kind}" d="M{x:.1f} {y:.1f}h0">{_title(title)}</path>'


def _title(text: str) -> str:
    from markupsafe import escape

    return f"<title>{escape(text)}</title>" if text else ""


def _box(x: float, width: float, y: float, height: float) -> str:
    return f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.0):.1f}" height="{height:.1f}"'


def _svg(drawn: Iterable[str], alt: str, kind: str = "") -> Markup:
    from markupsafe import Markup

    size = f"{_WIDTH:.0f} {_HEIGHT:.0f}"
    head = Markup('<svg class="spark {}" viewBox="0 0 {}" preserveAspectRatio="none" role="img" aria-label="{}">')
    return head.format(kind, size, alt) + Markup("".join(drawn)) + Markup("</svg>")
