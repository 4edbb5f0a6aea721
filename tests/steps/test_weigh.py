import zipfile

import pytest

from flywheel.artifacts import Check, Verdict
from flywheel.errors import ConfigError
from flywheel.ledger import MONITOR, Ledger
from flywheel.steps.promote import promote
from flywheel.steps.weigh import worth_it
from tests.evaluation import worlds
from tests.stores import ledger_in

pytestmark = pytest.mark.filterwarnings("ignore:.*input example:UserWarning", "ignore::RuntimeWarning")

FIRST, NEWEST = worlds.DAYS[2], worlds.DAYS[-1]
FACTS = {"metric": "auc", "candidate": 0.99, "error": 0.004, "spans": 14}


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
    return worlds.examples(tmp_path_factory.mktemp("data") / "examples", worlds.rows())


@pytest.fixture
def uri(tmp_path):
    return ledger_in(tmp_path)


@pytest.fixture
def code(tmp_path):
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("mine.py", "def old(seen):\n    return seen.age > 1, f'{seen.age} spans old'\n\nodd = str\n")
    return tmp_path / "code.zip"


@pytest.fixture
def champion(uri, tmp_path):
    """One that was promoted on the third day, with a score that it has never had since."""
    book = Ledger(uri)
    run = book.open("flights", FIRST, "job-0", {"champion": ""})
    book.record(run, Verdict("model", (), FACTS))
    promote(worlds.model(tmp_path / "champion"), "flights", FIRST, uri, run)
    book.close(run, ok=True)
    return book.champion("flights")


@pytest.fixture
def ask(uri, flights, code, tmp_path):
    def call(moved=(), **retrain):
        book = Ledger(uri)
        run = book.open("flights", NEWEST, "job-1")
        book.record(run, Verdict("data", tuple(moved)))
        settings = {"name": "flights", "label": "late", "every": "day", "retrain": retrain}
        settings |= {"window": list(worlds.DAYS[:2]), "judge": list(worlds.DAYS[3:])}
        verdict = worth_it(flights, settings, uri, run, code, tmp_path / "report.html")
        book.record(run, verdict)
        return verdict, book.row(run)

    return call


def test_the_first_model_needs_no_reason(ask):
    verdict, row = ask(policy="never")

    assert verdict.ok
    assert row.outcome is None


def test_what_is_not_worth_it_ends_not_needed_with_the_reason_in_ledger_and_report(ask, champion, tmp_path):
    verdict, row = ask(policy="every", every=30 * 86400)

    assert not verdict.ok
    assert row.outcome == "not-needed"
    assert row.why == verdict.why
    assert "one is due every 30 days" in row.why
    assert "one is due every 30 days" in (tmp_path / "report.html").read_text()


def test_a_step_that_is_tried_again_takes_back_what_it_said(ask, champion):
    ask(policy="never")
    _, row = ask(policy="always")

    assert row.outcome is None


def test_the_champion_is_measured_on_the_newest_rows_and_held_against_its_promotion(ask, champion):
    verdict, _ = ask(policy="on_decay")

    assert verdict.ok
    assert verdict.facts["decision"].startswith("auc is 0.")
    assert "and was 0.99 at the promotion" in verdict.facts["decision"]
    assert verdict.facts["lost_from"] > 0.1


def test_columns_that_the_data_gate_saw_move_ask_for_a_training(ask, champion):
    assert not ask(policy="on_drift")[0].ok

    moved = Check("drift since training of hour", "warn", column="hour", reason="hour is not what it was")
    assert ask([moved], policy="on_drift")[0].facts["decision"].startswith("hour is not what it was")


def look(book, champion, day, outcome, why):
    run = book.open("flights", day, f"look-{champion}-{day}", {"champion": champion}, MONITOR)
    book.settle(run, outcome, why)
    book.close(run, ok=True)


def test_the_newest_look_of_monitoring_asks_until_a_training_answers_it(ask, champion, uri, tmp_path):
    book, never = Ledger(uri), {"policy": "every", "every": 300 * 86400}
    look(book, "another", worlds.DAYS[4], "retrain", "it is about another version")
    assert not ask(**never)[0].ok

    look(book, champion.version, worlds.DAYS[4], "retrain", "live auc fell")
    why = f"monitoring of {worlds.DAYS[4]}: live auc fell"
    assert ask(**never)[0].facts["decision"] == why
    assert why in (tmp_path / "report.html").read_text()

    run = book.open("flights", worlds.DAYS[4], "job-2", {"champion": champion.version})
    book.record(run, Verdict("model", (), FACTS))
    assert not ask(**never)[0].ok  # no better model came of it

    look(book, champion.version, worlds.DAYS[5], "retrain", "live auc fell on")
    assert ask(**never)[0].ok
    look(book, champion.version, worlds.DAYS[6], "fine", "all is well")
    assert not ask(**never)[0].ok


def test_earlier_trainings_teach_what_waiting_costs(ask, champion, uri):
    book = Ledger(uri)
    for number, day in enumerate(worlds.DAYS[3:-1]):
        run = book.open("flights", day, f"job-{number + 2}", {"champion": champion.version})
        book.record(run, Verdict("model", (), FACTS | {"delta": 0.0, "delta_error": 0.0001}))
        book.settle(run, "kept-champion", "no better")
        book.close(run, ok=True)

    verdict, _ = ask(policy="cost_aware", training_cost=0.01)

    assert not verdict.ok
    assert verdict.facts["observed"] == len(worlds.DAYS[3:-1])
    assert verdict.facts["waiting_cost"] < 0.008  # by the line alone it is 0.0115


def test_a_function_of_the_project_decides(ask, champion):
    age = len(worlds.DAYS) - 3
    assert ask(policy="function", function="mine:old")[0].facts["decision"] == f"{age} spans old"


def test_a_function_that_answers_nonsense_is_named(ask, champion):
    with pytest.raises(ConfigError, match=r"retrain.function 'mine:odd' fails: TypeError: .*has to return a bool"):
        ask(policy="function", function="mine:odd")


def test_a_policy_that_is_none_is_refused(ask):
    with pytest.raises(ConfigError, match="retrain is wrong: policy: Input should be"):
        ask(policy="sometimes")
