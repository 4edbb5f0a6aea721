"""A judge that was let in on the answer is not believed."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.artifacts import Examples
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.leaks import checks, rows_seen
from flywheel.evaluation.predictions import Predictions

SPANS = ("2013-06-01", "2013-06-02", "2013-06-03", "2013-06-04")


def examples(path, spans):
    """Examples whose rows are pairs of a number and a word, by span."""
    schema = pa.schema([("x", pa.float64()), ("word", pa.string())])
    with Examples.writer(path, schema, producer="extract") as writer:
        for span, rows in zip(SPANS, spans, strict=True):
            columns = [pa.array([x for x, _ in rows], pa.float64()), pa.array([word for _, word in rows], pa.string())]
            writer.write(span, [pa.RecordBatch.from_arrays(columns, schema=schema)])
    return Examples.open(path)


pairs = st.tuples(st.none() | st.sampled_from([0.0, 1.0, 2.5]), st.none() | st.sampled_from(["a", "b", "é"]))


@given(st.lists(st.lists(pairs, max_size=8), min_size=4, max_size=4), st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_rows_that_stand_in_earlier_spans_are_counted(tmp_path_factory, spans, days):
    found = rows_seen(examples(tmp_path_factory.mktemp("data") / "examples", spans), SPANS[-days:])
    judged, earlier = [row for span in spans[-days:] for row in span], [span for span in spans[:-days] if span]
    trained = {row for span in earlier for row in span}
    before = {row for span in earlier[:-1] for row in span}
    last = earlier[-1] if earlier else []

    assert found["share"] == pytest.approx(np.mean([row in trained for row in judged]) if judged else 0)
    assert found["usual"] == pytest.approx(np.mean([row in before for row in last]) if last else 0)


def predictions(candidate, champion=None, labels=None, task="binary"):
    scores = {"candidate": np.asarray(candidate)} | ({} if champion is None else {"champion": np.asarray(champion)})
    spans = Groups(SPANS[:2], np.arange(len(candidate)) % 2)
    return Predictions(np.asarray(labels), scores, spans, {}, task)


def only(made, name):
    [check] = [check for check in made if check.name == name]
    return check


def world(noise, seed=0):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, 2000)
    return labels, np.clip(labels + draw.normal(0, noise, 2000), -3, 4) / 7 + 0.4


def test_many_rows_that_were_trained_on_are_refused_with_their_share():
    labels, scores = world(2.0)
    check = only(checks(predictions(scores, labels=labels), {"share": 0.2, "usual": 0.001}, {}), "rows trained on")

    assert check.result == "fail"
    assert check.reason.startswith("20.00% of the judge's rows stand, as they are, in what the model was trained on")
    assert "gates.leak.rows_at_most" in check.remedy


def test_rows_that_always_repeat_are_no_leak():
    labels, scores = world(2.0)
    found = predictions(scores, labels=labels)

    assert only(checks(found, {"share": 0.5, "usual": 0.45}, {}), "rows trained on").result == "pass"
    assert only(checks(found, {"share": 0.5, "usual": 0.1}, {"rows_at_most": 0.6}), "rows trained on").result == "pass"


def test_a_gain_that_no_honest_model_makes_is_refused():
    labels, champion = world(2.0)
    _, leaking = world(0.2)
    check = only(checks(predictions(leaking, champion, labels), None, {"jump": 1.5}), "plausible gain")

    assert check.result == "fail"
    assert "auc goes from the champion's 0.6" in check.reason
    assert "known only after the label" in check.remedy


def test_a_good_gain_is_believed_and_a_first_model_too():
    labels, champion = world(2.0)
    _, better = world(1.3)

    assert only(checks(predictions(better, champion, labels), None, {}), "plausible gain").result == "pass"
    assert checks(predictions(better, labels=labels), None, {}) == ()


def test_an_error_that_falls_to_a_tenth_is_refused():
    truth = np.random.default_rng(0).normal(size=500)
    off = np.random.default_rng(1).normal(size=500)
    made = checks(predictions(truth + off / 10, truth + off, truth, "regression"), None, {})

    assert only(made, "plausible gain").result == "fail"
    assert only(made, "plausible gain").observed == pytest.approx(np.log(10))
