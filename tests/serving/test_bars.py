"""What a trial found, against the bars of the serving gate."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.config import ServingGate
from flywheel.serving.bars import judge
from flywheel.serving.outside import Outcome

FOUND = {
    "load_seconds": 1.0,
    "example": 1,
    "latency": [{"batch": 1, "p50_ms": 2.0, "p99_ms": 9.0, "spread": [[1, 3], [8, 10]], "calls": 500, "repeats": 5}],
    "throughput": {"rows": 3, "per_second": 1000.0, "repeats": 5},
    "memory_mb": 300.0,
}
SCORES = [0.1, 0.5, 0.9]


def judged(tmp_path, now=None, then=None, found=FOUND, stage="done", **gate):
    expected = pa.table({"candidate": SCORES if then is None else then})
    answers = pa.table({"prediction": SCORES}) if now is None else now
    return {
        check.name: check
        for check in judge(ServingGate(**gate), Outcome(found, stage, "", answers), expected, tmp_path)
    }


@pytest.mark.parametrize(
    ("key", "bar", "name"),
    [
        ("p50_ms", 2.0, "p50 of a call with 1 row"),
        ("p99_ms", 9.0, "p99 of a call with 1 row"),
        ("memory_mb", 300.0, "resident memory"),
        ("throughput", 1000.0, "throughput"),
    ],
)
def test_a_bar_is_cleared_up_to_the_bar_itself(tmp_path, key, bar, name):
    worse = bar * 1.01 if key == "throughput" else bar * 0.99

    assert judged(tmp_path, **{key: bar})[name].result == "pass"
    failed = judged(tmp_path, **{key: worse})[name]
    assert (failed.result, failed.bound) == ("fail", worse)
    assert f"gates.serving.{key}" in failed.remedy
    assert judged(tmp_path)[name].reason.endswith("; no bar")


def test_the_size_is_that_of_all_files(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "weights").write_bytes(b"x" * 2_000_000)

    assert judged(tmp_path, max_mb=2)["size on disk"].result == "pass"
    assert judged(tmp_path, max_mb=1.9)["size on disk"].observed == 2.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model's folder, whose size is taken each time: the same empty one for all examples."""
    return tmp_path_factory.mktemp("model")


@given(share=st.floats(-1e-5, 1e-5), score=st.floats(1e-3, 1))
@settings(max_examples=200, deadline=None)
def test_predictions_are_the_same_up_to_a_millionth(folder, share, score):
    now = pa.table({"prediction": [score * (1 + share)]})
    check = judged(folder, now, [score])["same predictions as analyze"]

    if abs(share) < 0.99e-6:
        assert check.result == "pass"
    if abs(share) > 1.01e-6 + 1e-9 / score:
        assert check.result == "fail"


def test_probabilities_of_classes_are_held_against_a_list_of_them(tmp_path):
    now = pa.table({"prediction": ["a", "b"], "probability_a": [0.9, 0.2], "probability_b": [0.1, 0.8]})

    assert judged(tmp_path, now, [[0.9, 0.1], [0.2, 0.8]])["same predictions as analyze"].result == "pass"
    wrong = judged(tmp_path, now, [[0.9, 0.1], [0.8, 0.2]])["same predictions as analyze"]
    assert "1 of 2 rows are predicted otherwise than in analyze, as 0.8 then and 0.2 now" in wrong.reason


def test_parity_is_left_out_when_it_is_not_asked_for(tmp_path):
    assert "same predictions as analyze" not in judged(tmp_path, then=[0.0, 0.0, 0.0], parity=False)


def test_a_model_without_an_example_is_warned_of(tmp_path):
    found = judged(tmp_path, found=FOUND | {"example": 0})["answers its input example"]

    assert (found.result, found.reason) == ("warn", "it has no input example")


def test_a_trial_that_ends_early_fails_where_it_ended(tmp_path):
    checks = judged(tmp_path, found={"load_seconds": 1.0, "example": 1}, stage="speed")

    assert [check.name for check in checks.values() if check.result == "fail"] == ["answers in time"]
    assert "throughput" not in checks
