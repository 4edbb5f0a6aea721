"""Rows by streams, pages and files: the same rows, in the same order, whatever breaks on the way."""

import pytest

from flywheel import warehouse as warehouses
from flywheel.artifacts import Examples
from flywheel.errors import ConfigError, SQLError
from flywheel.steps.extract import extract
from flywheel.warehouse import Options
from flywheel.warehouse.bigquery import types, warehouse
from tests.stand_ins.bigquery.types import field
from tests.warehouse.bigquery.conftest import QUERY, SPAN, URL

EXPORT = "gs://exports/flywheel"


def digest(path, bigquery, **source):
    extract(QUERY, URL, [SPAN.name], ["id"], {"every": "day", "bigquery": source}, "", path)
    return Examples.open(path).digest


def test_streams_pages_and_files_give_the_same_bytes(bigquery, tmp_path):
    streams = digest(tmp_path / "streams", bigquery)
    pages = digest(tmp_path / "pages", bigquery, storage_api=False)
    files = digest(tmp_path / "files", bigquery, export=EXPORT, export_over=0)

    assert streams == pages == files
    assert bigquery.calls["storage.CreateReadSession"] == 1
    assert bigquery.calls["objects.delete"] == 2


def test_rows_are_read_by_several_streams(bigquery, rows):
    assert len(rows()) == 720
    assert len({stream for method, (stream, *_) in asked(bigquery, "storage.ReadRows")}) == 3


def test_a_broken_stream_is_taken_up_where_it_broke(bigquery, rows):
    whole = rows()
    bigquery.fail("broken_stream", times=3)

    assert rows() == whole
    taken_up = [offset for _, (_, offset) in asked(bigquery, "storage.ReadRows") if offset]
    assert len(taken_up) == 3
    assert set(taken_up) <= {50, 100, 150}  # a stream may break twice


def test_a_stream_that_is_lost_for_good_is_read_anew_from_the_same_job(bigquery, tmp_path):
    whole = digest(tmp_path / "whole", bigquery)
    bigquery.fail("lost_stream")

    assert digest(tmp_path / "again", bigquery) == whole
    assert bigquery.calls["storage.CreateReadSession"] == 3
    assert len(bigquery.submitted) == 1


@pytest.mark.parametrize("storage_api", [True, False])
def test_a_large_result_streams_in_even_batches_and_the_same_order(bigquery, monkeypatch, storage_api):
    monkeypatch.setattr(warehouse, "SORTED", 0)
    monkeypatch.setattr(types, "ROWS", 100)

    def ask():
        with warehouses.open(URL, Options(storage_api=storage_api)) as source:
            return list(source.batches(QUERY, SPAN))

    batches = ask()

    assert [batch.num_rows for batch in batches] == [100] * 7 + [20]
    assert sorted(id for batch in batches for id in batch.column(0).to_pylist()) == list(range(1440, 2160))
    assert all(a.equals(b) for a, b in zip(batches, ask(), strict=True))


def test_who_asks_for_an_order_gets_it_by_one_stream(bigquery, rows):
    found = rows(QUERY + " ORDER BY id DESC")

    assert [row["id"] for row in found] == list(range(2159, 1439, -1))
    assert [streams for _, (_, streams) in asked(bigquery, "storage.CreateReadSession")] == [1]


def test_where_the_storage_api_is_denied_rows_come_by_rest_and_it_is_said(bigquery, rows, capsys):
    whole = rows()
    bigquery.fail("storage_denied")

    assert rows() == whole
    assert bigquery.calls["tabledata.list"] == 1
    assert "the Storage Read API is not allowed" in capsys.readouterr().out


def test_a_stand_in_without_a_storage_api_is_not_looked_for_at_google(bigquery, rows, monkeypatch):
    monkeypatch.delenv("BIGQUERY_STORAGE_EMULATOR_HOST")

    assert len(rows()) == 720
    assert bigquery.calls["tabledata.list"] == 1


def test_who_stops_reading_leaves_no_thread_behind(bigquery, monkeypatch):
    import threading

    monkeypatch.setattr(warehouse, "SORTED", 0)
    monkeypatch.setattr(types, "ROWS", 10)
    with warehouses.open(URL) as source:
        batches = source.batches(QUERY, SPAN)
        next(batches)
        batches.close()

        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("bigquery ")]


def test_a_span_without_rows_has_no_batches(bigquery, rows):
    assert rows(QUERY + " AND id < 0") == []


def test_only_a_result_over_the_bound_is_exported(bigquery, rows):
    rows(export=EXPORT, export_over=10**9)

    assert "objects.list" not in bigquery.calls


def test_an_export_is_one_more_job_and_leaves_nothing_behind(bigquery, rows):
    assert len(rows(export=EXPORT, export_over=100)) == 720

    asked_for = [job["configuration"]["query"]["query"] for job in bigquery.submitted]
    assert asked_for[1].startswith("EXPORT DATA OPTIONS (uri = 'gs://exports/flywheel/flywheel-")
    assert not [file for file in bigquery.buckets.rglob("*") if file.is_file()]


def test_an_export_that_was_not_read_to_its_end_is_read_again_not_made_again(bigquery, rows):
    bigquery.fail("objects_denied")
    with pytest.raises(ConfigError) as error:
        rows(export=EXPORT, export_over=100)

    assert "Storage Object" in error.value.remedy
    assert len(rows(export=EXPORT, export_over=100)) == 720
    assert len(bigquery.submitted) == 2


def test_an_export_of_which_a_file_is_gone_is_not_taken_for_the_whole(bigquery, rows):
    bigquery.fail("objects_denied")
    with pytest.raises(ConfigError):
        rows(export=EXPORT, export_over=100)
    next(file for file in bigquery.buckets.rglob("*.parquet")).unlink()  # killed while it cleaned up

    assert len(rows(export=EXPORT, export_over=100)) == 720
    assert len(bigquery.submitted) == 3


def test_an_export_that_was_cleaned_up_is_made_anew(bigquery, rows):
    first = rows(export=EXPORT, export_over=100)

    assert rows(export=EXPORT, export_over=100) == first
    assert [job["jobReference"]["jobId"][-1] for job in bigquery.submitted] == ["0", "0", "1"]


def test_a_result_that_is_too_large_to_be_given_back_is_exported(bigquery, rows):
    bigquery.fail("late_failure", with_="responseTooLarge")

    assert len(rows(export=EXPORT)) == 720
    assert len(rows(export=EXPORT)) == 720
    assert len(bigquery.submitted) == 3  # the query once, each reading an export
    assert "FOR SYSTEM_TIME AS OF" in bigquery.submitted[1]["configuration"]["query"]["query"]


def test_a_result_that_is_too_large_without_a_place_to_export_to_says_so(bigquery, rows):
    bigquery.fail("late_failure", with_="responseTooLarge")

    with pytest.raises(SQLError, match="too large") as error:
        rows()

    assert "set `source.bigquery.export`" in error.value.remedy


def test_text_types_inside_of_others_are_streamed_for_parquet_files_would_change_them(bigquery, rows):
    bigquery.put(
        "my-project.shop.nested",
        "SELECT DATE '2024-03-03' AS day, ['{\"a\":1}'] AS js",
        fields=[field("js", "JSON", "REPEATED")],
    )

    found = rows("SELECT js FROM nested WHERE day >= @start AND day < @end", export=EXPORT, export_over=0)

    assert found == [{"js": ['{"a":1}']}]
    assert "objects.list" not in bigquery.calls


def test_an_export_folder_that_is_none_is_refused(bigquery, rows):
    with pytest.raises(ConfigError, match=r"`source\.bigquery\.export` is '/data'") as error:
        rows(export="/data", export_over=0)

    assert "gs://bucket/path" in error.value.remedy


def asked(bigquery, method):
    return [each for each in bigquery.asked if each[0] == method]
