"""Two versions side by side: what is said of their outcomes, and of the shares of the requests."""

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel.errors import ConfigError, DataError
from flywheel.monitoring.experiment import compare, render
from flywheel.monitoring.log import Log
from flywheel.spans import Span

START = datetime(2024, 1, 1)
SETTINGS = {"id": ["flywheel_request"], "arrived": "arrived", "delay": 3600.0}
DAYS = 8


def experiment(folder, noise, share=0.5, rows=800, versions=("1", "2"), **options):
    """Return what is said of two versions, the second of which predicts with more or less `noise`."""
    chance = np.random.default_rng(0)
    ids, truths, times = [], [], []
    for index in range(DAYS):
        start = START + timedelta(index)
        at = np.datetime64(start, "us") + (chance.random(rows) * 8.6e10).astype("timedelta64[us]")
        second = chance.random(rows) < share
        rate = chance.random(rows)
        label = (chance.random(rows) < rate).astype(float)
        score = np.clip(rate + chance.normal(0, np.where(second, noise, 0.2)), 0, 1)
        name = [f"{index}-{place}" for place in range(rows)]
        path = folder / f"day={start:%Y-%m-%d}"
        path.mkdir(parents=True)
        columns = {
            "flywheel_request": pa.array(name),
            "flywheel_time": pa.array(at).cast(pa.timestamp("us", "UTC")),
            "flywheel_version": pa.array(np.where(second, "2", "1")),
            "prediction": pa.array(score),
        }
        pq.write_table(pa.table(columns), path / "part.parquet")
        ids += name
        truths.append(label)
        times.append(at + np.timedelta64(10, "m"))
    columns = [pa.array(ids), pa.array(np.concatenate(truths)), pa.array(np.concatenate(times))]
    labels = iter([pa.RecordBatch.from_arrays(columns, ["flywheel_request", "y", "arrived"])])
    spans = Span.parse(f"{START + timedelta(DAYS - 1):%Y-%m-%d}").back(DAYS)
    with Log.of_folder(folder, spans) as log:
        return compare(log, labels, SETTINGS, "binary", "y", versions, **options)


def test_a_version_that_predicts_worse_is_found_and_the_report_tells_it_day_by_day(tmp_path):
    found = experiment(tmp_path, noise=0.5)

    (ratio, effect) = found.verdict.checks
    assert (ratio.result, effect.result) == ("pass", "fail")
    assert effect.reason.startswith("version 2 is worse: mean squared error 0.")
    assert len(found.looks) == DAYS
    widths = [look.effect.high - look.effect.low for look in found.looks]
    assert widths == sorted(widths, reverse=True)
    report = render(found, "flights")
    assert "version 2 beside version 1" in report
    assert "<script" not in report


def test_a_version_that_predicts_better_passes(tmp_path):
    found = experiment(tmp_path, noise=0.0)

    assert found.verdict.ok
    assert found.verdict.checks[1].reason.startswith("version 2 is better")


def test_two_that_are_alike_are_left_undecided(tmp_path):
    found = experiment(tmp_path, noise=0.2)

    assert found.verdict.checks[1].result == "undecided"
    assert found.verdict.checks[1].reason.startswith("no difference is shown")


def test_shares_that_were_not_meant_come_first_and_are_not_to_be_believed(tmp_path):
    found = experiment(tmp_path, noise=0.0, share=0.45)

    assert found.verdict.failed[0].name == "sample ratio"
    assert "50.00% were meant" in found.verdict.why
    assert "Not to be believed" in render(found, "flights")


def test_a_version_that_answered_nothing_is_named(tmp_path):
    with pytest.raises(DataError, match="version '2' answered no request of 2024-01-01 to 2024-01-08, only 1 did"):
        experiment(tmp_path, noise=0.0, share=0.0)


def test_a_version_is_not_compared_with_itself(tmp_path):
    with pytest.raises(ConfigError, match="version '1' is to be compared with itself"):
        experiment(tmp_path, noise=0.0, versions=("1", "1"))
