"""What a look at what serving sees says of ordinary days, and of days with a fault."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from flywheel.errors import ConfigError, DataError, LedgerError
from flywheel.serving.traffic import Traffic, bucket, quantile, read
from tests.monitoring.worlds import NAME, TRAINED, Shop, name_of
from tests.profiles.worlds import day

LAST = TRAINED + 14


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


def true_auc():
    """Return the area under the curve of the shop's own chance, on many rows."""
    (rows,) = day(0, 100_000)
    return roc_auc_score(rows.column(0).to_numpy(), rows.column(3).to_numpy())


def served(shop, until=LAST, **options):
    for index in range(TRAINED + 1, until):
        shop.serve(index, **options)
    return shop


def test_ordinary_days_are_fine_and_their_quality_is_what_it_was_judged_at(shop):
    served(shop).serve(LAST)

    outcome, row, report = shop.monitor(LAST)

    assert outcome == row.outcome == "fine", row.why
    facts = row.decisions["monitor"].facts
    assert facts["low"] < true_auc() < facts["high"]
    assert "Live quality" in report
    assert "<script" not in report


def test_values_that_are_gone_are_an_alert_and_name_the_column(shop):
    served(shop).serve(LAST, price=lambda values: np.full(len(values), np.nan))

    outcome, row, _ = shop.monitor(LAST)

    assert outcome == "alert"
    assert row.why.startswith("nulls of price is 100.00%")


def test_requests_that_moved_away_from_training_ask_for_a_new_model(shop):
    served(shop).serve(LAST - 1)
    shop.monitor(LAST - 1)
    shop.serve(LAST, price=lambda values: values * 1.6)

    outcome, row, _ = shop.monitor(LAST)

    assert outcome == "retrain"
    assert row.why.startswith("price of requests: distance from the training window")
    assert row.decisions["monitor"].facts["skewed"] == ["price"]


def test_what_differs_from_training_since_the_first_request_is_no_reason_to_retrain(shop):
    for index in range(TRAINED + 1, LAST + 1):
        shop.serve(index, price=lambda values: values * 1.6)
    shop.monitor(LAST - 1)

    outcome, row, _ = shop.monitor(LAST)

    assert outcome == "alert"
    assert "it was so from the first requests that were looked at" in row.why


def test_predictions_that_got_worse_ask_for_a_new_model_once_that_is_shown(shop):
    served(shop, noise=1.0).serve(LAST, noise=1.0)

    outcome, row, _ = shop.monitor(LAST)

    assert outcome == "retrain"
    assert row.why.startswith("live auc is 0.")
    assert "the champion was judged at 0.7500, and 0.02 is the margin" in row.why


def test_labels_that_never_come_are_an_alert(shop):
    served(shop, never=1.0).serve(LAST, never=1.0)

    outcome, row, _ = shop.monitor(LAST)

    assert outcome == "alert"
    assert row.why.startswith("no label has come for any of 4,200 rows")


def test_without_labels_nothing_is_said_of_quality(shop):
    served(shop).serve(LAST)

    outcome, row, report = shop.monitor(LAST, labels=False)

    assert outcome == "fine"
    assert "live" not in row.decisions["monitor"].facts
    assert "names no SQL file that gives labels" in report


def test_a_log_that_was_cut_off_is_read_as_far_as_it_is_whole(shop):
    served(shop)
    folder = shop.serve(LAST)
    whole = (folder / "part-0.parquet").read_bytes()
    (folder / "part-1.parquet").write_bytes(whole[: len(whole) // 2])
    (folder / "more.jsonl").write_text(
        '{"flywheel_request": "x", "flywheel_row": 0, "flywheel_time": "'
        + name_of(LAST)
        + 'T10:00:00Z", "flywheel_version": "1", "price": 500.0, "prediction": 0.5}\n{"flywheel_request": "y", "fly'
    )

    outcome, row, report = shop.monitor(LAST)

    assert outcome == "fine"
    assert row.decisions["monitor"].facts["rows"] == 301
    assert "1 files: part-1.parquet and 1 lines of the log cannot be read and are left out" in report


def test_looking_twice_leaves_one_row_and_the_same_answer(shop):
    served(shop).serve(LAST)
    first, *_ = shop.monitor(LAST)
    again, *_ = shop.monitor(LAST)

    assert first == again
    assert len(shop.ledger.rows(NAME, "monitor")) == 1
    assert len(shop.ledger.rows(NAME)) == 1  # looks are no tries to train


def test_a_day_without_requests_is_an_alert_and_no_requests_at_all_an_error(shop):
    served(shop)

    assert shop.monitor(LAST)[1].why.startswith(f"no requests were logged in {name_of(LAST)}")
    with pytest.raises(DataError, match=r"have `deploy\.log` keep requests"):
        shop.monitor(LAST + 100)


def test_a_flywheel_without_champion_says_so(shop):
    shop.ledger.client.delete_registered_model_alias(NAME, "champion")

    with pytest.raises(LedgerError, match="`flywheel run` until one is promoted"):
        shop.monitor(LAST)


def test_an_id_that_is_not_logged_is_named(shop):
    served(shop).serve(LAST)

    with pytest.raises(ConfigError, match=r"monitor\.id names the column 'order', which the requests"):
        shop.monitor(LAST, id=["order"])


def test_traffic_is_counted_by_minute_and_read_again_from_lines_that_are_whole(tmp_path):
    now = [1_700_000_000.0]
    traffic = Traffic(lambda: now[0])
    for _ in range(99):
        traffic.answered("1", 2, 0.01)
    traffic.answered("1", 2, 1.0)
    traffic.failed("1", 500)
    traffic.failed("1", 422)
    traffic.write(tmp_path, 60.0, whole=True)
    (file,) = tmp_path.rglob("traffic-*.jsonl")
    with file.open("a") as cut:
        cut.write('{"minute": "2023-11-')

    found, broken = read(tmp_path, ["2023-11-14"])
    (minute,) = found.values()

    assert (minute.answered, minute.rows, minute.refused, minute.failed, broken) == (100, 200, 1, 1, 1)
    assert quantile(minute.seconds, 0.5) == pytest.approx(0.01, rel=0.12)
    assert quantile(minute.seconds, 0.999) == pytest.approx(1.0)
    assert bucket(0.0) == -100


def test_a_service_that_fails_is_an_alert(shop):
    served(shop).serve(LAST)
    traffic = Traffic(lambda: (np.datetime64(name_of(LAST)) - np.datetime64(0, "s")).astype(int).item() + 3600.0)
    for place in range(300):
        traffic.answered("1", 1, 0.005)
        if place % 10 == 0:
            traffic.failed("1", 500)
    traffic.write(shop.requests, 60.0, whole=True)

    outcome, row, report = shop.monitor(LAST, p99_ms=1.0)

    assert outcome == "alert"
    assert row.why == "the model failed 30 of 330 requests (9.09%), at most 1.00% are accepted (and 1 more)"
    assert "one request in a hundred takes 5.01 ms and more, at most 1 ms are accepted" in report
