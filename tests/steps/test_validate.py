import random
import zipfile
from datetime import date, timedelta

import pyarrow as pa
import pytest

from flywheel.artifacts import Examples, Schema, Statistics
from flywheel.errors import ConfigError, DataError
from flywheel.steps.validate import validate

DAYS = 6
ROWS = 400


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
    def write(newest=None, every=None, missing=()):
        """Return six days of which the last has the faults `newest`, and all have those of `every`."""
        path = tmp_path / "examples"
        tables = [day(i, **(every or {}) | ((newest or {}) if i == DAYS - 1 else {})) for i in range(DAYS)]
        with Examples.writer(path, tables[-1].schema, producer="extract") as writer:
            for i, table in enumerate(tables):
                name = (date(2024, 3, 1) + timedelta(i)).isoformat()
                writer.write(name, [] if i in missing else table.to_batches())
        return Examples.open(path)

    return write


@pytest.fixture
def judge(tmp_path):
    def call(examples, drift=None, label="clicked", schema=None):
        archive = tmp_path / "code.zip"
        with zipfile.ZipFile(archive, "w") as code:
            code.writestr("trainer.py", "")
            if schema is not None:
                code.writestr("schema.pbtxt", schema)
        settings = {"label": label, "drift": drift or {}}
        paths = {name: tmp_path / "out" / name for name in ("statistics", "schema", "report")}
        return validate(examples, archive, settings, **paths)

    return call


@pytest.fixture
def curated(tmp_path, examples, judge):
    """The schema inferred from ordinary days, as people would commit it."""
    judge(examples())
    return Schema.open(tmp_path / "out" / "schema").file.read_text()


def failed(verdict):
    return {(check.name, check.slice) for check in verdict.failed}


def test_ordinary_days_pass_and_every_column_is_checked(examples, judge, tmp_path):
    verdict = judge(examples(), drift={"device": 0.2, "pages": 0.2})

    assert verdict.ok, verdict.why
    names = {check.name for check in verdict.checks}
    assert {"schema of device", "schema of age", "drift of device", "drift of pages", "rows in every span"} <= names
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
    assert "add them to the domain in schema.pbtxt" in verdict.failed[0].remedy
    assert "phablet" in (tmp_path / "out" / "report").read_text()


def test_a_rare_new_category_is_no_alarm(examples, judge, curated):
    assert judge(examples(newest={"device": lambda row: "watch" if row < 8 else "phone"}), schema=curated).ok


def test_a_column_that_is_lost_is_blocked(examples, judge, curated):
    verdict = judge(examples(newest={"pages": lambda row: None}), schema=curated)

    assert ("schema of pages", "span 2024-03-06") in failed(verdict)
    assert {name for name, _ in failed(verdict)} == {"schema of pages"}
    assert "find where the values got lost" in verdict.failed[0].remedy


def test_a_column_of_another_type_is_blocked(examples, judge, curated):
    verdict = judge(examples(every={"device": lambda row: None, "new": lambda row: 1.5}), schema=curated)

    assert ("schema of device", "") in failed(verdict)


def test_a_column_that_the_schema_does_not_know_is_a_warning(examples, judge, curated):
    verdict = judge(examples(every={"extra": lambda row: row}), schema=curated)

    assert verdict.ok
    assert {check.name for check in verdict.warned} == {"schema of extra"}


def test_a_bar_for_a_column_that_the_schema_does_not_know_is_not_overlooked(examples, judge, curated):
    verdict = judge(examples(every={"extra": lambda row: row}), schema=curated, drift={"extra": 0.1})

    assert [check.name for check in verdict.failed] == ["drift of extra"]
    assert "add it to schema.pbtxt" in verdict.failed[0].remedy


def test_drift_is_judged_by_the_thresholds_given(examples, judge):
    data = examples(newest={"device": lambda row: "phone", "pages": lambda row: 100.0 + row})
    verdict = judge(data, drift={"device": 0.3, "pages": 0.3})

    assert failed(verdict) == {("drift of device", "span 2024-03-06"), ("drift of pages", "span 2024-03-06")}
    assert verdict.failed[0].observed > verdict.failed[0].bound == 0.3
    assert "raise gates.data.drift.device" in verdict.failed[0].remedy
    assert judge(data, drift={"device": 0.9}).ok


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
        (lambda row: None if row < 3 else row % 2, "null in 18 of 2,400 rows", "WHERE clicked IS NOT NULL"),
        (lambda row: 0, "is 0 in all 2,400 rows", "take a longer window"),
        (lambda row: row % 3, "has values such as", "give 0 or 1"),
    ],
)
def test_a_label_that_teaches_nothing_is_refused(examples, judge, values, said, remedy):
    with pytest.raises(DataError, match=said) as error:
        judge(examples(every={"clicked": values}))

    assert remedy in error.value.remedy


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
