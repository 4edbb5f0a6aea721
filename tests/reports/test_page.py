import re
from html.parser import HTMLParser

import pytest

from flywheel import reports
from flywheel.artifacts import Check, Verdict
from flywheel.reports import Card, Section, charts

NASTY = "</text></svg></style><script>alert(1)</script><img src=x onerror=alert(1)>\"' &"


class Tags(HTMLParser):
    """Every tag of a page with its attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def everything(text):
    """Return a page with `text` in every place that data can reach."""
    verdict = Verdict("data", (Check(text, "fail", 0.5, 0.1, text, text, text, (0.4, 0.6), 12), Check(text, "pass")))
    drawn = [
        charts.bars({text: {text: 0.5, text + "2": 0.5}}, text),
        charts.histogram({text: [(0, 1, 0.5), (1, 2, 0.5)]}, text),
        charts.intervals([charts.Interval(text, 0.5, 0.4, 0.6, "fail")], text, bound=0.45),
        charts.lines({text: [(0, 0), (1, 1)]}, text, x=text, y=text),
        charts.legend([text]),
        reports.table([{text: text, "n": 1}]),
        reports.paragraph(text),
        text,
    ]
    boxes = reports.cards([Card(text, body, {text: text}, "warn", text) for body in drawn])
    sections = [Section(text, reports.verdict_table(verdict), text), Section(text, reports.join(boxes, text))]
    return reports.page(text, sections, verdict=verdict, subtitle=text, facts={text: text})


def test_text_from_the_data_never_becomes_markup():
    plain, nasty = Tags(everything("plain")), Tags(everything(NASTY))

    assert [tag for tag, _ in nasty.tags] == [tag for tag, _ in plain.tags]
    assert not [attrs for _, attrs in nasty.tags if any(name.startswith("on") for name in attrs)]
    assert NASTY in nasty.text


def test_a_page_needs_no_script_and_no_network():
    page = everything("plain")

    assert not {"script", "link", "iframe", "img", "object"} & {tag for tag, _ in Tags(page).tags}
    assert not re.findall(r"""(?:src|href|action)\s*=|url\(|@import""", page)
    assert "default-src 'none'" in page


def test_the_verdict_stands_on_top_with_its_reason_and_what_to_do():
    verdict = Verdict("data", (Check("a", "pass"), Check("b", "fail", 0.3, 0.1, reason="b is off", remedy="mend b.")))
    text = Tags(reports.page("t", [Section("s", reports.verdict_table(verdict))], verdict=verdict)).text

    assert text.index("Blocked") < text.index("b is off") < text.index("mend b.")
    assert "1 failed" in text
    assert "1 passed" in text


@pytest.mark.parametrize(
    ("results", "word"),
    [
        (["pass"], "Passed"),
        (["pass", "warn"], "Passed, with warnings"),
        (["undecided", "warn"], "Undecided"),
        ([], "Passed"),
    ],
)
def test_the_outcome_is_one_word(results, word):
    verdict = Verdict("model", tuple(Check("c", result) for result in results))

    assert word in re.findall(r'class="outcome">(.*?)<', reports.page("t", [], verdict=verdict))


def test_every_check_of_a_verdict_is_in_its_table():
    verdict = Verdict("data", tuple(Check(f"check {i}", ("pass", "fail", "warn")[i % 3]) for i in range(60)))
    text = Tags(str(reports.verdict_table(verdict))).text

    assert all(re.search(rf"check {i}\b", text) for i in range(60))


def test_categories_that_are_cut_to_the_same_label_stay_apart():
    long = "MCDONNELL DOUGLAS AIRCRAFT CO"
    svg = str(charts.bars({"newest": {long: 0.6, long + " INC": 0.4}}, "shares"))

    assert len(set(re.findall(r">(MCDONNELL[^<]*)<", svg))) == 2


def test_figures_that_are_no_numbers_are_left_out_of_charts():
    nan = float("nan")

    assert "NaN" not in charts.intervals([charts.Interval("a", nan, nan, nan), charts.Interval("b", 1, 0, 2)], "x")
    assert "NaN" not in charts.histogram({"a": [(0, 1, 0.5), (1, float("inf"), 0.5)]}, "x")


@pytest.mark.parametrize(
    ("value", "read"),
    [(336776, "336,776"), (0.123456, "0.1235"), (None, "–"), ((0.1, 0.25), "0.1 to 0.25"), (12345.67, "12,345.7"),
     (float("nan"), "–"), (float("inf"), "inf"), (1e20, "1e+20"), (2.0, "2"), ("2013", "2013")],
)  # fmt: skip
def test_numbers_are_rounded_for_reading(value, read):
    assert reports.number(value) == read


def test_a_column_of_figures_is_one_where_the_first_is_not_known():
    markup = str(reports.table([{"model": "candidate", "gain": None}, {"model": "champion", "gain": 0.1}]))

    assert '<th class="n">gain</th>' in markup
    assert re.findall(r'<td class="n" data-label="gain">([^<]*)</td>', markup) == ["–", "0.1"]
