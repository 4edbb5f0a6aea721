import os

import pytest

from flywheel.errors import ConfigError, LedgerError
from flywheel.ledger import Ledger
from flywheel.steps import by_hand
from flywheel.steps.promote import promote
from tests.mortal import killed_before_write
from tests.stores import ledger_in, model_in

SPANS = ("2013-06-01", "2013-06-08", "2013-06-15")


@pytest.fixture
def ledger(tmp_path):
    return Ledger(ledger_in(tmp_path))


@pytest.fixture
def put(ledger, tmp_path):
    return by_hand.deployer("flights", str(tmp_path / "serving"), ledger)


def trained(ledger, folder, spans=SPANS, **options):
    """Promote a model for each span, and return the rows."""
    rows = []
    for span in spans:
        rows.append(ledger.open("flights", span, span))
        promote(model_in(folder / f"model-{span}", span), "flights", span, ledger, rows[-1], **options)
    return rows


def aliases(ledger):
    return {alias: str(v) for alias, v in ledger.client.get_registered_model("flights").aliases.items()}


def in_service(tmp_path):
    return os.readlink(tmp_path / "serving" / "flights" / "current")


def test_a_rollback_makes_the_version_before_champion_and_puts_it_in_service(ledger, put, tmp_path):
    trained(ledger, tmp_path)

    act = by_hand.rollback(ledger, "flights", "", "it calls every flight late", "ada", put)

    assert (act.kind, act.version, act.reason, act.who) == ("rollback", "2", "it calls every flight late", "ada")
    assert aliases(ledger) == {"champion": "2", "previous": "1"}
    assert in_service(tmp_path) == "2"
    assert [act.finished for act in ledger.acts("flights")] == [True]


def test_two_rollbacks_go_back_two_versions_and_the_first_has_none_before(ledger, put, tmp_path):
    trained(ledger, tmp_path)
    for _ in range(2):
        by_hand.rollback(ledger, "flights", "", "worse", "ada", put)

    assert aliases(ledger) == {"champion": "1"}
    with pytest.raises(ConfigError, match="no version before its champion"):
        by_hand.rollback(ledger, "flights", "", "worse", "ada", put)


def test_a_rollback_goes_to_the_version_that_is_named_and_only_back(ledger, put, tmp_path):
    trained(ledger, tmp_path)

    by_hand.rollback(ledger, "flights", "1", "both were wrong", "ada", put)

    assert aliases(ledger) == {"champion": "1"}
    with pytest.raises(ConfigError, match="flywheel promote 3"):
        by_hand.rollback(ledger, "flights", "3", "forward", "ada", put)


def test_what_was_rolled_back_is_brought_back_by_a_promotion_by_hand(ledger, put, tmp_path):
    rows = trained(ledger, tmp_path)
    by_hand.rollback(ledger, "flights", "", "worse", "ada", put)

    by_hand.promote(ledger, "flights", "3", "it was the logging", "bob", put)

    assert aliases(ledger) == {"champion": "3", "previous": "2"}
    assert in_service(tmp_path) == "3"
    assert promote(model_in(tmp_path / "again", SPANS[2]), "flights", SPANS[2], ledger, rows[2]) == ("3", True)


def test_a_promotion_by_hand_never_goes_back(ledger, put, tmp_path):
    trained(ledger, tmp_path)

    with pytest.raises(ConfigError, match="flywheel rollback --to 1"):
        by_hand.promote(ledger, "flights", "1", "older is better", "ada", put)
    with pytest.raises(ConfigError, match="the champion already"):
        by_hand.promote(ledger, "flights", "3", "again", "ada", put)
    with pytest.raises(LedgerError, match="has no version"):
        by_hand.promote(ledger, "flights", "9", "new", "ada", put)
    assert ledger.acts("flights") == []


def test_what_waits_for_approval_is_promoted_when_it_is_approved_and_its_row_says_by_whom(ledger, put, tmp_path):
    trained(ledger, tmp_path, SPANS[:1])
    _, second, third = [None, *trained(ledger, tmp_path, SPANS[1:], approval=True)]

    by_hand.approve(ledger, "flights", "", "looked at the slices", "ada", put)

    row = ledger.row(third)
    assert (row.outcome, row.version) == ("promoted", "3")
    assert "approved by ada" in row.why
    assert "looked at the slices" in row.why
    assert row.endpoint == str(tmp_path / "serving" / "flights")
    assert aliases(ledger) == {"champion": "3", "previous": "1"}
    assert ledger.row(second).outcome == "awaiting-approval"
    with pytest.raises(ConfigError, match="flywheel rollback --to 2"):
        by_hand.approve(ledger, "flights", "2", "this one too", "ada", put)


def test_nothing_to_approve_says_what_waits(ledger, put, tmp_path):
    trained(ledger, tmp_path, SPANS[:1])

    with pytest.raises(ConfigError, match="waiting: none"):
        by_hand.approve(ledger, "flights", "", "fine", "ada", put)


def test_a_flywheel_is_frozen_until_it_is_unfrozen(ledger):
    by_hand.freeze(ledger, "flights", "freeze", "the holidays", "ada")
    with pytest.raises(ConfigError, match="frozen by ada"):
        by_hand.freeze(ledger, "flights", "freeze", "again", "bob")
    assert ledger.frozen("flights").reason == "the holidays"

    by_hand.freeze(ledger, "flights", "unfreeze", "they are over", "ada")

    assert ledger.frozen("flights") is None
    with pytest.raises(ConfigError, match="is not frozen"):
        by_hand.freeze(ledger, "flights", "unfreeze", "again", "ada")


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001])
def test_nothing_is_done_without_a_reason_that_the_ledger_can_keep(ledger, put, tmp_path, reason):
    trained(ledger, tmp_path, SPANS[:2])

    with pytest.raises(ConfigError, match="reason"):
        by_hand.rollback(ledger, "flights", "", reason, "ada", put)
    assert aliases(ledger) == {"champion": "2", "previous": "1"}


ACTS = {
    "rollback": ("", {"champion": "2", "previous": "1"}, "2"),
    "promote": ("4", {"champion": "4", "previous": "3"}, "4"),
    "approve": ("", {"champion": "4", "previous": "3"}, "4"),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", ACTS)
def test_killed_before_any_of_its_writes_and_done_again_it_is_done_once(kind, tmp_path):
    version, wanted, served = ACTS[kind]
    died, ends = True, []
    while died:
        folder = tmp_path / str(len(ends))
        ledger, serving = Ledger(ledger_in(folder)), folder / "serving"
        trained(ledger, folder)
        trained(ledger, folder, ["2013-06-22"], approval=True)

        def act(book, serving=serving):
            put = by_hand.deployer("flights", str(serving), book)
            getattr(by_hand, kind)(book, "flights", version, "because", "ada", put)

        died = killed_before_write(len(ends), ledger.tracking_uri, act)
        if not all(act.finished for act in ledger.acts("flights")) or not ledger.acts("flights"):
            act(ledger)
        ends.append((aliases(ledger), os.readlink(serving / "flights" / "current"), len(ledger.acts("flights"))))
        assert (ledger.rows("flights")[-1].outcome == "promoted") == (kind != "rollback")

    assert len(ends) > 6
    assert ends == [(wanted, served, 1)] * len(ends)
