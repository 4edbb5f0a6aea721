import multiprocessing
import resource
import time

import pytest

from flywheel.errors import LedgerError
from flywheel.ledger import Ledger
from flywheel.ledger.registry import EXPIRY, promoting
from flywheel.steps.by_hand import freeze, rollback
from flywheel.steps.promote import promote
from tests.mortal import killed_before_write
from tests.stores import ledger_in, model_in

forked = multiprocessing.get_context("fork")


@pytest.fixture
def ledger(tmp_path):
    return Ledger(ledger_in(tmp_path))


@pytest.fixture
def candidate(ledger, tmp_path):
    """Give a function that opens a row for a span and returns what promote takes for it."""

    def make(span, content=None, job=None):
        run = ledger.open("flights", span, job or f"job-{span}")
        return model_in(tmp_path / f"model-{run}", content or span), "flights", span, ledger.tracking_uri, run

    return make


def registry(ledger, name="flights"):
    """Return everything that a promotion leaves in the registry, without times."""
    versions = ledger.client.search_model_versions(f"name = '{name}'")
    model = ledger.client.get_registered_model(name)
    return {
        "versions": {str(v.version): (v.run_id, tuple(sorted(v.tags.items()))) for v in versions},
        "aliases": {alias: str(version) for alias, version in model.aliases.items()},
        "models": [found.name for found in ledger.client.search_registered_models()],
    }


def test_the_first_model_becomes_champion_and_has_no_previous(ledger, candidate):
    given = candidate("2013-06-01")

    assert promote(*given).version == "1"
    champion = ledger.champion("flights")
    assert (champion.version, champion.span, champion.run) == ("1", "2013-06-01", given[-1])
    assert champion.digest == given[0].digest
    assert registry(ledger)["aliases"] == {"champion": "1"}


def test_the_former_champion_stays_as_previous(ledger, candidate):
    for span in ("2013-06-01", "2013-06-08", "2013-06-15"):
        promote(*candidate(span))

    assert registry(ledger)["aliases"] == {"champion": "3", "previous": "2"}


def test_the_outcome_is_recorded_with_the_version(ledger, candidate):
    given = candidate("2013-06-01")
    promote(*given)

    row = ledger.row(given[-1])

    assert (row.outcome, row.version) == ("promoted", "1")


def test_the_registered_model_is_the_whole_artifact(ledger, candidate):
    given = candidate("2013-06-01")
    promote(*given)

    source = ledger.client.get_model_version_download_uri("flights", "1")

    assert type(given[0]).open(ledger.client.download(source)).digest == given[0].digest


def test_promoting_the_same_run_twice_changes_nothing(ledger, candidate):
    promote(*candidate("2013-06-01"))
    given = candidate("2013-06-08")
    first, before = promote(*given), registry(ledger)

    assert promote(*given) == first
    assert registry(ledger) == before


def test_another_model_of_a_run_that_has_promoted_one_is_refused(ledger, candidate, tmp_path):
    _, *rest = candidate("2013-06-01")
    promote(model_in(tmp_path / "one", "one"), *rest)

    with pytest.raises(LedgerError, match="run a later span"):
        promote(model_in(tmp_path / "other", "other"), *rest)


def test_a_promotion_whose_run_failed_afterwards_stands_and_the_next_run_goes_on_from_it(ledger, candidate, tmp_path):
    _, name, span, book, run = candidate("2013-06-01", job="job-1")
    promote(model_in(tmp_path / "one", "one"), name, span, book, run)
    ledger.close(run, ok=False, unfinished="the disk of the server is full")
    _, *again = candidate("2013-06-01", job="job-2")

    assert promote(model_in(tmp_path / "other", "other"), *again).version == "1"
    assert ledger.champion(name).version == "1"
    assert ledger.row(again[-1]).tags["flywheel.model"] == ledger.champion(name).digest


def test_a_version_is_had_from_the_registry_of_this_ledger(ledger, candidate, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = candidate("2013-06-01")
    version = promote(*given).version

    assert type(given[0]).open(ledger.client.download(f"models:/flights/{version}")).digest == given[0].digest
    assert not (tmp_path / "mlflow.db").exists()


def test_the_same_model_of_the_same_span_is_not_registered_twice(ledger, candidate):
    promote(*candidate("2013-06-01", job="job-1"))

    assert promote(*candidate("2013-06-01", job="job-2")).version == "1"
    assert [row.outcome for row in ledger.rows("flights")] == ["promoted", "promoted"]


@pytest.mark.parametrize("span", ["2013-06-08", "2013-06-01"], ids=["equal", "older"])
def test_the_champion_never_moves_back_in_span(ledger, candidate, span):
    promote(*candidate("2013-06-08", "one model", "job-1"))
    before = registry(ledger)
    given = candidate(span, "another model", "job-2")

    with pytest.raises(LedgerError, match="the champion only moves forward; run a later span"):
        promote(*given)
    assert registry(ledger) == before
    assert ledger.row(given[-1]).outcome is None


def test_a_full_disk_registers_nothing_and_says_so(ledger, candidate):
    given, answer = candidate("2013-06-01", "x" * 10**7), forked.Queue()

    def work():
        book = Ledger(given[3])
        resource.setrlimit(resource.RLIMIT_FSIZE, (5 * 10**6, resource.RLIM_INFINITY))
        try:
            promote(*given[:3], book, given[4])
        except LedgerError as error:
            answer.put(str(error))

    child = forked.Process(target=work)
    child.start()
    said = answer.get(timeout=60)
    child.join()

    assert "free some space and run again" in said
    assert ledger.client.search_registered_models() == []


@pytest.mark.long
def test_killed_before_any_of_its_writes_and_run_again_it_ends_in_the_same_state(tmp_path):
    died, ends = True, []
    while died:
        folder = tmp_path / str(len(ends))
        ledger = Ledger(ledger_in(folder))
        former, run = [ledger.open("flights", span, span) for span in ("2013-06-01", "2013-06-08")]
        promote(model_in(folder / "former", "former"), "flights", "2013-06-01", ledger, former)
        given = (model_in(folder / "model"), "flights", "2013-06-08", ledger.tracking_uri, run)

        died = killed_before_write(len(ends), given[3], lambda book: promote(*given[:3], book, given[4]))  # noqa: B023
        version = promote(*given).version

        found, row = registry(ledger), ledger.row(run)
        promoted = [version for version, (made_by, _) in found["versions"].items() if made_by == run]
        ends.append((version, promoted, found["aliases"], found["models"], row.outcome, row.version))

    assert len(ends) > 8
    assert ends == [("2", ["2"], {"champion": "2", "previous": "1"}, ["flights"], "promoted", "2")] * len(ends)


def test_of_two_promotions_of_one_span_at_once_one_wins_and_the_other_says_so(ledger, candidate):
    given = [candidate("2013-06-08", f"model {n}", f"job-{n}") for n in range(2)]
    gate, answers = forked.Event(), forked.Queue()

    def work(arguments):
        gate.wait()
        try:
            answers.put(("won", promote(*arguments).version))
        except LedgerError as error:
            answers.put(("lost", str(error)))

    children = [forked.Process(target=work, args=(arguments,)) for arguments in given]
    for child in children:
        child.start()
    time.sleep(0.2)
    gate.set()
    found = dict(answers.get(timeout=60) for _ in children)
    for child in children:
        child.join()

    assert found["won"] == "1"
    assert "run a later span" in found["lost"]
    assert len(registry(ledger)["versions"]) == 1
    assert registry(ledger)["models"] == ["flights"]


def test_of_many_who_find_a_dead_holder_exactly_one_holds_the_lock_at_a_time(ledger, tmp_path):
    leave_a_lock(ledger, "dead")
    inside, most = forked.Value("i", 0), forked.Value("i", 0)

    def work(n):
        client = Ledger(ledger.tracking_uri).client
        with promoting(client, "flights", f"run-{n}", clock=later):
            with inside.get_lock():
                inside.value += 1
                most.value = max(most.value, inside.value)
            time.sleep(0.05)
            with inside.get_lock():
                inside.value -= 1

    children = [forked.Process(target=work, args=(n,)) for n in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()

    assert [child.exitcode for child in children] == [0] * 4
    assert most.value == 1
    assert ledger.client.search_registered_models() == []


def later():
    """Give a time at which the lock of the dead is old, and those that are taken now are not."""
    return time.time() + EXPIRY - 20


def leave_a_lock(ledger, owner):
    """Leave a lock as a killed process does, made 30 seconds ago."""
    import sqlite3

    ledger.client.create_registered_model("flights.promotion-lock.1", tags={"flywheel.owner": owner})
    with sqlite3.connect(ledger.tracking_uri.removeprefix("sqlite:///")) as connection:
        connection.execute("update registered_models set creation_time = creation_time - 30000")


def test_a_promotion_under_way_is_waited_for_and_then_named(ledger, candidate):
    leave_a_lock(ledger, "run-of-another")
    waits = []

    with pytest.raises(LedgerError, match=r"under way by run 'run-of-another'\n.*its lock expires in 2\d\d s"):
        promote(*candidate("2013-06-01"), patience=0.0, sleep=waits.append)
    assert ledger.champion("flights") is None


def test_a_lock_that_its_own_run_left_does_not_hinder_it(ledger, candidate):
    given = candidate("2013-06-01")
    leave_a_lock(ledger, given[-1])

    assert promote(*given, patience=0.0).version == "1"
    assert registry(ledger)["models"] == ["flights"]


def test_who_was_taken_for_dead_does_not_move_the_champion(ledger):
    now = time.time()
    client = ledger.client

    def overslept():
        with promoting(client, "flights", "slow", clock=lambda: now) as still_ours:
            with promoting(client, "flights", "quick", clock=lambda: now + EXPIRY + 1):
                pass
            still_ours()

    with pytest.raises(LedgerError, match="another promotion of 'flights' is under way"):
        overslept()


def test_where_a_person_has_to_approve_the_model_is_registered_and_waits(ledger, candidate):
    promote(*candidate("2013-06-01"))
    given = candidate("2013-06-08")

    assert promote(*given, approval=True) == ("2", False)
    assert promote(*given, approval=True) == ("2", False)
    row = ledger.row(given[-1])
    assert (row.outcome, row.version, row.done) == ("awaiting-approval", "2", True)
    assert "flywheel approve 2" in row.why
    assert registry(ledger)["aliases"] == {"champion": "1"}


def test_on_a_frozen_flywheel_the_model_is_registered_and_the_row_says_who_froze_it(ledger, candidate):
    promote(*candidate("2013-06-01"))
    freeze(ledger, "flights", "freeze", "the holidays", "ada")
    given = candidate("2013-06-08")

    assert promote(*given) == ("2", False)
    row = ledger.row(given[-1])
    assert row.outcome == "kept-champion"
    assert "frozen by ada" in row.why
    assert "the holidays" in row.why
    assert "flywheel promote 2" in row.why


def test_a_version_that_was_rolled_back_is_not_promoted_again_by_its_run(ledger, candidate):
    promote(*candidate("2013-06-01"))
    given = candidate("2013-06-08")
    promote(*given)
    rollback(ledger, "flights", "", "it calls every flight late", "ada", lambda *_: None)

    with pytest.raises(LedgerError, match="it calls every flight late") as refused:
        promote(*given)
    assert "flywheel promote 2" in str(refused.value)
    assert registry(ledger)["aliases"] == {"champion": "1"}
