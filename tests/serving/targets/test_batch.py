"""Rows of a warehouse scored by packaged models through Beam, into tables; scikit-learn's, which are quick to load."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel.config import Batch
from flywheel.errors import ArtifactError, ConfigError, DataError, ServingError
from flywheel.serving import inference, parts, pyfunc, rows, scoring
from flywheel.serving.targets import open_target
from flywheel.spans import Span
from flywheel.training.sklearn import matrix
from tests.serving.targets.conftest import packaged
from tests.training.worlds import batch_of
from tests.transform import worlds

SPAN = Span(datetime(2013, 6, 1))
QUERY = "SELECT id, size, hour, word FROM visits WHERE at >= @start AND at < @end ORDER BY id"


def visits(file, rows, days=(1, 2), **changed):
    """Write a table of a Parquet warehouse: `rows` a day, numbered, of which `changed` has other values."""
    tables = []
    for day in days:
        batch = batch_of(rows, seed=day)
        columns = dict(zip(batch.schema.names, batch.columns, strict=True)) | changed
        columns |= {"id": pa.array(range(rows)), "at": pa.array([datetime(2013, 6, day, 12)] * rows)}
        tables.append(pa.table(columns))
    pq.write_table(pa.concat_tables(tables), file)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    folder = tmp_path_factory.mktemp("visits")
    visits(folder / "visits.parquet", 300)
    return f"parquet:///{folder}"


@pytest.fixture
def settings(warehouse, tmp_path):
    def make(**given):
        asked = {"target": "batch", "into": str(tmp_path / "scores"), "columns": ("id",), **given}
        return Batch.model_validate({"query": QUERY, "warehouse": warehouse, **asked})

    return make


@pytest.fixture
def target(settings):
    return lambda **given: open_target(settings(**given).text(), "flights")


def of_duckdb(file, table="predictions"):
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.sql(f"SELECT * FROM {table} ORDER BY id").to_arrow_table()


def test_a_promoted_version_scores_its_span_as_it_answers_anywhere(target, forest, registry):
    placed = target().put(registry.promote(1, forest))

    assert placed.changed
    assert placed.facts == {"span": "2013-06-01", "rows scored": 300, "rows left out": 0}
    rows = pq.read_table(f"{placed.endpoint}/2013-06-01.parquet")
    assert rows.column_names == ["id", "prediction", "flywheel_span", "flywheel_version"]
    assert rows["id"].to_pylist() == list(range(300))
    assert rows["prediction"].to_numpy() == pytest.approx(pyfunc.load(forest.path).outputs(batch_of(300, seed=1)))
    assert set(rows["flywheel_version"].to_pylist()) == {"1"}
    assert set(rows["flywheel_span"].to_pylist()) == {datetime(2013, 6, 1, tzinfo=UTC)}


@pytest.mark.parametrize("kind", ["parquet", "duckdb"])
def test_what_is_done_is_not_done_again_and_a_later_version_takes_the_rows_place(
    target, forest, registry, tmp_path, kind, monkeypatch
):
    into = str(tmp_path / "scores") if kind == "parquet" else f"duckdb:///{tmp_path}/scores.duckdb"
    table = target(into=into)
    first, scored = registry.promote(1, forest), []
    monkeypatch.setattr("flywheel.serving.targets.batch.score", lambda *a: scored.append(a) or scoring.score(*a))
    assert table.current() is None

    table.score(first, SPAN)
    table.score(first, SPAN.shift(1))
    again = table.score(first, SPAN)
    assert (len(scored), again.changed, again.facts["rows scored"]) == (2, False, 300)

    table.score(first, SPAN, again=True)
    table.score(registry.promote(2, forest), SPAN)
    assert len(scored) == 4
    assert table.current().version == "1"  # of the newest span
    reads = f"'{into}/predictions/*.parquet'" if kind == "parquet" else "predictions"
    with duckdb.connect(str(tmp_path / "scores.duckdb") if kind == "duckdb" else ":memory:") as connection:
        counts = f"SELECT flywheel_version, count(*), count(DISTINCT id) FROM {reads} GROUP BY ALL ORDER BY ALL"
        assert connection.sql(counts).fetchall() == [("1", 300, 300), ("2", 300, 300)]


def test_without_columns_everything_of_the_query_is_kept(target, forest, registry, tmp_path):
    placed = target(columns=()).put(registry.promote(1, forest))

    rows = pq.read_table(f"{placed.endpoint}/2013-06-01.parquet")
    assert rows.column_names == ["id", "size", "hour", "word", "prediction", "flywheel_span", "flywheel_version"]


def test_several_classes_give_the_likeliest_and_the_chance_of_each(classes_state, settings, tmp_path):
    from sklearn.linear_model import LogisticRegression

    rows = batch_of(300, seed=1)
    labels = np.arange(300) % 3
    model = LogisticRegression().fit(matrix(classes_state.apply_batch(rows)), labels)
    model = packaged(model, "sklearn", classes_state, tmp_path / "model")
    (tmp_path / "work").mkdir()

    made = scoring.score(model.path, "1", settings(), SPAN, tmp_path / "work")

    found = pq.read_table(made.good)
    names = [f"probability_{name}" for name in ("high", "low", "middle")]
    assert found.column_names == ["id", "prediction", *names, "flywheel_span", "flywheel_version"]
    chances = np.stack([found[name].to_numpy() for name in names], axis=1)
    assert chances.sum(axis=1) == pytest.approx(1)
    assert found["prediction"].to_pylist() == np.array(["high", "low", "middle"])[chances.argmax(1)].tolist()


class Moody:
    """A scikit-learn model that fails on a batch with some rows in it, and gives no number for others."""

    classes_ = np.array([0, 1])

    def predict_proba(self, rows):
        if (rows[:, 0] > MOODY["fails"]).any():
            raise ValueError("index out of range")
        chance = np.where(rows[:, 0] < MOODY["nan"], np.nan, 0.25)
        return np.stack([1 - chance, chance], axis=1)


MOODY = {"fails": np.inf, "nan": -np.inf}


@pytest.fixture
def moody(forest, monkeypatch):
    """The forest's transform before a model with moods: give sizes, as the model sees them, that it does not like."""
    real = pyfunc.load

    def load(folder):
        predictor = real(folder)
        predictor.model = Moody()
        return predictor

    monkeypatch.setattr(pyfunc, "load", load)
    yield lambda **moods: MOODY.update(moods)
    MOODY.update(fails=np.inf, nan=-np.inf)


def test_rows_that_cannot_be_scored_are_kept_apart_with_the_reason(target, moody, forest, registry, tmp_path):
    into = f"duckdb:///{tmp_path}/scores.duckdb"
    order = registry.promote(1, forest)
    size = np.sort(matrix(pyfunc.load(forest.path).inputs(batch_of(300, seed=1)))[:, 0])
    moody(fails=size[-3] - 1e-6, nan=size[1] + 1e-6)

    placed = target(into=into, bad_rows_at_most=0.05).put(order)

    assert placed.verdict.ok
    assert placed.facts == {"span": "2013-06-01", "rows scored": 295, "rows left out": 5}
    assert {(row["reason"], row["rows"]) for row in placed.tables["Rows left out"]} == {
        ("the model fails: ValueError: index out of range", 3),
        ("the model gives no number", 2),
    }
    good = of_duckdb(tmp_path / "scores.duckdb")
    dead = of_duckdb(tmp_path / "scores.duckdb", "predictions_dead_letters")
    assert sorted(good["id"].to_pylist() + dead["id"].to_pylist()) == list(range(300))
    assert set(good["prediction"].to_pylist()) == {0.25}
    assert {"size", "hour", "word", "flywheel_reason", "flywheel_version"} <= set(dead.column_names)

    moody(fails=np.inf, nan=-np.inf)
    target(into=into).score(order, SPAN, again=True)
    assert of_duckdb(tmp_path / "scores.duckdb").num_rows == 300
    assert of_duckdb(tmp_path / "scores.duckdb", "predictions_dead_letters").num_rows == 0


def test_too_many_bad_rows_leave_the_table_as_it_was(target, moody, forest, registry, tmp_path):
    table = target(bad_rows_at_most=0.01)
    table.put(registry.promote(1, forest))
    moody(nan=0.0)

    placed = table.score(registry.promote(2, forest), SPAN)

    assert not placed.verdict.ok
    assert not placed.changed
    assert (
        "of 300 rows of 2013-06-01 could not be scored: 'prediction': the model gives no number" in placed.verdict.why
    )
    rows = pq.read_table(f"{placed.endpoint}/2013-06-01.parquet")
    assert set(rows["flywheel_version"].to_pylist()) == {"1"}
    assert "predictions_dead_letters" in placed.checks[0].remedy


def test_a_model_that_fails_on_every_row_is_an_error_and_no_heap_of_dead_letters(target, moody, forest, registry):
    moody(fails=-np.inf)

    with pytest.raises(DataError, match=r"fails on more than 100 rows of a batch: ValueError: index out of range"):
        target().put(registry.promote(1, forest))


@pytest.fixture
def list_model(tmp_path):
    """A model of an embedding, and twenty rows of which two have one of another length."""
    from sklearn.linear_model import LogisticRegression

    vectors = [[float(row), 1.0] for row in range(20)]
    labels = pa.array([row % 2 for row in range(20)])

    def rows(values):
        return pa.RecordBatch.from_arrays([pa.array(values, pa.list_(pa.float32())), labels], ["vector", "label"])

    analysis = worlds.Analysis([{"column": "vector", "as": "embedding", "dim": 2}], "label")
    analysis.add(rows(vectors))
    state = analysis.finish(rows(vectors).schema)
    model = LogisticRegression().fit(matrix(state.apply_batch(rows(vectors))), labels.to_numpy())
    model = packaged(model, "sklearn", state, tmp_path / "model", rows(vectors).slice(0, 5))
    vectors[3] = vectors[7] = [1.0]
    table = pa.Table.from_batches([rows(vectors)]).append_column("id", pa.array(range(20)))
    return model, table.append_column("at", pa.array([datetime(2013, 6, 1, 12)] * 20))


def test_rows_that_the_transform_cannot_read_are_dead_letters_too(list_model, tmp_path):
    model, rows = list_model
    pq.write_table(rows, tmp_path / "visits.parquet")
    asked = Batch(
        target="batch", into=str(tmp_path), query=QUERY.replace("size, hour, word", "vector"), columns=("id",)
    ).model_copy(update={"warehouse": f"parquet:///{tmp_path}/visits.parquet"})
    (tmp_path / "work").mkdir()

    made = scoring.score(model.path, "1", asked, SPAN, tmp_path / "work")

    assert made.rows == 18
    ((feature, reason),) = made.bad
    assert feature == "vector"
    assert pq.read_table(made.dead)["id"].to_pylist() == [3, 7]
    assert pq.read_table(made.dead)["flywheel_reason"].to_pylist() == [reason] * 2


LOADS, _LOAD = [], pyfunc.load


def counted(folder):
    """Load a model, and count it; workers find this by its name."""
    LOADS.append(folder)
    return _LOAD(folder)


def test_models_are_loaded_once_for_all_batches_which_arrive_in_order(settings, forest, tmp_path, monkeypatch):
    LOADS.clear()
    monkeypatch.setattr(pyfunc, "load", counted)
    monkeypatch.setattr(parts, "PART", 100)
    monkeypatch.setattr(parts, "batch_rows", lambda schema: 40)
    visits(tmp_path / "visits.parquet", 1000, days=(1,))
    asked = settings(warehouse=f"parquet:///{tmp_path}/visits.parquet")
    (tmp_path / "work").mkdir()

    made = scoring.score(forest.path, "1", asked, SPAN, tmp_path / "work")

    assert len(LOADS) == 1
    assert len(list((tmp_path / "work" / "answers").iterdir())) > 20
    assert pq.read_table(made.good)["id"].to_pylist() == list(range(1000))


def test_whoever_comes_late_changes_nothing(target, forest, registry):
    late = registry.promote(1, forest)
    table = target()
    table.put(registry.promote(2, forest))

    with pytest.raises(ServingError, match="the champion is version 2"):
        table.put(late)

    assert table.current().version == "2"


def test_a_warehouse_that_is_scored_may_be_written_to(target, forest, registry, tmp_path):
    file = tmp_path / "warehouse.duckdb"
    visits(tmp_path / "visits.parquet", 50)
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"CREATE TABLE visits AS SELECT * FROM '{tmp_path}/visits.parquet'")

    target(warehouse=f"duckdb:///{file}", into=f"duckdb:///{file}").put(registry.promote(1, forest))

    assert of_duckdb(file).num_rows == 50


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"query": QUERY.replace("word", "'a' AS wort")}, DataError, "the model needs the column 'word'"),
        ({"columns": ("ID",)}, DataError, "deploy.columns names the column 'ID'"),
        (
            {"query": QUERY.replace("id,", "id, 1 AS prediction,"), "columns": ()},
            DataError,
            "`prediction AS prediction_`",
        ),
        ({"query": QUERY.replace("@start", "'2014-01-01'")}, rows.NotArrived, "no rows in span 2013-06-01"),
        ({"into": "duckdb:////dev/null/x.duckdb"}, ConfigError, "cannot be written to"),
    ],
)
def test_wrong_input_is_named(target, forest, registry, given, error, message):
    with pytest.raises(error, match=message):
        target(**given).put(registry.promote(1, forest))


def test_a_model_that_flywheel_did_not_package_is_refused(target, forest, registry, tmp_path):
    from tests.serving.toys import toy

    with pytest.raises(ArtifactError, match="none that Flywheel packaged"):
        target().put(registry.promote(1, toy(tmp_path / "toy", "1.0")))


@pytest.mark.slow
def test_two_processes_of_dask_give_the_rows_of_this_one(settings, forest, tmp_path):
    from distributed import LocalCluster

    results = []
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        dask = [
            "--runner=apache_beam.runners.dask.dask_runner.DaskRunner",
            f"--dask_client_address={cluster.scheduler_address}",
            "--dask_npartitions=2",
        ]
        for number, beam in enumerate([[], dask, [f"--temp_location={tmp_path}/shared", *dask]]):
            work = tmp_path / f"work-{number}"
            work.mkdir()
            made = scoring.score(forest.path, "1", settings(beam=beam), SPAN, work)
            results.append(pq.read_table(made.good))

    assert results[0].num_rows == 300
    assert results[0] == results[1] == results[2]
    assert list((tmp_path / "shared").iterdir()) == []


def test_a_reply_without_rows_or_an_error_passes_through_the_handler(forest):
    handler = inference.PackagedModels({"model": str(forest.path)}, pyfunc.load, None)
    wrong = DataError("a shard is damaged")

    assert handler.run_inference([wrong], {}) == [wrong]
    assert handler.get_num_bytes([wrong]) == 0


@pytest.mark.parametrize(
    "given",
    [
        {"target": "batch", "into": "duckdb:///x.duckdb"},
        {"target": "batch", "into": "duckdb:///x.duckdb", "query": QUERY},
        {"target": "index", "folder": "x", "id": "id", "layer": "embedding", "warehouse": "parquet:///x"},
    ],
)
def test_a_target_without_a_query_or_a_warehouse_is_refused(given):
    with pytest.raises(ServingError, match=f"the target '{given['target']}' has no query of rows(.|\n)*`warehouse`"):
        open_target(json.dumps(given), "flights")


def test_a_download_that_is_not_what_was_registered_scores_nothing(target, forest, registry, tmp_path):
    order = registry.promote(1, forest)
    order = replace(order, champion=replace(order.champion, digest="of another model"))

    with pytest.raises(ArtifactError, match="is not the model that was registered"):
        target().put(order)

    assert not (tmp_path / "scores").exists()


def test_rows_that_a_runner_loses_are_missed(target, forest, registry, monkeypatch):
    monkeypatch.setattr(inference, "infer", lambda *_: [])

    with pytest.raises(ServingError, match="gave back 0 of 300 rows"):
        target().put(registry.promote(1, forest))
