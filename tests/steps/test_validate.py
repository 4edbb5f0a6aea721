import random
import zipfile
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from flywheel.artifacts import Examples, Statistics
from flywheel.errors import ConfigError, DataError
from flywheel.ledger import Ledger, Waiver
from flywheel.ledger.bad import known_bad
from flywheel.profiles import History
from flywheel.steps.validate import Paths, gate, validate
from tests.stores import ledger_in

DAYS = 6
ROWS = 400
NEWEST = "2024-03-06"


def name_of(index):
    return (date(2024, 3, 1) + timedelta(index)).isoformat()


def day(index, **faults):
    """Return the rows of one ordinary day; `faults` replace columns, by a function of the row's number."""
    chance = random.Random(index)
    columns = {
        "clicked": [int(chance.random() < 0.2) for _ in range(ROWS)],
        "device": [chance.choice(["phone", "desk", "tablet"]) for _ in range(ROWS)],
        "pages": [chance.gauss(20, 4) for _ in range(ROWS)],
        "age": [chance.randint(18, 80) if chance.random() < 0.8 else None for _ in range(ROWS)],
    }
    columns |= {name: [fault(row) for row in range(ROWS)] for name, fault in faults.items()}
    types = {"clicked": pa.int64(), "device": pa.string(), "pages": pa.float64(), "age": pa.int64()}
    return pa.table({name: pa.array(values, types.get(name)) for name, values in columns.items()})


@pytest.fixture
def examples(tmp_path):
    def write(newest=None, every=None, missing=(), faults=None, days=DAYS, name="examples"):
        """Return days of which the last has the faults `newest`, all have those of `every`, some their own."""
        path = tmp_path / name
        own = {days - 1: newest or {}} | (faults or {})
        tables = [day(i, **(every or {}) | own.get(i, {})) for i in range(days)]
        with Examples.writer(path, tables[-1].schema, producer="extract") as writer:
            for i, table in enumerate(tables):
                writer.write(name_of(i), [] if i in missing else table.to_batches())
        return Examples.open(path)

    return write


@pytest.fixture
def paths(tmp_path):
    return Paths(*(tmp_path / "out" / name for name in ("statistics", "report")))


@pytest.fixture
def archive(tmp_path):
    def pack(**files):
        """Return a project's archive that holds these files."""
        path = tmp_path / "code.zip"
        with zipfile.ZipFile(path, "w") as code:
            code.writestr("trainer.py", "")
            for name, text in files.items():
                code.writestr(name.replace("_", "."), text)
        return path

    return pack


@pytest.fixture
def judge(archive, paths):
    def call(examples, drift=None, label="clicked", schema=None, rules=None, window=4, held=2, given=None, **options):
        files = {"schema_pbtxt": schema, "invariants_yaml": rules}
        code = archive(**{name: text for name, text in files.items() if text is not None})
        gate = {"drift": drift or {}} | (given or {})
        settings = {"label": label, "every": "day", "gate": gate, "window": window, "judge": held}
        return validate(examples, code, settings, paths, **options)

    return call


@pytest.fixture
def curated(tmp_path, examples, judge):
    """The schema inferred from ordinary days, as people would commit it."""
    judge(examples())
    return Statistics.open(tmp_path / "out" / "statistics").schema.read_text()


def failed(verdict):
    return {(check.name, check.slice) for check in verdict.failed}


def test_ordinary_days_pass_and_every_column_is_checked(examples, judge, tmp_path):
    verdict = judge(examples(), drift={"device": 0.2, "pages": 0.2})

    assert verdict.ok, verdict.why
    names = {check.name for check in verdict.checks}
    assert {"schema of device", "schema of age", "drift of device", "drift of pages", "rows in every span"} <= names
    assert {"usual values of device", "rows at least", "label"} <= names
    assert 0 < verdict.facts["drift"]["device"] < 0.2
    assert "Passed" in (tmp_path / "out" / "report").read_text()


def test_statistics_are_those_of_tfdv_itself_and_its_reader_opens_them(examples, judge, tmp_path):
    import tensorflow_data_validation as tfdv

    given = examples()
    judge(given)
    statistics = Statistics.open(tmp_path / "out" / "statistics")
    found = tfdv.load_stats_binary(str(statistics.path / "all.pb")).datasets[0]
    expected = tfdv.generate_statistics_from_dataframe(given.table().to_pandas()).datasets[0]

    assert statistics.manifest.facts["groups"]["before"] == ["2024-03-05"]
    assert found.num_examples == expected.num_examples == DAYS * ROWS
    for ours, theirs in zip(found.features, expected.features, strict=True):
        assert ours.path == theirs.path
        if ours.HasField("num_stats"):
            assert ours.num_stats.mean == pytest.approx(theirs.num_stats.mean)
            assert ours.num_stats.std_dev == pytest.approx(theirs.num_stats.std_dev)
            assert ours.num_stats.common_stats.num_missing == theirs.num_stats.common_stats.num_missing
        else:
            assert ours.string_stats.rank_histogram == theirs.string_stats.rank_histogram


def test_a_category_that_is_renamed_is_blocked_by_name(examples, judge, curated, tmp_path):
    verdict = judge(examples(newest={"device": lambda row: "phablet" if row % 2 else "desk"}), schema=curated)

    assert ("schema of device", "span 2024-03-06") in failed(verdict)
    assert "phablet" in verdict.why
    assert "flywheel schema accept" in verdict.failed[0].remedy
    assert "phablet" in (tmp_path / "out" / "report").read_text()


def test_a_rare_new_category_is_no_alarm(examples, judge, curated):
    assert judge(examples(newest={"device": lambda row: "watch" if row < 8 else "phone"}), schema=curated).ok


def test_a_column_that_is_lost_is_blocked(examples, judge, curated):
    verdict = judge(examples(newest={"pages": lambda row: None}), schema=curated)

    assert ("schema of pages", "span 2024-03-06") in failed(verdict)
    assert "device" not in {check.column for check in verdict.failed}
    assert "find where the values got lost" in verdict.failed[0].remedy


def test_a_column_of_another_type_is_blocked(examples, judge, curated):
    verdict = judge(examples(every={"device": lambda row: None, "new": lambda row: 1.5}), schema=curated)

    assert ("schema of device", "span 2024-03-06") in failed(verdict)


def test_a_column_that_the_schema_does_not_know_is_a_warning(examples, judge, curated):
    verdict = judge(examples(every={"extra": lambda row: row}), schema=curated)

    assert verdict.ok
    assert "schema of extra" in {check.name for check in verdict.warned}


def test_a_bar_for_a_column_that_the_schema_does_not_know_is_not_overlooked(examples, judge, curated):
    verdict = judge(examples(every={"extra": lambda row: row}), schema=curated, drift={"extra": 0.1})

    assert [check.name for check in verdict.failed] == ["drift of extra"]
    assert "flywheel schema accept" in verdict.failed[0].remedy


def test_drift_is_judged_by_the_thresholds_given(examples, judge):
    data = examples(newest={"device": lambda row: "phone", "pages": lambda row: 100.0 + row})
    verdict = judge(data, drift={"device": 0.3, "pages": 0.3})

    drifted = {check.column: check for check in verdict.failed if check.name.startswith("drift")}
    assert set(drifted) == {"device", "pages"}
    assert drifted["device"].observed > drifted["device"].bound == 0.3
    assert "raise gates.data.drift.device" in drifted["device"].remedy
    assert not any(check.name == "drift of device" for check in judge(data, drift={"device": 0.9}).failed)


def test_spans_without_rows_are_said_and_drift_takes_the_last_that_has_some(examples, judge, tmp_path):
    verdict = judge(examples(missing={3, 4}), drift={"device": 0.3})

    assert verdict.ok
    assert "2 of 6 spans have no rows: 2024-03-04, 2024-03-05" in verdict.warned[0].reason
    assert Statistics.open(tmp_path / "out" / "statistics").manifest.facts["groups"]["before"] == ["2024-03-03"]


def test_a_first_span_alone_is_judged_without_drift(examples, judge):
    verdict = judge(examples(missing=set(range(DAYS - 1))), drift={"device": 0.3})

    assert verdict.ok
    assert any("drift is not judged" in check.reason for check in verdict.warned)


@pytest.mark.parametrize(
    ("values", "said", "remedy"),
    [
        (lambda row: None if row < 3 else row % 2, "null in 0.75% of the rows of 2024-03-06", "without a label yet"),
        (lambda row: 0, "is 0 in all rows", "take a longer window"),
        (lambda row: row % 3, "has values such as 0.0, 1.0, 2.0", "give 0 or 1"),
    ],
)
def test_a_label_that_teaches_nothing_is_blocked(examples, judge, values, said, remedy):
    verdict = judge(examples(every={"clicked": values}))

    found = next(check for check in verdict.failed if said in check.reason)
    assert found.column == "clicked"
    assert remedy in found.remedy


def test_a_label_that_is_not_there_is_refused_with_what_there_is(examples, judge):
    with pytest.raises(DataError, match="'bought', only clicked, device, pages, age"):
        judge(examples(), label="bought")


def test_drift_of_a_column_that_is_not_there_names_the_nearest(examples, judge):
    with pytest.raises(ConfigError, match="did you mean 'device'"):
        judge(examples(), drift={"devise": 0.1})


def test_a_schema_that_is_none_is_refused(examples, judge):
    with pytest.raises(ConfigError, match="delete it to have it inferred"):
        judge(examples(), schema="feature { nme: 'x' }")


def test_a_category_with_markup_is_shown_as_text(examples, judge, tmp_path):
    judge(examples(every={"device": lambda row: "<script>alert(1)</script>" if row % 2 else "desk"}))
    report = (tmp_path / "out" / "report").read_text()

    assert "<script" not in report
    assert "&lt;script&gt;" in report


def test_times_dates_and_booleans_have_statistics_too(examples, judge):
    every = {"on": lambda row: date(2024, 3, 1), "new": lambda row: row % 2 == 0}

    assert judge(examples(every=every)).ok


def test_a_bad_earlier_day_is_left_out_and_the_run_goes_on(examples, judge, curated, paths):
    verdict = judge(examples(faults={2: {"device": lambda row: "fridge"}}), schema=curated)

    assert verdict.ok
    assert list(verdict.facts["left_out"]) == ["2024-03-03"]
    assert "span 2024-03-03 is left out: device" in verdict.warned[0].reason
    assert "flywheel waive 2024-03-03" in verdict.warned[0].remedy
    assert Statistics.open(paths.statistics).manifest.counts["all"] == (DAYS - 1) * ROWS


def test_too_many_bad_days_block(examples, judge, curated):
    bad = {1: {"device": lambda row: "fridge"}, 2: {"device": lambda row: "fridge"}}
    strict = {"leave_out": 0.25}
    verdict = judge(examples(faults=bad), schema=curated, given=strict)

    assert [check.name for check in verdict.failed] == ["spans to train on"]
    assert "only 2 of 4 spans to train on are left: 2 of the 6 up to 2024-03-06 are bad" in verdict.failed[0].reason
    assert "run the span again: knowing them it looks at up to 8 spans" in verdict.failed[0].remedy
    assert judge(examples(faults=bad, name="same"), schema=curated).ok  # by default half may be missing


def test_what_is_found_bad_shortens_the_window_and_never_the_judge(examples, judge, archive, paths, curated, tmp_path):
    book = Ledger(ledger_in(tmp_path / "ledger"))
    run = book.open("clicks", NEWEST, "job-1")
    settings = {"name": "clicks", "label": "clicked", "every": "day", "window": 4, "judge": 2}
    data = examples(faults={4: {"device": lambda row: "fridge"}})
    places = tuple(map(str, (paths.statistics, paths.report)))

    found = gate(data, str(archive(schema_pbtxt=curated)), settings, places, book.tracking_uri, run)

    assert (found.window, found.judge) == ([name_of(i) for i in range(3)], [name_of(3), NEWEST])
    tags = book.row(run).tags
    assert (tags["flywheel.window"], tags["flywheel.judge"]) == ("2024-03-01 to 2024-03-03", "2024-03-04 to 2024-03-06")
    assert known_bad(book, "clicks", NEWEST).keys() == {name_of(4)}
    book.waive("clicks", name_of(4), "a fridge it is", "ada")
    assert known_bad(book, "clicks", NEWEST) == {}


def test_a_day_that_a_bar_of_ones_own_rejected_is_left_out_of_later_ones_unless_it_is_waived(examples, judge, tmp_path):
    fewer = {"device": lambda row: "phone" if row % 5 else "desk"}
    first = judge(examples(newest=fewer), drift={"device": 0.1}, history=None)
    (tmp_path / "before.gz").write_bytes(Statistics.open(tmp_path / "out" / "statistics").history.read_bytes())
    later = examples(faults={DAYS - 1: fewer}, days=DAYS + 1, name="later")

    verdict = judge(later, drift={"device": 0.1}, history=tmp_path / "before.gz")
    waived = judge(examples(newest=fewer), drift={"device": 0.1}, waivers=waiver(NEWEST, "device"))

    assert [check.name for check in first.failed] == ["drift of device"]
    assert verdict.facts["left_out"].keys() == {NEWEST}
    assert waived.ok, waived.why


def test_settings_without_the_windows_are_refused(examples, archive, paths):
    with pytest.raises(ConfigError, match="its settings lack window and judge"):
        validate(examples(), archive(), {"label": "clicked", "every": "day"}, paths)


def waiver(span, *checks):
    return {span: Waiver(span, "a new device is on sale", "ada", checks, datetime.now(UTC))}


def test_what_a_person_waived_is_said_and_does_not_block(examples, judge, curated):
    data = examples(newest={"device": lambda row: "watch"})
    assert not judge(data, schema=curated).ok

    verdict = judge(data, schema=curated, waivers=waiver(NEWEST, "device"))

    assert verdict.ok, verdict.why
    assert verdict.facts["waived"] == {NEWEST: "a new device is on sale (ada)"}
    assert any("waived: a new device is on sale" in check.reason for check in verdict.warned)


def test_a_waiver_of_one_column_does_not_cover_another(examples, judge, curated):
    data = examples(newest={"device": lambda row: "watch", "pages": lambda row: None})
    verdict = judge(data, schema=curated, waivers=waiver(NEWEST, "device"))

    assert "pages" in {check.column for check in verdict.failed}
    assert "device" not in {check.column for check in verdict.failed}


def test_a_waived_earlier_day_is_trained_on(examples, judge, curated):
    data = examples(faults={2: {"device": lambda row: "fridge"}})
    verdict = judge(data, schema=curated, waivers=waiver("2024-03-03"))

    assert verdict.facts["left_out"] == {}
    assert verdict.facts["waived"] == {"2024-03-03": "a new device is on sale (ada)"}


def test_a_day_is_judged_once_and_again_when_its_rows_change(examples, judge, curated, paths, tmp_path):
    first = judge(examples(), schema=curated)
    (tmp_path / "before.gz").write_bytes(Statistics.open(paths.statistics).history.read_bytes())
    later = judge(examples(days=DAYS + 1, name="more"), schema=curated, history=tmp_path / "before.gz")
    mended = examples(days=DAYS + 1, faults={1: {"age": lambda row: 30}}, name="mended")
    changed = judge(mended, schema=curated, history=tmp_path / "before.gz")

    assert (first.facts["judged"], later.facts["judged"], changed.facts["judged"]) == (6, 1, 2)


def test_a_rejected_day_teaches_nothing(examples, judge, curated, paths):
    judge(examples(newest={"device": lambda row: "fridge"}), schema=curated)
    entry = History.load(Statistics.open(paths.statistics).history)[NEWEST]

    assert not entry.normal
    assert not entry.reference
    assert entry.failed[0][1] == "device"


def test_with_a_history_an_unusual_day_is_blocked_without_any_bar_given(examples, judge):
    days = 40
    quiet = judge(examples(days=days))
    loud = judge(examples(days=days, newest={"pages": lambda row: 30 + row % 7}, name="loud"))

    assert quiet.ok, quiet.why
    assert "pages" in {check.column for check in loud.failed}
    alarm = next(check for check in loud.failed if check.column == "pages")
    assert alarm.usual is not None
    assert "earlier spans" in alarm.reason


def test_a_key_that_is_not_one_is_blocked(examples, judge):
    unique = examples(every={"id": lambda row: row})
    verdict = judge(
        examples(every={"id": lambda row: row}, newest={"id": lambda row: row // 2}, name="twice"),
        given={"key": ["id", "age"]},
    )

    assert judge(unique, given={"key": ["id", "pages"]}).ok
    assert "unique id, age" in {check.name for check in verdict.failed}


def test_an_invariant_that_breaks_names_its_columns(examples, judge):
    every = {"city": lambda row: row % 5, "country": lambda row: row % 5 // 2}
    rules = "- determines: {by: [city], column: country}\n"
    verdict = judge(examples(every=every, newest=every | {"country": lambda row: row % 2}), rules=rules)

    broken = next(check for check in verdict.failed if check.name == "city determines country")
    assert broken.column == "country"
    assert "does not hold in" in broken.reason


def test_without_invariants_some_are_proposed_and_none_is_held(examples, judge):
    every = {"city": lambda row: row % 5, "country": lambda row: row % 5 // 2}
    verdict = judge(examples(every=every))

    assert verdict.ok
    assert any(text.startswith("city determines country") for text in verdict.facts["proposals"])


def test_requests_that_are_not_like_the_training_data_are_blocked(examples, judge, curated, tmp_path):
    log = tmp_path / "log"
    served = day(9, device=lambda row: "phone").drop(["clicked"])
    with Examples.writer(log, served.schema, producer="extract") as writer:
        writer.write(NEWEST, served.to_batches())

    verdict = judge(examples(), schema=curated, given={"skew": {"device": 0.3}}, serving=Examples.open(log))

    assert [check.name for check in verdict.failed] == ["skew of device"]
    assert "between training and serving" in verdict.failed[0].reason
    assert not any("clicked" in check.reason for check in verdict.warned)


def test_a_log_without_requests_is_no_reason_to_stop(examples, judge, tmp_path):
    with Examples.writer(tmp_path / "log", day(9).schema, producer="extract") as writer:
        writer.write(NEWEST, [])

    assert judge(examples(), given={"skew": {"device": 0.3}}, serving=Examples.open(tmp_path / "log")).ok


def test_the_ledger_keeps_the_history_and_the_spans_that_are_left(examples, archive, paths, curated, tmp_path):
    uri = ledger_in(tmp_path / "ledger")
    book = Ledger(uri)
    spans = [name_of(i) for i in range(DAYS)]
    run = book.open("clicks", NEWEST, "job-1")
    settings = {"name": "clicks", "label": "clicked", "every": "day", "window": 4, "judge": 2}
    data = examples(faults={2: {"device": lambda row: "fridge"}})
    places = tuple(map(str, (paths.statistics, paths.report)))

    found = gate(data, str(archive(schema_pbtxt=curated)), settings, places, uri, run)

    window = ["2024-03-01", "2024-03-02", "2024-03-04"]
    assert found == (True, window, spans[4:], [*window, *spans[4:]])
    assert book.history("clicks", NEWEST, tmp_path / "kept").is_file()
    assert book.row(run).decisions["data"].facts["left_out"].keys() == {"2024-03-03"}
