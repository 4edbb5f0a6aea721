"""Models asked by Beam's workers: the very predictions that this process makes, or the very error."""

import tempfile
from pathlib import Path

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel.artifacts import Examples
from flywheel.errors import DataError
from flywheel.evaluation import by_beam
from flywheel.evaluation.answers import PredictionError
from flywheel.evaluation.predict import Wanted, write
from flywheel.steps.analyze import analyze
from flywheel.transform import runners
from tests.evaluation import worlds
from tests.serving.targets.conftest import classes_state, packaged  # noqa: F401 - a fixture
from tests.training.worlds import batch_of

pytestmark = pytest.mark.filterwarnings("ignore:.*input example:UserWarning")
JUDGE = list(worlds.DAYS[4:])


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
    return worlds.examples(tmp_path_factory.mktemp("data") / "examples", worlds.rows())


def both_ways(examples, spans, label, folders, tmp_path, task="binary", beam=()):
    """Return the predictions that this process writes, and those by Beam."""
    models = {name: mlflow.pyfunc.load_model(str(folder)) for name, folder in folders.items()}
    write(examples, spans, models, Wanted(label, task), tmp_path / "here.parquet")
    with tempfile.TemporaryDirectory() as scratch, runners.job(beam, Path(scratch), None) as job:
        models = by_beam.predicted(examples, spans, label, folders, task, job)
        write(examples, spans, models, Wanted(label, task), tmp_path / "there.parquet")
    return pq.read_table(tmp_path / "here.parquet"), pq.read_table(tmp_path / "there.parquet")


def test_workers_give_the_predictions_of_this_process_row_by_row(flights, tmp_path):
    folders = {
        "candidate": worlds.model(tmp_path / "candidate").path,
        "champion": worlds.model(tmp_path / "champion", weight=-0.3).path,
    }

    here, there = both_ways(flights, JUDGE, "late", folders, tmp_path)

    assert here.num_rows == flights.rows_of(JUDGE)
    assert here == there


def test_several_classes_come_back_in_their_order(classes_state, tmp_path):  # noqa: F811
    from sklearn.linear_model import LogisticRegression

    from flywheel.training.sklearn import matrix

    rows = batch_of(90, seed=1)
    words = pa.array(["middle", "low", "high"] * 30)
    rows = pa.RecordBatch.from_arrays([*rows.columns[:3], words], rows.schema.names)
    with Examples.writer(tmp_path / "examples", rows.schema, producer="extract") as writer:
        for span in ("2013-06-01", "2013-06-02"):
            writer.write(span, [rows])
    fitted = LogisticRegression().fit(matrix(classes_state.apply_batch(rows)), np.arange(90) % 3)
    model = packaged(fitted, "sklearn", classes_state, tmp_path / "model")
    examples = Examples.open(tmp_path / "examples")

    here, there = both_ways(examples, examples.spans, "label", {"candidate": model.path}, tmp_path, task="multiclass")

    assert here == there
    assert here["candidate"].type.list_size == 3


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nan", "gives 3 of .* rows no probability, as nan"),
        ("short", "rows with .* predictions"),
        ("raises", "fails on the judge's rows: KeyError: 'no such layer'"),
    ],
)
def test_what_is_wrong_with_a_model_is_said_as_in_this_process(flights, tmp_path, fault, message):
    folders = {"candidate": worlds.model(tmp_path / "candidate", fault=fault).path}

    with runners.job((), tmp_path, None) as job, pytest.raises(PredictionError, match=message):
        by_beam.predicted(flights, JUDGE, "late", folders, "binary", job)


def test_a_model_that_does_not_load_is_named(flights, tmp_path):
    folder = worlds.model(tmp_path / "candidate").path
    (folder / "data" / "candidate-data" / "logistic.json").unlink()

    with runners.job((), tmp_path, None) as job, pytest.raises(PredictionError, match="candidate does not load: File"):
        by_beam.predicted(flights, JUDGE, "late", {"candidate": folder}, "binary", job)


def test_a_column_that_is_not_there_is_named_before_anything_runs(flights, tmp_path):
    folders = {"candidate": worlds.model(tmp_path / "candidate", columns=("weather",)).path}

    with runners.job((), tmp_path, None) as job, pytest.raises(DataError, match="needs the column 'weather'"):
        by_beam.predicted(flights, JUDGE, "late", folders, "binary", job)


def test_rows_that_a_runner_loses_are_missed(flights, tmp_path):
    folders = {"candidate": worlds.model(tmp_path / "candidate").path}
    with runners.job((), tmp_path, None) as job:
        models = by_beam.predicted(flights, JUDGE[1:], "late", folders, "binary", job)

        with pytest.raises(PredictionError, match="has answered fewer rows than there are"):
            write(flights, JUDGE, models, Wanted("late"), tmp_path / "there.parquet")


@pytest.mark.slow
def test_two_processes_of_dask_that_see_no_file_of_this_one_predict_alike(flights, tmp_path):
    from distributed import LocalCluster

    folders = {"candidate": worlds.model(tmp_path / "candidate").path}
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        dask = [
            "--runner=apache_beam.runners.dask.dask_runner.DaskRunner",
            f"--dask_client_address={cluster.scheduler_address}",
            "--dask_npartitions=4",
            f"--temp_location={tmp_path}/shared",
        ]
        here, there = both_ways(flights, JUDGE, "late", folders, tmp_path, beam=dask)

    assert here == there
    assert list((tmp_path / "shared").iterdir()) == []


@pytest.mark.long
def test_an_analysis_by_beam_alone_is_that_of_this_process(flights, tmp_path):
    settings = {"label": "late", "slices": ["carrier"]}
    by = {"engine": "beam", "beam": [f"--temp_location={tmp_path}/shared"]}
    model = worlds.model(tmp_path / "model")
    here = analyze(flights, model, "", JUDGE[:4], settings, "", tmp_path / "here")
    there = analyze(flights, model, "", JUDGE[:4], settings | {"analyze": by}, "", tmp_path / "there")

    overall = [each.manifest.facts["overall"]["candidate"] for each in (here, there)]
    assert overall[1] == pytest.approx(overall[0], abs=1e-6)
    files = [{file.name for file in each.path.iterdir()} for each in (here, there)]
    assert {"predictions.parquet", "eval_config.json"} <= files[0] & files[1]
    assert list((tmp_path / "shared").iterdir()) == []
