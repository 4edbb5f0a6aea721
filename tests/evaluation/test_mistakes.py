"""The worst mistakes are the rows with the largest loss, whole, without what is redacted."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.evaluation import mistakes
from flywheel.evaluation.mistakes import Mistakes


def batch(count, seed=0):
    draw = np.random.default_rng(seed)
    names = pa.array(draw.choice(["UA", "DL"], count)).dictionary_encode()
    return pa.RecordBatch.from_pydict(
        {
            "late": pa.array(draw.integers(0, 2, count)),
            "carrier": names,
            "loss": pa.array(draw.normal(size=count)),
            "email": pa.array([f"a{index}@b.c" for index in range(count)]),
            "photo": pa.array([b"jpeg"] * count, pa.binary()),
            "tags": pa.array([["x"]] * count),
        }
    )


def of_a_day(rows):
    return pa.array(["2013-06-01"] * len(rows))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(1, 9), st.integers(1, 20))
@settings(max_examples=100, deadline=None)
def test_however_rows_come_in_batches_the_worst_are_kept(scores, count, size):
    rows, chances = batch(len(scores)), np.array(scores)
    labels = rows.column(0).to_numpy()
    seen = Mistakes("late", count)
    for start in range(0, len(scores), size):
        part = rows.slice(start, size)
        seen.look(of_a_day(part), part, part.column(0), {"candidate": pa.array(chances[start : start + size])}, ())

    worst = np.sort(np.abs(chances - labels))[::-1][:count]
    kept = seen._kept["loss"].to_pylist() if seen._kept is not None else []
    assert kept == pytest.approx(worst[worst > 0])


def test_rows_are_whole_but_for_what_is_redacted_nested_or_bytes(tmp_path):
    rows = batch(50)
    seen = Mistakes("late", 5, ["email"])
    scores = pa.array(np.linspace(0, 1, 50))
    seen.look(of_a_day(rows), rows, rows.column(0), {"candidate": scores, "champion": scores}, ())
    seen.write(tmp_path)

    found = mistakes.read(tmp_path)

    assert len(found) == 5
    assert list(found[0]) == ["loss", "span", "label", "candidate", "champion", "carrier", "loss_"]
    assert found[0]["loss"] == pytest.approx(abs(found[0]["label"] - found[0]["candidate"]))
    assert found[0]["carrier"] in ("UA", "DL")
    assert "@b.c" not in str(found)


def test_of_several_classes_the_likeliest_is_shown(tmp_path):
    chances = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.9, 0.1, 0.0]])
    answer = pa.FixedSizeListArray.from_arrays(pa.array(chances.ravel()), 3)
    rows = pa.RecordBatch.from_pydict({"kind": pa.array(["a", "b", "b"]), "size": pa.array([1, 2, 3])})
    seen = Mistakes("kind", 2)
    seen.look(of_a_day(rows), rows, pa.array([0, 1, 1]), {"candidate": answer}, ("a", "b", "c"))
    seen.write(tmp_path)

    assert mistakes.read(tmp_path) == [
        {"loss": 0.9, "span": "2013-06-01", "label": "b", "candidate": "c", "size": 2},
        {"loss": 0.9, "span": "2013-06-01", "label": "b", "candidate": "a", "size": 3},
    ]


def test_none_are_kept_when_none_are_asked_for(tmp_path):
    rows = batch(5)
    seen = Mistakes("late", 0)
    seen.look(of_a_day(rows), rows, rows.column(0), {"candidate": pa.array([0.5] * 5)}, ())
    seen.write(tmp_path)

    assert mistakes.read(tmp_path) == []
