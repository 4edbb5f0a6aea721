import gzip
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from flywheel.errors import ArtifactError
from flywheel.invariants import Determines, Unique
from flywheel.kept import Kept
from flywheel.profiles import History, Settings, examine, profile_of
from flywheel.profiles.gate import SpanGate
from flywheel.profiles.history import bad_spans
from flywheel.runner import Cache
from tests.profiles.worlds import FIRST, day, failed, gate_after, name_of

DAYS = 50


@pytest.fixture(scope="module")
def gate():
    return gate_after(DAYS)


def judged(gate, index=DAYS, **faults):
    return gate.judge(name_of(index), day(index, **faults))


def share(values, part, to):
    changed = values.astype(object) if not np.issubdtype(values.dtype, np.number) else values.astype(float)
    changed[: int(part * len(values))] = to
    return changed


def test_ordinary_days_after_fifty_are_ordinary(gate):
    assert [failed(judged(gate, index)) for index in range(DAYS, DAYS + 3)] == [set()] * 3


@pytest.mark.parametrize(
    ("column", "fault"),
    [
        ("price", lambda values: values * 1.6),
        ("price", lambda values: share(values, 0.3, np.nan)),
        ("device", lambda values: share(values, 0.3, "Phone")),
        ("device", lambda values: np.roll(values, 1)),
        ("pages", lambda values: values * 0 + 7),
        ("bought", lambda values: 1 - values),
        ("at", lambda values: values + np.timedelta64(8, "h")),
    ],
    ids=["units", "nulls", "renamed", "slipped", "frozen", "inverted", "zone"],
)
def test_a_fault_is_found_in_its_column(gate, column, fault):
    assert column in failed(judged(gate, **{column: fault}))


@pytest.mark.parametrize(("label", "column"), [("bought", "bought"), ("bought, pages", "")])
def test_a_champion_that_scores_far_worse_than_ever_is_an_alarm_of_the_label_or_with_several_of_the_span(label, column):
    task = "multilabel" if "," in label else "binary"
    scores = {name_of(index): 0.8 + 0.001 * (index % 5) for index in range(DAYS)} | {name_of(DAYS): 0.55}
    gate = SpanGate(
        Settings.of({"label": label, "every": "day", "gate": {}, "task": task}), History(), score=scores.get
    )
    for index in range(DAYS):
        batches = day(index, pages=lambda values: values % 2)
        gate.take(gate.judge(name_of(index), batches), batches)

    found = gate.judge(name_of(DAYS), day(DAYS, pages=lambda values: values % 2))

    (check,) = found.failed
    assert (check.name.partition(" of ")[0], check.column) == ("champion's score", column)


def test_a_span_with_half_its_rows_is_unusual(gate):
    found = gate.judge(name_of(DAYS), day(DAYS, rows=120))

    assert "" in failed(found)
    assert any(check.name == "rows" for check in found.failed)


@pytest.mark.parametrize("value", [0, 1])
def test_labels_that_are_all_the_same_are_an_alarm_whatever_its_rates_bar_is(gate, value):
    found = judged(gate, bought=lambda values: np.full_like(values, value))

    (check,) = [check for check in found.failed if check.name == "classes of bought"]
    assert check.column == "bought"
    assert f"bought is {value} in all 300 rows" in check.reason


def test_a_few_labels_may_all_be_the_same(gate):
    found = gate.judge(name_of(DAYS), day(DAYS, rows=5, bought=np.zeros_like))

    assert not [check for check in found.failed if check.name == "classes of bought"]


def test_yesterdays_rows_once_more_are_seen(gate):
    found = gate.judge(name_of(DAYS), day(DAYS - 1))

    assert any(check.name.startswith("copied values of price") for check in found.failed)


def test_an_alarm_says_what_is_usual_and_what_it_was_compared_with(gate):
    check = next(each for each in judged(gate, price=lambda values: values * 1.6).failed if each.column == "price")

    assert check.usual[0] < check.usual[1]
    assert check.span == name_of(DAYS)
    assert name_of(DAYS - 7) in check.reason
    assert "flywheel waive" in check.remedy


def test_an_alarm_says_many_rows_in_digits(gate):
    profile, _ = profile_of(day(DAYS), FIRST)
    many = replace(profile, rows=10_000_000)

    found = examine(name_of(DAYS), many, gate.history, Settings.of({"label": "bought", "every": "day", "gate": {}}))

    (reason,) = [check.reason for check in found.checks if check.name == "rows"]
    assert reason.startswith("rows is 10,000,000, usually ")
    assert "e+" not in reason


def test_severities_weigh_the_alarms_of_a_column():
    fault = {"price": lambda values: values * 1.6}
    warned = judged(gate_after(30, columns={"price": {"severity": "warn"}}), 30, **fault)
    off = judged(gate_after(30, columns={"price": {"severity": "off"}}), 30, **fault)

    assert "price" not in failed(warned)
    assert any(check.column == "price" and check.result == "warn" for check in warned.checks)
    assert all(check.result == "pass" for check in off.checks if check.column == "price")


def test_a_bar_that_was_given_takes_the_place_of_history():
    made = gate_after(30, columns={"price": {"nulls_at_most": 0.4}})
    some, most = (judged(made, 30, price=lambda v, part=part: share(v, part, np.nan)) for part in (0.2, 0.5))

    assert not any(check.name.startswith("nulls of price") and check.result == "fail" for check in some.checks)
    assert any(check.name == "nulls of price at most 0.4" for check in most.failed)


def test_in_the_calendar_history_only_warns():
    made = gate_after(30, calendar=[name_of(30)])
    found = judged(made, 30, price=lambda values: values * 1.6)

    assert "price" not in failed(found)
    assert any("declared in the calendar" in check.reason for check in found.checks)


def test_a_late_feed_is_not_fresh():
    made = gate_after(2, fresh={"column": "at", "within": 3600})
    found = judged(made, 2, at=lambda values: values - np.timedelta64(5, "h"))

    assert any("at most 1 hours are accepted" in check.reason for check in found.failed)


def test_a_span_that_failed_teaches_nothing_and_a_waived_one_is_pardoned_for_a_while():
    made = gate_after(40)
    batches = day(40, price=lambda values: values * 1.6)
    made.take(made.judge(name_of(40), batches), batches)
    again = failed(judged(made, 41, price=lambda values: values * 1.6))
    made.take(made.judge(name_of(40), batches), batches, waived=True)
    pardoned = judged(made, 41, price=lambda values: values * 1.6)

    assert "price" in again
    assert "price" not in failed(pardoned)
    assert any("was waived for span" in check.reason for check in pardoned.checks)

    made.take(pardoned, batches)
    assert not any(name.endswith("of price") for name in made.history[name_of(41)].measures)


def test_a_young_project_is_judged_by_wide_bars_and_told_so():
    made = gate_after(3)
    ordinary, broken = judged(made, 3), judged(made, 3, device=lambda values: share(values, 0.8, "Phone"))

    assert failed(ordinary) == set()
    assert any("a short history" in check.reason for check in broken.failed if check.column == "device")


def test_a_history_is_kept_whole(gate, tmp_path):
    gate.history.save(tmp_path / "a.gz")
    again = History.load(tmp_path / "a.gz")
    again.save(tmp_path / "b.gz")

    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert again.spans == gate.history.spans
    assert [entry.span for entry in again.comparable(name_of(DAYS))] == [name_of(DAYS - 7 * k) for k in (1, 2, 3, 4)]


def test_a_history_that_goes_on_is_the_same_file_as_one_that_was_never_read(tmp_path):
    made = gate_after(20)
    made.history.save(tmp_path / "before.gz")
    again, next_day = SpanGate(SETTINGS, History.load(tmp_path / "before.gz")), judged(made, 20)
    for gate in (made, again):
        gate.history.fail(name_of(3), [("drift", "pages", "far")], waived=False)
        gate.take(next_day, day(20))
        gate.history.save(tmp_path / f"{gate is made}.gz")

    assert (tmp_path / "True.gz").read_bytes() == (tmp_path / "False.gz").read_bytes()
    assert not History.load(tmp_path / "True.gz")[name_of(3)].normal


def test_a_history_written_as_one_gzip_member_is_read_and_written_anew(gate, tmp_path):
    gate.history.save(tmp_path / "now.gz")
    (tmp_path / "once.gz").write_bytes(gzip.compress(gzip.decompress((tmp_path / "now.gz").read_bytes())))

    History.load(tmp_path / "once.gz").save(tmp_path / "again.gz")

    assert (tmp_path / "again.gz").read_bytes() == (tmp_path / "now.gz").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-20],
        lambda data: data[:5000],
        lambda data: b"x" + data,
        lambda data: data[:2000] + bytes(500) + data[2500:],
    ],
)
@pytest.mark.parametrize("read", [History.load, lambda file: bad_spans(file, {})])
def test_a_history_that_is_cut_off_or_damaged_is_refused(gate, tmp_path, change, read):
    gate.history.save(tmp_path / "a.gz")
    (tmp_path / "b.gz").write_bytes(change((tmp_path / "a.gz").read_bytes()))

    with pytest.raises(ArtifactError, match="is no history of a flywheel"):
        read(tmp_path / "b.gz")


class Read:
    """Rows of a day that note when they are asked for."""

    def __init__(self, index, read):
        self._index, self._read = index, read

    def __iter__(self):
        self._read.append(self._index)
        return iter(day(self._index))


ONE_AT_A_TIME, ONE_DEVICE = Unique(("at", "pages"), tolerance=0.05), Determines(("at",), "device", tolerance=0.05)
SETTINGS = Settings.of({"label": "bought", "every": "day"})


def test_known_spans_that_are_looked_at_again_teach_what_they_did_when_they_were_judged(tmp_path):
    rules = [ONE_DEVICE, ONE_AT_A_TIME]
    taught = SpanGate(SETTINGS, History(), invariants=rules)
    for index in range(20):
        taught.take(taught.judge(name_of(index), day(index)), day(index))
    again, read = SpanGate(SETTINGS, deepcopy(taught.history), invariants=rules), []
    for index in range(20):
        again.look_again(name_of(index), Read(index, read))
    assert read == []

    remapped = day(0, device=lambda values: np.roll(values, 1))  # it takes the first day's rows to see it
    for batches, broken in ((day(20), set()), (remapped, {str(ONE_DEVICE)}), (day(19), {str(ONE_AT_A_TIME)})):
        mine, theirs = (each.judge(name_of(20), batches) for each in (taught, again))
        assert (mine.checks, mine.finding) == (theirs.checks, theirs.finding)
        assert broken <= {check.name for check in mine.failed}
    for each, file in ((taught, "mine"), (again, "theirs")):
        each.take(mine, day(19), waived=True)
        each.take(each.judge(name_of(21), day(21)), day(21))
        each.history.save(tmp_path / file)
    assert (tmp_path / "mine").read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize(("rules", "needed"), [((), []), ((ONE_AT_A_TIME,), [4]), ((ONE_DEVICE,), [0, 1, 2, 3, 4])])
def test_of_known_spans_only_those_are_read_that_a_rule_needs(rules, needed):
    made = gate_after(5)
    gate, read = SpanGate(SETTINGS, made.history, invariants=rules), []
    for index in range(5):
        gate.look_again(name_of(index), Read(index, read))

    gate.judge(name_of(5), day(5))

    assert read == needed


def test_what_the_spans_before_a_week_say_of_each_other_is_learnt_once_for_all_runs_of_that_week(tmp_path):
    made, learnt = gate_after(0), []
    for index in range(35):
        gate = SpanGate(SETTINGS, made.history, kept=Kept(tmp_path / "root"))
        for known in range(index):
            gate.look_again(name_of(known), day(known))
        found = gate.judge(name_of(index), day(index))
        alone = SpanGate(SETTINGS, deepcopy(made.history))
        for known in range(index):
            alone.look_again(name_of(known), day(known))
        if index in (28, 34):
            assert alone.judge(name_of(index), day(index)).finding == found.finding
        gate.take(found, day(index), digest=str(index))
        learnt.append(len(Cache(tmp_path / "root").find()))

    assert [each - learnt[20] for each in learnt[20:]] == [0] * 7 + [1] * 7 + [2]  # weeks begin on Sundays here


def test_what_invariants_learn_of_a_whole_week_is_read_once_for_all_runs(tmp_path):
    """The window of thirteen days goes on by one in each run; weeks begin with the seventh and the fourteenth day."""
    made, reads, rules = gate_after(0), [], (ONE_DEVICE, ONE_AT_A_TIME)
    for index in range(17):
        judged, read = [], []
        for kept, seen in ((Kept(tmp_path / "root"), read), (Kept(), [])):
            gate = SpanGate(SETTINGS, deepcopy(made.history), invariants=rules, kept=kept)
            for known in range(max(0, index - 13), index):
                gate.look_again(name_of(known), Read(known, seen))
            judged.append(gate.judge(name_of(index), day(index)))
        assert judged[0].checks == judged[1].checks
        made.take(judged[0], day(index), digest=str(index))
        reads.append(read)

    assert reads[14] == [*range(1, 14)]
    assert [reads[15], reads[16]] == [[*range(2, 6), 13, 14], [*range(3, 6), 13, 14, 15]]


@pytest.mark.parametrize("changed", ["rule", "rows", "digest"])
def test_with_another_rule_or_other_rows_or_rows_that_are_not_known_a_week_is_read_again(tmp_path, changed):
    made, kept = gate_after(0), Kept(tmp_path / "root")
    for index in range(15):
        made.take(made.judge(name_of(index), day(index)), day(index), digest=str(index))

    def reads(history, rule):
        gate, read = SpanGate(SETTINGS, history, invariants=(rule,), kept=kept), []
        for known in range(2, 15):
            gate.look_again(name_of(known), Read(known, read))
        gate.judge(name_of(15), day(15))
        return read

    first, again = (reads(deepcopy(made.history), ONE_DEVICE) for _ in range(2))
    other = deepcopy(made.history)
    if changed != "rule":
        other.add(replace(other[name_of(8)], digest="" if changed == "digest" else "another"))
    rule = Determines(("pages",), "device") if changed == "rule" else ONE_DEVICE

    assert (first, again) == ([*range(2, 15)], [*range(2, 6), 13, 14])
    assert reads(other, rule) == first


def test_keys_of_no_span_of_the_last_weeks_are_an_alarm_at_the_bar_that_was_given():
    gate = gate_after(20, key=["at", "device"], new_keys_at_most=0.5)
    other = judged(gate, 20, device=lambda values: np.array([f"new {value}" for value in values], object))

    (check,) = [check for check in other.failed if check.name == "new keys at most 0.5"]
    assert "100.0% of the keys" in check.reason
    assert not [check for check in judged(gate, 20).failed if check.name.startswith("new keys")]


def test_how_many_rows_are_usual_the_last_week_does_not_tell(gate):
    past = gate.history.past(name_of(DAYS))

    assert [("rows" in measures, "distance of price" in measures) for measures in past[-8:]] == [
        (True, True),
        *[(False, True)] * 7,
    ]


def test_an_alarm_says_which_unit_numbers_look_like():
    def lengths(index, factor=1.0):
        hundredths = np.ceil(np.random.default_rng(index).lognormal(4, 1.5, 300))
        return lambda _: np.round(np.where(np.arange(300) % 6, 0, hundredths) / 100 * factor, 2)

    gate = SpanGate(SETTINGS, History())
    for index in range(40):
        batches = day(index, pages=lengths(index))
        gate.take(gate.judge(name_of(index), batches), batches)
    found = gate.judge(name_of(40), day(40, pages=lengths(40, 2.54)))

    (check,) = [check for check in found.failed if check.column == "pages"]
    assert check.name == "unit of pages"
    assert check.reason.startswith("its numbers look like inches in centimetres: nearly all are multiples of 2.54")
