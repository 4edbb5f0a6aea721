"""Two engines, one meaning: what is computed in process is what TFMA computes on Beam."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel.evaluation.predictions import Predictions
from tests.evaluation import worlds

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # TFMA's own divisions by zero

SLICES = ("carrier", "hour")


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    """2,000 rows: ties, missing slice values, a slice of one class (hour 8), predictions of 0 and 1 in one slice."""
    frame = worlds.rows(2000)
    draw = np.random.default_rng(1)
    scores = 1 / (1 + np.exp(1 - frame[worlds.SIGNAL]))
    table = pd.DataFrame({"span": frame["span"], "label": frame["late"], "carrier": frame["carrier"]})
    table["hour"] = frame["hour"]
    table["candidate"] = scores
    table["champion"] = np.clip(scores + draw.normal(0, 0.1, len(scores)), 0.01, 0.99).round(2)
    certain = (table["carrier"] == "HA").to_numpy()
    table.loc[certain, "candidate"] = (table["candidate"][certain] > 0.4).astype(float)
    file = tmp_path_factory.mktemp("judged") / "predictions.parquet"
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), file)
    return file


@pytest.mark.slow
@pytest.mark.parametrize("models", [("candidate", "champion"), ("candidate",)])
def test_both_engines_give_the_same_numbers_and_files_that_read_the_same(predictions, models, tmp_path):
    from flywheel.evaluation import tfma_files

    folders = {engine: tmp_path / engine for engine in ("local", "beam")}
    for folder in folders.values():
        folder.mkdir()
    file = tmp_path / "predictions.parquet"
    pq.write_table(pq.read_table(predictions, columns=["span", "label", *SLICES, *models]), file)
    reference = tfma_files.measure_on_beam(file, SLICES, folders["beam"])
    judged = Predictions.read(file)
    found = tfma_files.measure(judged)
    tfma_files.write(judged, found, SLICES, folders["local"], file.name)

    assert {model: set(slices) for model, slices in found.items()} == {m: set(s) for m, s in reference.items()}
    for model, slices in reference.items():
        assert len(slices) == 1 + 4 + 4
        for key, metrics in slices.items():
            assert found[model][key] == pytest.approx(metrics, abs=1e-6, nan_ok=True), (model, key)
    assert_read_the_same(*folders.values(), names=models if len(models) > 1 else (None,))


def assert_read_the_same(local, beam, names):
    import tensorflow_model_analysis as tfma

    for name in (None, *names):
        ours, theirs = (tfma.load_eval_result(str(folder), model_name=name) for folder in (local, beam))
        assert ours.config == theirs.config
        assert ours.model_location in ("candidate", "champion")
        assert len(ours.slicing_metrics) == len(theirs.slicing_metrics) == 9
        for key, metrics in theirs.slicing_metrics:
            assert flat(ours.get_metrics_for_slice(key)) == pytest.approx(flat(metrics[""][""]), abs=1e-6, nan_ok=True)


def flat(metrics):
    return {name: float(value["doubleValue"]) for name, value in metrics.items()}


def test_tfma_opens_what_was_measured_in_process_with_the_champion_as_baseline(predictions, tmp_path):
    import tensorflow_model_analysis as tfma

    from flywheel.evaluation import tfma_files

    found = Predictions.read(predictions)
    tfma_files.write(found, tfma_files.measure(found), SLICES, tmp_path, predictions.name)

    opened = tfma.load_eval_result(str(tmp_path), model_name="champion")
    assert [(spec.name, spec.is_baseline) for spec in opened.config.model_specs] == [
        ("candidate", False),
        ("champion", True),
    ]
    assert 0.6 < opened.get_metrics_for_slice(())["auc"]["doubleValue"] < 0.9
    difference = tfma.load_eval_result(str(tmp_path)).get_metrics_for_slice(())["auc_diff"]["doubleValue"]
    assert difference == pytest.approx(
        tfma.load_eval_result(str(tmp_path), model_name="candidate").get_metrics_for_slice(())["auc"]["doubleValue"]
        - opened.get_metrics_for_slice(())["auc"]["doubleValue"]
    )
