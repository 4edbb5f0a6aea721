"""A candidate that one judge cannot decide: kept as challenger, judged again on later spans, promoted or dropped."""

from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from flywheel.artifacts import Model
from flywheel.evaluation.looks import Look
from flywheel.ledger import Ledger, challengers
from flywheel.ledger.lineage import lineage
from flywheel.reports.lineage import lineage_page
from flywheel.steps.analyze import analyze
from flywheel.steps.by_hand import freeze
from flywheel.steps.by_hand import promote as promote_by_hand
from flywheel.steps.challenge import challenge
from flywheel.steps.conclude import conclude
from flywheel.steps.decide import Decision, decide
from flywheel.steps.plan import plan
from flywheel.steps.promote import promote
from flywheel.steps.rejudge import rejudge
from tests.evaluation import worlds
from tests.mortal import killed_before_write
from tests.stores import ledger_in

pytestmark = pytest.mark.filterwarnings("ignore:.*input example:UserWarning", "ignore::RuntimeWarning")

DAYS = tuple(f"2013-06-{day:02d}" for day in range(1, 27))
WINDOW, JUDGE = 7, 6
SETTINGS = {"label": "late"}
GATES = [{"metric": "brier", "no_worse_than": "champion", "margin": 0.003}]
FIRST, GOOD, OTHER, BAD = 1.0, 0.5, 0.3, 2.5
"""Weights of models: the second is a little better than the first, the third about as good, the last clearly worse."""


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return worlds.examples(tmp_path_factory.mktemp("data") / "examples", worlds.rows(6000, DAYS))


@dataclass
class World:
    """A flywheel, span by span, by the steps themselves."""

    folder: Path
    uri: str
    examples: object
    looks: int = 4

    @property
    def book(self):
        return Ledger(self.uri)

    def begin(self, span, job=""):
        code = self.folder / "code.zip"
        source = {"every": "day", "window": WINDOW, "judge": JUDGE}
        query = "SELECT late FROM flights WHERE day >= @start AND day < @end"
        return plan("flights", span, source, f"duckdb:///{self.folder}/w.duckdb", query, self.uri, code, job or span)

    def run(self, span, weight, job="", end=True):
        """Do what the pipeline does for a span whose candidate has this weight; return its row."""
        to = self.begin(span, job)
        assert to.go, to.reason
        model = worlds.model(self.folder / to.run / "model", weight=weight)
        found = analyze(self.examples, model, to.champion, to.judge, SETTINGS, self.uri, self.folder / to.run / "e")
        gates = GATES if to.champion else [{"metric": "auc", "at_least": 0.6}]
        verdict = decide(found, gates, self.folder / to.run / "r.html", Look(of=self.looks))
        self.book.record(to.run, verdict)
        said = Decision.of(verdict)
        if said.ok:
            promote(model, "flights", span, self.uri, to.run)
        elif said.undecided and not to.challenger:
            challenge(model, "flights", span, self.uri, to.run, WINDOW + JUDGE)
        if not said.ok and to.challenger:
            by_now = self.rejudged(to)
            if by_now.ok:
                promote(by_now.version, "flights", span, self.uri, to.run)
        if end:
            conclude("flights", self.uri, job or span, "SUCCEEDED", "")
        return self.book.row(to.run)

    def rejudged(self, to):
        settings = {"analyze": SETTINGS, "gates": GATES, "looks": self.looks}
        folder = self.folder / f"{to.run}-again"
        given = to.challenger, [*to.window, *to.judge], settings, self.uri, to.run
        return rejudge(self.examples, *given, folder / "e", folder / "r.html")


@pytest.fixture
def world(tmp_path, examples):
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        days = "SELECT 1 AS late, DATE '2013-06-01' + i::INT AS day FROM range(26) AS t(i)"
        connection.execute(f"CREATE TABLE flights AS {days}")
    return World(tmp_path, ledger_in(tmp_path), examples)


@pytest.fixture
def challenged(world):
    """A champion of the 13th, and a challenger of the 14th that six days cannot tell from it."""
    assert world.run("2013-06-13", FIRST).outcome == "promoted"
    row = world.run("2013-06-14", GOOD)
    assert (row.outcome, row.version) == ("kept-champion", "2")
    return world


def aliases(world):
    found = world.book.client.get_registered_model("flights").aliases
    return {alias: str(version) for alias, version in found.items()}


def test_an_undecided_candidate_stays_challenger_and_the_row_says_what_follows(challenged):
    row = challenged.book.rows("flights")[-1]
    challenger = challenged.book.challenger("flights")

    assert "version 2 stays challenger, judged again with" in row.why
    assert aliases(challenged) == {"champion": "1", "challenger": "2"}
    assert (challenger.version.span, challenger.champion, challenger.after) == ("2013-06-14", "1", "2013-06-08")
    assert "judged 1 of 4 times: undecided" in str(challenger)


def test_the_same_model_is_decided_on_a_later_span_and_promoted_with_its_own_span(challenged):
    needs = challenged.book.challenger("flights").needs
    early, due = DAYS[DAYS.index("2013-06-08") + needs - 1], DAYS[DAYS.index("2013-06-08") + needs]

    assert challenged.begin(early, "early").challenger == ""
    row = challenged.run(due, BAD)

    assert (row.outcome, row.version) == ("promoted", "2"), row.why
    assert "the challenger of 2013-06-14, is champion" in row.why
    champion = challenged.book.champion("flights")
    assert (champion.version, champion.span) == ("2", "2013-06-14")
    assert aliases(challenged) == {"champion": "2", "previous": "1"}
    assert row.challenger["look"]["spans"] == needs
    assert row.served == row.challenger["candidate"]
    assert challenged.book.trained_until(champion) == "2013-06-08"
    known = lineage(challenged.book, "flights")
    assert [each["gate"] for each in known.decisions] == ["model", f"challenger, {due}"]
    assert f"challenger, {due}" in lineage_page(known)


def test_one_that_is_shown_to_be_worse_is_the_challenger_no_longer(challenged):
    flawed = worlds.examples(challenged.folder / "flawed", worlds.rows(6000, DAYS).eval("late = (signal > 0.8) * 1"))
    row = World(challenged.folder, challenged.uri, flawed).run("2013-06-21", 0.01)

    assert row.outcome == "kept-champion"
    assert not row.decisions["challenger"].ok
    assert f"; version 2 of 2013-06-14 is challenger no longer: {row.decisions['challenger'].why}" in row.why
    assert "challenger" not in aliases(challenged)
    assert challenged.begin("2013-06-22").challenger == ""


def test_one_that_would_take_far_more_spans_than_a_run_reads_leaves_the_place_to_the_next(world, monkeypatch):
    world.run("2013-06-12", FIRST)
    monkeypatch.setitem(GATES[0], "margin", 0.0012)
    row = world.run("2013-06-13", OTHER)

    assert row.version is None
    assert "it is not kept as challenger: about " in row.why
    assert "spans would decide it, and a run reads 13; raise `margin`" in row.why
    assert "challenger" not in aliases(world)
    monkeypatch.setitem(GATES[0], "margin", 0.003)
    assert "stays challenger" in world.run("2013-06-14", GOOD).why


def test_one_of_which_later_spans_say_that_it_takes_far_more_is_given_up(challenged, monkeypatch):
    to = challenged.begin("2013-06-16")._replace(challenger="models:/flights/2")
    again = challenged.rejudged(to)
    assert "judged 2 of 4 times: undecided, and judged again" in str(challenged.book.challenger("flights"))

    monkeypatch.setattr(challengers, "FAR", 1.0)
    assert challenged.rejudged(to) == again == (False, "2")
    assert "challenger" not in aliases(challenged)
    conclude("flights", challenged.uri, "2013-06-16", "SUCCEEDED", "")
    assert "version 2 of 2013-06-14 is challenger no longer: not enough data" in challenged.book.row(to.run).why


def test_a_later_candidate_that_is_undecided_too_does_not_take_the_place(challenged):
    row = challenged.run("2013-06-15", 0.42)

    assert row.version is None
    assert "version 2 of 2013-06-14 is challenger already" in row.why
    assert aliases(challenged)["challenger"] == "2"


def test_a_newer_promotion_ends_it_and_says_so(challenged):
    model = worlds.model(challenged.folder / "newer", weight=0.95)
    run = challenged.book.open("flights", "2013-06-16", "by-gate")
    promote(model, "flights", "2013-06-16", challenged.uri, run)

    assert challenged.book.row(run).why == "version 3 is champion; challenger version 2 of 2013-06-14 is overtaken"
    assert aliases(challenged) == {"champion": "3", "previous": "1"}
    assert challenged.book.challenger("flights") is None


def test_a_person_may_promote_it_meanwhile(challenged):
    promote_by_hand(challenged.book, "flights", "2", "we need it", "ada", lambda version, run: None)

    assert aliases(challenged) == {"champion": "2", "previous": "1"}
    assert [row.outcome for row in challenged.book.rows("flights")] == ["promoted", "promoted"]


def test_with_one_look_an_undecided_candidate_is_dropped(world):
    world.looks = 1
    world.run("2013-06-13", FIRST)
    row = world.run("2013-06-14", OTHER)

    assert (row.outcome, row.version) == ("kept-champion", None)
    assert aliases(world) == {"champion": "1"}


def test_a_frozen_flywheel_keeps_what_passed_and_does_not_judge_it_again(challenged):
    freeze(challenged.book, "flights", "freeze", "holidays", "ada")
    row = challenged.run("2013-06-21", BAD)

    assert (row.outcome, row.version) == ("kept-champion", "2")
    assert "waits for `flywheel promote 2`" in row.why
    assert challenged.begin("2013-06-22").challenger == ""


def test_a_run_that_broke_off_before_the_promotion_is_made_good_by_the_next(challenged):
    to = challenged.begin("2013-06-21")
    assert challenged.rejudged(to).ok
    challenged.book.settle(to.run, "kept-champion", "undecided")
    conclude("flights", challenged.uri, "2013-06-21", "FAILED", "killed")

    assert challenged.begin("2013-06-21", "again").challenger == "models:/flights/2"
    row = challenged.run("2013-06-22", BAD)

    assert (row.outcome, row.version) == ("promoted", "2")


def test_killed_before_any_write_it_ends_in_the_same_state(world):
    world.run("2013-06-13", FIRST)
    to = world.begin("2013-06-14")
    model = worlds.model(world.folder / "m", weight=GOOD)
    found = analyze(world.examples, model, to.champion, to.judge, SETTINGS, world.uri, world.folder / "e")
    world.book.record(to.run, decide(found, GATES, world.folder / "r.html", Look(of=4)))

    def enter(book):
        return challenge(model, "flights", "2013-06-14", book, to.run, WINDOW + JUDGE, patience=0)

    write = 0
    while killed_before_write(write, world.uri, enter):
        write += 1
    assert write > 4
    assert enter(world.book) == "2"
    assert aliases(world) == {"champion": "1", "challenger": "2"}
    assert len(world.book.client.search_model_versions("name = 'flights'")) == 2
    assert Model.open(world.book.client.download("models:/flights/2")).digest == model.digest
