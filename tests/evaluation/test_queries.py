"""Metrics of rankings: scikit-learn's and TFMA's numbers, and the mean over all orders where scores are tied."""

import itertools
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from flywheel.config import ModelGate
from flywheel.evaluation import gates, metrics
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.predictions import Predictions
from tests.evaluation import tasks


def world(lists=120, rows=12, seed=0, noise=(0.5, 1.5)):
    """Lists of twelve rows with gains 0 to 3; some lists have none."""
    draw = np.random.default_rng(seed)
    count = lists * rows
    gains = np.maximum(draw.integers(-3, 4, count), 0).astype(float)
    gains[: 3 * rows] = 0
    ranked = Groups(range(lists), np.repeat(np.arange(lists), rows))
    days = Groups(tasks.DAYS, np.repeat(draw.integers(0, 14, lists), rows))
    zone = Groups(("any", "none"), np.repeat(draw.integers(0, 2, lists), rows))
    scores = {
        name: gains + draw.normal(0, by, count) for name, by in zip(("candidate", "champion"), noise, strict=True)
    }
    return Predictions(gains, scores, days, {"zone": zone}, "regression", ranked=ranked, tops=(3, 10))


def one(gains, scores, k):
    found = Predictions(
        np.array(gains, float),
        {"candidate": np.array(scores, float)},
        Groups.whole(len(gains)),
        task="regression",
        ranked=Groups((0,), np.zeros(len(gains), int)),
        tops=(k,),
    )
    return metrics.overall(found, "candidate")


def test_without_ties_ndcg_is_scikit_learns_over_lists_that_have_a_gain():
    found = world()
    gains, scores = (values.reshape(120, 12)[3:] for values in (found.labels, found.scores["candidate"]))
    there = gains.max(axis=1) > 0

    overall = metrics.overall(found, "candidate")

    for k in (3, 10):
        theirs = ndcg_score(gains[there], scores[there], k=k, ignore_ties=True)
        assert overall[f"ndcg_{k}"] == pytest.approx(theirs)


def ndcg(gains, k):
    return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains[:k])) or 0.0


def ap(gains, k):
    hits = [gain > 0 for gain in gains]
    worth = [sum(hits[: at + 1]) / (at + 1) for at in range(min(k, len(hits))) if hits[at]]
    return sum(worth) / min(sum(hits), k)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=6), st.integers(1, 7))
@settings(max_examples=150, deadline=None)
def test_ties_count_as_the_mean_over_all_their_orders(rows, k):
    gains, scores = zip(*rows, strict=True)
    found = one(gains, scores, k)
    if not any(gains):
        assert math.isnan(found[f"ndcg_{k}"])
        assert math.isnan(found[f"map_{k}"])
        return
    orders = [
        [gain for gain, _ in order]
        for order in itertools.permutations(rows)
        if all(one[1] >= other[1] for one, other in itertools.pairwise(order))
    ]
    best = ndcg(sorted(gains, reverse=True), k)

    assert found[f"ndcg_{k}"] == pytest.approx(np.mean([ndcg(order, k) / best for order in orders]))
    assert found[f"map_{k}"] == pytest.approx(np.mean([ap(order, k) for order in orders]))


def test_slices_and_left_out_days_are_their_rows_alone():
    found = world()
    by_zone = metrics.by_group(found, "champion", found.slices["zone"])
    weights = np.ones((1, 14))
    weights[0, 3] = 0

    for name in ("ndcg_3", "ndcg_10", "map_3", "map_10"):
        for code in range(2):
            alone = found.select(found.slices["zone"].codes == code)
            assert by_zone[name][code] == pytest.approx(metrics.overall(alone, "champion")[name])
        rest = found.select(found.spans.codes != 3)
        without = metrics.of(found)[name].statistic(found, "champion").at(weights)[0]
        assert without == pytest.approx(metrics.overall(rest, "champion")[name])


def test_a_gate_may_name_a_metric_of_a_ranking():
    better = ModelGate(metric="ndcg_10", no_worse_than="champion", margin=0.01, slices=("zone",))

    assert gates.judge(world(), [better])[0].result == "pass"
    assert gates.judge(world(noise=(1.5, 0.5)), [better])[0].result == "fail"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_without_ties_tfma_has_the_same_ndcg(tmp_path):
    from flywheel.evaluation import tfma_files

    found, file = world(lists=40), tmp_path / "predictions.parquet"
    table = pd.DataFrame({"span": [tasks.DAYS[code] for code in found.spans.codes], "label": found.labels})
    table["zone"] = [found.slices["zone"].keys[code] for code in found.slices["zone"].codes]
    table = table.assign(**found.scores, **{"list query": found.ranked.codes})
    about = b'{"task": "regression", "classes": [], "ranking": {"group": "query", "at": [3, 10]}}'
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata({"flywheel": about}), file)
    (tmp_path / "beam").mkdir()

    theirs = tfma_files.measure_on_beam(file, ["zone"], tmp_path / "beam")
    read = Predictions.read(file)
    ours = tfma_files.measure(read)

    assert (read.tops, len(read.ranked.keys)) == ((3, 10), 40)
    for model, slices in theirs.items():
        for key, values in slices.items():
            for name in ("ndcg_3", "ndcg_10", "mae"):
                assert values[name] == pytest.approx(ours[model][key][name], abs=1e-6), (model, key, name)
    tfma_files.write(read, ours, ["zone"], tmp_path, file.name, "list query")
    import tensorflow_model_analysis as tfma

    mine, reference = (tfma.load_eval_result(str(f), model_name="champion") for f in (tmp_path, tmp_path / "beam"))
    assert mine.config == reference.config
    assert len(mine.slicing_metrics) == len(reference.slicing_metrics) == 3
