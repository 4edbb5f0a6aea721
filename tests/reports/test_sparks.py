import math
import re
from math import inf, nan

import pytest

from flywheel.reports import percent, short, sparks
from flywheel.reports.charts import Interval
from flywheel.reports.past import Point


def points(*values, state=""):
    return [Point(f"2013-01-{day + 1:02}", value, state) for day, value in enumerate(values)]


def test_a_span_without_a_figure_leaves_a_gap_in_the_line():
    drawn = str(sparks.spark(points(1, 2, math.nan, 4, 5), "x"))
    (line,) = re.findall(r'class="line" d="([^"]*)"', drawn)

    assert line.count("M") == 2
    assert "nan" not in drawn


def test_what_hardly_moves_looks_flat():
    def height(drawn):
        (line,) = re.findall(r'class="line" d="([^"]*)"', str(drawn))
        heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", line)]
        return max(heights) - min(heights)

    assert height(sparks.spark(points(10, 10.1, 10), "x", least=10)) < 1
    assert height(sparks.spark(points(10, 10.1, 10), "x")) > 10


def test_every_span_of_a_full_chart_tells_its_figure_and_what_became_of_it():
    drawn = str(sparks.trace([*points(0.1, 0.2), Point("2013-01-03", 0.9, "fail")], "x", (0, 0.5), read=percent))

    assert "2013-01-01: 10.0%" in drawn
    assert "2013-01-03: 90.0% (blocked)" in drawn


def test_what_is_usual_for_spans_like_the_newest_is_shaded_there_alone():
    def width(steady):
        drawn = str(sparks.trace(points(*range(20)), "x", (2, 5), steady=steady))
        return float(re.search(r'class="usual" x="[\d.]+" y="[\d.]+" width="([\d.]+)"', drawn).group(1))

    assert width(steady=True) > 150
    assert width(steady=False) < 20


def test_a_usual_range_without_an_end_reaches_the_edge():
    drawn = str(sparks.trace(points(1, 2, 3), "x", (-math.inf, 2)))

    assert "inf" not in drawn
    assert 'class="usual"' in drawn


@pytest.mark.parametrize("values", [(0, 0, 0), (5,), (math.nan, math.nan, 1), (-3, 2, -1)])
def test_any_figures_can_be_drawn(values):
    for drawn in (sparks.spark, sparks.trace, sparks.bars):
        assert not re.search(r"nan|inf", str(drawn(points(*values), "x")))


def test_the_second_distribution_is_an_outline_over_the_first():
    drawn = str(sparks.histogram({"newest": [(0, 1, 0.5), (1, 2, 0.5)], "usual": [(0, 1, 1.0), (1, 2, 0)]}, "x"))

    assert drawn.count('class="now"') == 2
    assert drawn.count('class="then"') == 1


def test_the_distribution_of_a_span_without_values_is_the_outline_alone():
    drawn = str(sparks.histogram({"newest": [], "usual": [(0, 1, 1.0)]}, "x"))

    assert 'class="now"' not in drawn
    assert 'class="then"' in drawn


@pytest.mark.parametrize(
    ("value", "read"),
    [(0.1234, "12.3%"), (0, "0%"), (1, "100%"), (0.0002, "<0.1%"), (0.9999, ">99.9%"), (math.nan, "–")],
)
def test_shares_are_read_as_percent(value, read):
    assert percent(value) == read


@pytest.mark.parametrize(("value", "read"), [(0.0003171, "0.000317"), (1044.7, "1,040"), (336776.0, "336,776")])
def test_figures_beside_charts_have_three_digits(value, read):
    assert short(value) == read


def test_an_interval_stands_beside_its_bound_and_says_what_its_axis_reaches():
    drawn = sparks.interval(Interval("", 0.72, 0.70, 0.74, "pass"), "0.72 against a bar of 0.6", 0.6)

    line = re.search(r'class="line pass" d="M([\d.]+) 20H([\d.]+)"', drawn)
    bound, dot = re.search(r'class="bound" d="M([\d.]+) ', drawn), re.search(r'class="dot pass" d="M([\d.]+) ', drawn)
    assert 0 < float(bound[1]) < float(line[1]) < float(dot[1]) < float(line[2]) < 200
    assert 'aria-label="0.72 against a bar of 0.6"' in drawn
    assert re.findall(r"<span>(.*?)</span>", drawn)[-2:] == ["0.6", "0.74"]


@pytest.mark.parametrize(
    ("found", "bound"),
    [((nan, nan, nan), None), ((1.0, nan, nan), 0.5), ((0.0, 0.0, 0.0), 0.0), ((1.0, -inf, inf), None)],
)
def test_an_interval_of_what_is_not_known_is_drawn_without_it(found, bound):
    drawn = sparks.interval(Interval("", *found, "undecided"), "unknown", bound)

    assert "nan" not in drawn
    assert "inf" not in drawn
