"""Ranges, estimates and wrong input of a backfill; the whole of it is in tests/flights."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flywheel.ahead import Ahead
from flywheel.backfill import Progress, spans_between
from flywheel.errors import ConfigError
from flywheel.ledger import Row
from flywheel.spans import Span
from flywheel.workspace import Workspace
from tests.test_config import FLIGHTS


@given(st.sampled_from(["hour", "day", "week", "month"]), st.integers(0, 60))
def test_a_range_holds_each_span_from_first_to_last_once(every, count):
    first = Span.parse({"hour": "2013-06-01T09", "month": "2013-06"}.get(every, "2013-06-03"), every)

    names = spans_between(first, first.shift(count))

    assert names == [first.shift(i).name for i in range(count + 1)]


def test_a_range_that_ends_before_it_begins_is_refused():
    with pytest.raises(ConfigError, match="--to 2013-06-01 comes before --from 2013-06-08\n  give the earlier span to"):
        spans_between(Span.parse("2013-06-08"), Span.parse("2013-06-01"))


def test_the_estimate_goes_by_the_last_ten_spans():
    row = Row.without_a_run("2013-06-01", "job", "promoted", "", 1.0)
    progress = Progress(100, skipped=20, rows=[row] * 30, seconds=[60.0] * 20 + [2.0] * 10)

    assert (progress.left, progress.remaining) == (50, 100.0)
    assert Progress(3).remaining is None


def test_a_backfill_without_a_range_or_with_a_wrong_span_says_how_to_write_it(command, tmp_path):
    (tmp_path / "flywheel.yaml").write_text(yaml.safe_dump(FLIGHTS))
    none = command("backfill", tmp_path)
    wrong = command("backfill", tmp_path, "--from", "June", "--to", "2013-06-08")

    assert (none.code, wrong.code) == (2, 2)
    assert "a backfill needs --from and --to" in none.err
    assert "span 'June' does not name a day" in wrong.err


def test_what_the_helper_was_in_the_middle_of_goes_with_it(tmp_path):
    (tmp_path / "flywheel.yaml").write_text(yaml.safe_dump(FLIGHTS))
    workspace = Workspace.open(tmp_path)
    left = workspace.state / "ahead" / "runs" / "flights-ahead-1" / "artifacts"
    left.mkdir(parents=True)

    with Ahead(workspace, (None, []), ["2013-06-01"], depth=1):
        pass

    assert not list((workspace.state / "ahead" / "runs").iterdir())
