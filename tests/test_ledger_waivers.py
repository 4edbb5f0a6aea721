import gzip

import pytest

from flywheel.errors import ConfigError, LedgerError
from flywheel.ledger import HISTORY, Ledger
from tests.stores import ledger_in


@pytest.fixture
def ledger(tmp_path):
    now = iter(range(1_700_000_000, 1_800_000_000, 60))
    return Ledger(ledger_in(tmp_path), clock=lambda: next(now))


def keep(ledger, folder, span, content, job="job"):
    run = ledger.open("flights", span, f"{job} {span}")
    file = folder / HISTORY
    file.write_bytes(gzip.compress(content.encode()))
    ledger.keep(run, file)
    file.unlink()
    return run


def read(file):
    return gzip.decompress(file.read_bytes()).decode()


def test_a_waiver_is_read_back_as_it_was_given(ledger):
    given = ledger.waive("flights", "2013-06-01", " storm, not a fault ", who="ada", checks=["null rate", "dest"])

    assert ledger.waivers("flights") == {"2013-06-01": given}
    assert (given.reason, given.who, given.checks) == ("storm, not a fault", "ada", ("null rate", "dest"))
    assert given.at.year == 2023


def test_of_two_waivers_of_a_span_the_newest_counts(ledger):
    ledger.waive("flights", "2013-06-01", "storm")
    ledger.waive("flights", "2013-06-02", "holiday")
    ledger.waive("flights", "2013-06-01", "storm, and checked by hand")

    found = ledger.waivers("flights")

    assert {span: waiver.reason for span, waiver in found.items()} == {
        "2013-06-01": "storm, and checked by hand",
        "2013-06-02": "holiday",
    }
    assert found["2013-06-01"].at > found["2013-06-02"].at


def test_a_waiver_is_newer_than_the_row_that_it_answers(ledger):
    ledger.open("flights", "2013-06-01", "job-1")

    waiver = ledger.waive("flights", "2013-06-01", "storm")

    assert waiver.at > ledger.rows("flights")[0].started


def test_waivers_are_no_rows_and_belong_to_one_flywheel(ledger):
    ledger.waive("flights", "2013-06-01", "storm")

    assert ledger.rows("flights") == []
    assert ledger.waivers("trains") == {}


def test_a_waiver_that_names_checks_covers_those_alone(ledger):
    some = ledger.waive("flights", "2013-06-01", "storm", checks=["null rate", "dest"])
    whatever = ledger.waive("flights", "2013-06-02", "storm")

    assert some.covers("null rate")
    assert some.covers("drift", column="dest")
    assert not some.covers("drift", column="origin")
    assert not some.covers("rows")
    assert whatever.covers("rows")


@pytest.mark.parametrize(("reason", "message"), [("", "say why"), (" \n", "say why"), ("x" * 1001, "say it shorter")])
def test_a_waiver_needs_a_reason_of_a_sentence_or_two(ledger, reason, message):
    with pytest.raises(ConfigError, match=message):
        ledger.waive("flights", "2013-06-01", reason)
    assert ledger.waivers("flights") == {}


def test_a_flywheel_that_never_ran_has_no_history(ledger, tmp_path):
    assert ledger.history("flights", "2013-06-01", tmp_path / "here") is None
    ledger.open("flights", "2013-05-01", "job")
    assert ledger.history("flights", "2013-06-01", tmp_path / "here") is None


def test_the_history_is_that_of_the_newest_span_up_to_the_one_asked_for(ledger, tmp_path):
    for span in ("2013-05-01", "2013-05-03", "2013-05-02"):
        keep(ledger, tmp_path, span, span)
    ledger.open("flights", "2013-05-04", "a row without one")

    found = {span: ledger.history("flights", span, tmp_path / span) for span in ("2013-05-02", "2013-06-01")}

    assert {span: read(file) for span, file in found.items()} == {
        "2013-05-02": "2013-05-02",
        "2013-06-01": "2013-05-03",
    }
    assert found["2013-06-01"] == tmp_path / "2013-06-01" / HISTORY
    assert ledger.history("flights", "2013-04-30", tmp_path / "before") is None


def test_of_two_rows_of_a_span_the_history_is_the_last_ones_and_a_row_keeps_its_last(ledger, tmp_path):
    keep(ledger, tmp_path, "2013-05-01", "first", job="a")
    keep(ledger, tmp_path, "2013-05-01", "second", job="b")
    keep(ledger, tmp_path, "2013-05-01", "second, mended", job="b")

    assert read(ledger.history("flights", "2013-05-01", tmp_path / "into")) == "second, mended"


def test_a_history_that_was_kept_and_is_gone_is_an_error_and_not_a_fresh_start(ledger, tmp_path):
    keep(ledger, tmp_path, "2013-05-01", "first")
    next((tmp_path / ".flywheel").rglob(HISTORY)).unlink()

    with pytest.raises(LedgerError):
        ledger.history("flights", "2013-05-01", tmp_path / "into")
