import math
import re
from dataclasses import replace
from datetime import date, timedelta
from html import unescape

import numpy as np
import pyarrow as pa
import pytest

from flywheel import statistics
from flywheel.artifacts import Check, Verdict
from flywheel.profiles import Entry, History, Settings
from flywheel.profiles.gate import SpanGate
from flywheel.reports.data import data_page
from flywheel.reports.past import Past
from tests.reports.test_page import NASTY, Tags

DAYS = [(date(2013, 3, 1) + timedelta(count)).isoformat() for count in range(36)]
NEWEST = DAYS[-1]
RARE = "rare word"


def rows_of(day, count=300, damage=None):
    """Return rows of a day; `late` follows from `dep_delay`, `carrier` has three words."""
    random = np.random.default_rng(int(day.replace("-", "")))
    delay = random.gamma(2.0, 10.0, count)
    columns = {
        "late": (delay + random.normal(0, 5, count) > 25).astype(np.int64),
        "delay": delay,
        "carrier": random.choice(["UA", "B6", RARE], count, p=[0.55, 0.4, 0.05]).astype(object),
        "temp": random.normal(60, 8, count),
        "flight": random.integers(1, 5000, count).astype(float),
    }
    table = pa.table(damage(columns) if damage else columns)
    return table.to_batches()


def kilometres(columns):
    return columns | {"delay": columns["delay"] * 60, "carrier": np.where(columns["carrier"] == RARE, None, "B6")}


def nothing(columns):
    gone = [None] * len(columns["late"])
    return columns | {name: pa.array(gone, pa.float64()) for name in ("delay", "temp", "flight")}


class Judged:
    """A history of usual days whose newest, `damage`d one was judged, and the page of it."""

    def __init__(self, damage=None, facts=None, days=DAYS, settings=None):
        self.settings = settings or Settings(label="late")
        gate = SpanGate(self.settings, History())
        self.history = gate.history
        for day in days:
            batches = rows_of(day, damage=damage if day == days[-1] else None)
            judged = gate.judge(day, batches)
            gate.take(judged, batches)
        self.verdict = Verdict("data", judged.checks, facts or {})

    @property
    def page(self):
        return data_page(self.verdict, {}, self.history, self.history.spans[-1], {"rows": 300})

    @property
    def text(self):
        return text_of(self.page)


def text_of(page):
    """Return what a page says, without its style, words of different elements apart."""
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


@pytest.fixture(scope="module")
def clean():
    return Judged()


@pytest.fixture(scope="module")
def broken():
    return Judged(kilometres)


def headings(page):
    return [text_of(found) for found in re.findall(r"<h3>(.*?)</h3>", page)]


def test_a_clean_span_is_passed_without_anything_wrong(clean):
    assert "Passed" in clean.text
    assert "What is wrong" not in clean.text


def test_every_column_has_a_card_of_its_own_in_the_order_of_the_query(clean):
    assert headings(clean.page)[-5:] == ["late", "delay", "carrier", "temp", "flight"]


def test_what_is_wrong_comes_before_every_column_and_names_the_columns_on_top(broken):
    text = broken.text
    top = text[: text.index("What is wrong")]

    assert "Blocked" in top
    assert {"delay", "carrier"} <= set(top.split())
    assert text.index("What is wrong") < text.index("The last 28 spans") < text.index("Every column")


def test_what_is_furthest_out_comes_first(broken):
    excess = broken.history[NEWEST].excess
    ranked = sorted(excess, key=lambda column: -excess[column])
    found = headings(broken.page)

    assert found[0].startswith(ranked[0])


def test_a_finding_says_how_far_off_it_is_what_is_usual_since_when_and_what_to_do(broken):
    box = text_of(re.search(r'<article class="card finding.*?</article>', broken.page, re.DOTALL).group())

    assert re.search(r"usually \S+", box)
    assert "since this span" in box
    assert "flywheel waive" in box


def test_a_finding_shows_both_distributions_and_where_the_figure_usually_is(broken):
    box = re.search(r'<article class="card finding.*?</article>', broken.page, re.DOTALL).group()

    assert f'aria-label="Distribution of {headings(broken.page)[0].split()[0]} in {NEWEST} and in the 4 spans' in box
    assert 'class="usual"' in box
    assert 'class="dot fail' in box


def test_columns_blocked_for_days_say_since_when_and_when_they_were_before(broken):
    failed = (("level of delay", "delay", "too high"),)
    for day in (DAYS[-2], DAYS[-3], DAYS[-9]):
        entry = broken.history[day]
        broken.history.add(replace(entry, normal=False, reference=False, failed=failed))
    text = broken.text
    for day in (DAYS[-2], DAYS[-3], DAYS[-9]):
        broken.history.add(replace(broken.history[day], normal=True, reference=True, failed=()))

    assert f"since {DAYS[-3]} (3 spans)" in text
    assert f"before that {DAYS[-9]}" in text


def test_three_columns_with_the_same_trouble_share_a_box():
    page = Judged(nothing).page
    found = [each for each in headings(page) if "," in each]

    assert [set(re.findall(r"\w+", each)) for each in found] == [{"delay", "temp", "flight", "failed"}]
    assert f"{NEWEST} has none" in text_of(page)
    assert page.count("nulls <b>100%</b>") == 3


def test_a_chart_ends_with_what_its_check_observed(broken):
    past = Past(broken.history, NEWEST)
    observed = [check for check in broken.verdict.checks if check.usual is not None]
    drawn = {check.name: past.of_check(check) for check in observed if not check.name.startswith("usual ")}

    assert drawn
    for check in observed:
        if drawn.get(check.name):
            assert drawn[check.name][-1].value == pytest.approx(check.observed, rel=0.02, abs=1e-3), check.name


@pytest.mark.parametrize("name", ["distance", "unseen", "shift", "nulls", "level", "distinct"])
def test_measures_are_drawn_in_the_unit_of_the_check(clean, name):
    from flywheel.profiles.alarms import measure

    references = clean.history.comparable(NEWEST)
    profile = clean.history[NEWEST].profile
    found = measure(NEWEST, profile, clean.history, clean.settings, references)
    column = "carrier" if name == "unseen" else "delay"
    check = Check(f"{name} of {column}", "fail", found[f"{name} of {column}"].observed, column=column, span=NEWEST)
    points = Past(clean.history, NEWEST).of_check(check)

    assert points[-1].value == pytest.approx(check.observed, rel=1e-4, abs=1e-6)
    assert sum(math.isfinite(point.value) for point in points) > 10


def test_decisions_of_people_and_what_they_are_asked_are_shown():
    settings = Settings(label="late", calendar=frozenset({DAYS[-4]}))
    facts = {
        "left_out": {DAYS[-6]: "temp: all null"},
        "waived": {DAYS[-8]: "a storm (anna)"},
        "proposals": ["carrier: 1 new value"],
    }
    text = Judged(facts=facts, days=DAYS[-20:], settings=settings).text

    assert f"{DAYS[-6]} left out of the window temp: all null" in text
    assert f"{DAYS[-8]} waived a storm (anna)" in text
    assert f"{DAYS[-4]} declared unusual" in text
    assert "carrier: 1 new value" in text
    assert f"flywheel schema accept {NEWEST}" in text


def test_what_was_found_in_an_earlier_span_is_not_said_of_the_newest(clean):
    checks = (Check("nulls of temp", "fail", 0.9, column="temp", span=DAYS[-3], reason="temp went missing"),)
    page = data_page(Verdict("data", checks), {}, clean.history, NEWEST, {})

    assert '<article class="card finding' not in page
    assert f"span {DAYS[-3]}" in text_of(page)


@pytest.mark.parametrize(
    ("observed", "said"),
    [(0.5, "missing more often"), (0.05, "missing less often"), (0.2, "Several of its figures together are unusual")],
)
def test_a_finding_says_to_which_side_it_is_off(clean, observed, said):
    check = Check("nulls of temp", "fail", observed, 0.3, column="temp", span=NEWEST, usual=(0.1, 0.3), reason="off")

    assert said in text_of(data_page(Verdict("data", (check,)), {}, clean.history, NEWEST, {}))


def test_what_is_wrong_with_the_rows_is_shown_with_the_rows_of_the_last_spans(clean):
    checks = (Check("rows", "fail", 30, 200, usual=(200, 400), span=NEWEST, reason="rows is 30, usually 200 to 400"),)
    page = data_page(Verdict("data", checks), {}, clean.history, NEWEST, {})
    box = re.search(r'<article class="card finding.*?</article>', page, re.DOTALL).group()

    assert "rows 30 usually 200 to 400" in text_of(box)
    assert f"{DAYS[-5]}: 300" in box


def test_a_check_without_a_past_still_shows_its_column(clean):
    checks = (Check("schema of temp", "fail", column="temp", span=NEWEST, reason="temp: new type", remedy="mend it."),)
    box = text_of(data_page(Verdict("data", checks), {}, clean.history, NEWEST, {}))

    assert "It is not as the schema asks." in box
    assert "Distance from usual" in box


def test_a_broken_rule_says_in_how_many_rows(clean):
    check = Check("delay <= flight", "fail", 0.125, 0.01, rows=300, column="delay", span=NEWEST, reason="no")
    text = text_of(data_page(Verdict("data", (check,)), {}, clean.history, NEWEST, {}))

    assert "broken by 12.5% accepted 1.0%" in text


def test_what_is_wrong_with_all_spans_together_is_not_said_to_have_begun_with_the_newest(clean):
    checks = (Check("spans left out of window", "fail", 0.5, 0.25, reason="14 of 28 spans are bad", remedy="mend."),)
    box = re.search(
        r'<article class="card finding.*?</article>',
        data_page(Verdict("data", checks), {}, clean.history, NEWEST, {}),
        re.DOTALL,
    ).group()

    assert "14 of 28 spans are bad" in box
    assert "since" not in box


def test_the_first_span_of_all_is_shown_alone():
    text = Judged(days=DAYS[-1:]).text

    assert "There is no earlier span to compare it with." in text
    assert "flight" in text


def test_a_span_without_rows_still_has_a_report():
    history = History()
    gate = SpanGate(Settings(label="late"), history)
    batches = pa.table({"late": pa.array([], pa.int64())}).to_batches()
    gate.take(gate.judge(NEWEST, batches), batches)
    check = Check("rows at least", "fail", 0, 1, span=NEWEST, reason="there are no rows")

    assert "there are no rows" in text_of(data_page(Verdict("data", (check,)), {}, history, NEWEST, {}))


def test_statistics_are_drawn_where_history_has_no_profile():
    newest = statistics.summarize(rows_of(NEWEST), "newest")
    before = statistics.summarize(rows_of(DAYS[-2]), "before")
    page = data_page(Verdict("data"), {"newest": newest, "before": before}, History(), NEWEST, {})

    assert headings(page)[-5:] == ["late", "delay", "carrier", "temp", "flight"]
    assert page.count('aria-label="Distribution of') >= 5


def renamed(name, word):
    def damage(columns):
        kept = {name if each == "delay" else each: values for each, values in columns.items()}
        return kept | {"carrier": np.where(columns["carrier"] == RARE, word, columns["carrier"])}

    return damage


def nasty(text):
    """Return a page with `text` in every place that data can reach."""
    history, gate = History(), None
    settings = Settings(label="late")
    for day in DAYS[-16:]:
        gate = gate or SpanGate(settings, history)
        batches = rows_of(day, damage=renamed(text, text))
        judged = gate.judge(day, batches)
        gate.take(judged, batches)
    checks = (
        Check(f"level of {text}", "fail", 1.0, 0.5, reason=text, remedy=text, column=text, span=NEWEST, usual=(0, 0.5)),
        Check("unseen of carrier", "warn", 0.5, 0.1, reason=text, column="carrier", span=NEWEST, usual=(0, 0.1)),
        Check(text, "fail", 0.5, 0.1, rows=3, reason=text, column="temp", span=NEWEST),
    )
    facts = {"left_out": {text: text}, "waived": {text: text}, "proposals": [text]}
    return data_page(Verdict("data", checks, facts), {}, history, NEWEST, {text: text})


def test_text_from_the_data_never_becomes_markup():
    plain, hostile = Tags(nasty("plain")), Tags(nasty(NASTY))

    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert not [attrs for _, attrs in hostile.tags if any(name.startswith("on") for name in attrs)]


def test_the_page_needs_no_script_and_no_network(broken):
    assert not {"script", "link", "iframe", "img", "object"} & {tag for tag, _ in Tags(broken.page).tags}
    assert not re.findall(r"""(?:src|href|action)\s*=|url\(|@import""", broken.page)


def test_every_picture_says_in_words_what_is_to_be_seen(broken):
    drawn = re.findall(r"<svg[^>]*>|<div class=\"chart\"[^>]*>", broken.page)
    spoken = [tag for tag in drawn if 'role="img"' in tag]

    assert len(spoken) >= len(re.findall(r'<svg class="spark', broken.page)) + broken.page.count('class="chart"')
    assert all(re.search(r'aria-label="[^"]+"', tag) for tag in spoken)


def test_a_hundred_columns_are_still_a_small_file():
    history = History()
    profiles = {}
    for day in DAYS:
        batches = rows_of(day, count=60)
        gate = SpanGate(Settings(label="late"), History())
        profiles[day] = gate.judge(day, batches).profile
        column = profiles[day].columns["delay"]
        wide = {f"column {count}": column for count in range(100)}
        measures = {f"distance of {name}": 0.1 for name in wide}
        entry = Entry(day, "", True, True, measures=measures, profile=replace(profiles[day], columns=wide))
        history.add(entry)
    page = data_page(Verdict("data"), {}, history, NEWEST, {})

    assert len(headings(page)) > 100
    assert len(page) < 700_000
