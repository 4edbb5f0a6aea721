"""Slices in which the candidate is worse are found without being asked for, and chance is not taken for them."""

import numpy as np
import pyarrow as pa
import pytest

from flywheel.evaluation import worst
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.predictions import Predictions
from flywheel.evaluation.worst import checks, find, grouped

DAYS = 14


def world(seed, harmed=None, task="binary", days=DAYS, rows=300):
    """Predictions of two models, equal but for the rows that `harmed` chooses of carrier, origin and heat."""
    draw = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows)
    columns = {
        "carrier": draw.choice(list("ABCDEFGH"), len(day)),
        "origin": draw.choice(["EWR", "JFK", "LGA"], len(day)),
        "heat": draw.normal(60, 10, len(day)),
    }
    signal = draw.normal(size=len(day))
    labels = (draw.random(len(day)) < 1 / (1 + np.exp(-signal))).astype(np.int64)
    noise = [draw.normal(0, 0.5, len(day)) + draw.normal(0, 0.1, days)[day] for _ in range(2)]
    bad = harmed(**columns) if harmed else np.zeros(len(day), bool)
    candidate = np.where(bad, draw.normal(size=len(day)), signal + noise[0])
    scores = [1 / (1 + np.exp(-each)) for each in (candidate, signal + noise[1])]
    searched = {name: grouped(pa.chunked_array([pa.array(values)])) for name, values in columns.items()}
    spans = Groups(tuple(f"day {each:02d}" for each in range(days)), day)
    return Predictions(
        labels, dict(zip(("candidate", "champion"), scores, strict=True)), spans, {}, task, searched=searched
    )


def test_a_slice_of_one_column_is_found_and_confirmed_with_its_figures():
    found = world(0, lambda carrier, **_: carrier == "C")
    first = find(found, 100)[0]
    rows = found.searched["carrier"].codes == found.searched["carrier"].keys.index("C")
    brier = {name: ((found.scores[name] - found.labels)[rows] ** 2).mean() for name in ("candidate", "champion")}

    assert first.slice == "carrier=C"
    assert first.confirmed
    assert first.rows == rows.sum()
    assert (first.loss, first.theirs) == (pytest.approx(brier["candidate"]), pytest.approx(brier["champion"]))
    assert first.interval[0] < first.loss - first.theirs < first.interval[1]
    assert first.interval[0] > 0


def test_a_pair_is_found_where_neither_column_alone_says_as_much():
    found = find(world(1, lambda carrier, origin, **_: (carrier == "C") & (origin == "JFK"), rows=1500), 100)

    assert found[0].confirmed
    assert found[0].slice in ("carrier=C, origin=JFK", "carrier=C")
    assert "carrier=C, origin=JFK" in [each.slice for each in found if each.confirmed]


def test_a_range_of_a_number_is_found():
    found = find(world(2, lambda heat, **_: heat > 69), 100)

    assert found[0].confirmed
    assert found[0].slice.startswith("heat=6")


def test_of_equal_models_hardly_ever_a_slice_is_confirmed():
    told = [any(each.confirmed for each in find(world(seed), 100)) for seed in range(60)]

    assert sum(told) <= 7  # 5% of 60, and chance


def test_too_few_spans_or_no_champion_find_nothing():
    found = world(0, lambda carrier, **_: carrier == "C")
    alone = Predictions(found.labels, {"candidate": found.scores["candidate"]}, found.spans, searched=found.searched)

    assert find(alone, 100) == []
    assert find(world(0, lambda carrier, **_: carrier == "C", days=9), 100) == []


@pytest.mark.parametrize(("severity", "result"), [("warn", "warn"), ("block", "fail")])
def test_only_what_is_confirmed_is_a_check(severity, result):
    told = find(world(0, lambda carrier, **_: carrier == "C"), 100)
    made = checks(told, severity)

    assert len(made) == sum(each.confirmed for each in told)
    assert (made[0].slice, made[0].result) == ("carrier=C", result)
    assert "found on one half of the spans, confirmed on the other" in made[0].reason


def test_values_are_grouped_and_numbers_cut_in_fifths():
    words = grouped(pa.chunked_array([pa.array(["b", None, "a", "b"])]))
    numbers = grouped(pa.chunked_array([pa.array([*map(float, range(100)), None])]))

    assert [words.keys[code] if code >= 0 else None for code in words.codes] == ["b", None, "a", "b"]
    assert len(numbers.keys) == 5
    assert numbers.keys[0] == "0 to 19.8"
    assert np.bincount(numbers.codes[:-1]).tolist() == [20] * 5
    assert numbers.codes[-1] == -1
    assert len(grouped(pa.chunked_array([pa.array([f"v{number}" for number in range(80)])])).keys) == 50


def test_other_tasks_have_losses_of_their_own():
    found = world(0)
    regression = Predictions(found.labels.astype(float), found.scores, found.spans, {}, "regression")
    both = {name: np.stack([1 - values, values], axis=1) for name, values in found.scores.items()}
    multiclass = Predictions(found.labels, both, found.spans, {}, "multiclass", ("0", "1"))

    assert worst._losses(regression, "candidate") == pytest.approx(np.abs(found.labels - found.scores["candidate"]))
    assert worst._losses(multiclass, "candidate") == pytest.approx(2 * worst._losses(found, "candidate"))
