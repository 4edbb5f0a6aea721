"""Gaps of a rate between groups: found when they are there, and not when they are chance."""

import numpy as np
import pytest
from scipy.stats import binom

from flywheel.config import ModelGate
from flywheel.evaluation import gaps, gates, metrics
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.predictions import Evidence, Predictions

GATE = ModelGate(metric="recall", gap="region", at_most=0.1)
REGIONS = ("east", "north", "south", "west")


def world(draw, missed=0.0, days=14, rows=3000, evidence=None):
    """A model that finds 70% of the positives; in the south, fewer by `missed`."""
    region, day = draw.integers(0, 4, rows), np.sort(draw.integers(0, days, rows))
    labels = (draw.random(rows) < 0.4).astype(np.int64)
    caught = draw.random(rows) < 0.7 - missed * (region == 2) + draw.normal(0, 0.03, days)[day]
    score = np.where(labels == 1, np.where(caught, 0.9, 0.1), np.where(draw.random(rows) < 0.1, 0.8, 0.2))
    spans = Groups(tuple(f"day {number}" for number in range(days)), day)
    slices = {"region": Groups(REGIONS, region)}
    clusters = Groups(range(rows), np.arange(rows)) if evidence else None
    return Predictions(labels, {"candidate": score}, spans, slices, evidence=evidence or Evidence(), clusters=clusters)


def test_a_gap_beyond_the_bar_blocks_and_names_both_groups():
    (check,) = gates.judge(world(np.random.default_rng(0), missed=0.3), [GATE])

    assert (check.result, check.name) == ("fail", "recall gap by region at most 0.1")
    assert "region=south differ by" in check.reason
    assert 0.2 < check.observed < 0.45
    assert check.interval[0] > 0.1


def test_a_gap_that_can_be_chance_is_a_warning_and_a_small_one_passes():
    found = world(np.random.default_rng(1), missed=0.1)
    strict = GATE.model_copy(update={"at_most": 0.09})
    wide = GATE.model_copy(update={"at_most": 0.3})

    assert gaps.check(found, strict).result == "warn"
    assert gaps.check(found, wide).result == "pass"


@pytest.mark.parametrize("evidence", [None, Evidence("rows"), Evidence("rows", "bootstrap")])
def test_groups_that_differ_by_the_bar_at_most_are_rarely_blocked(evidence):
    draw, count = np.random.default_rng(2), 40 if evidence and evidence.test == "bootstrap" else 100
    found = [gaps.check(world(draw, missed=0.1, rows=1500, evidence=evidence), GATE).result for _ in range(count)]

    assert found.count("fail") <= binom.ppf(0.999, count, 0.05)


def test_groups_too_small_to_judge_are_said():
    check = gaps.check(world(np.random.default_rng(3), rows=300), GATE.model_copy(update={"minimum_rows": 200}))

    assert check.result == "pass"
    assert check.reason == "not judged: fewer than two groups by region have 200 rows and a defined recall"


def test_the_table_has_every_group_the_lowest_first():
    found = world(np.random.default_rng(0), missed=0.3)
    rows = gaps.table(found, GATE)

    assert rows[0]["region"] == "south"
    assert [set(row) for row in rows] == [{"region", "rows", "candidate"}] * 4
    south = found.slices["region"].codes == 2
    assert rows[0]["candidate"] == pytest.approx(metrics.overall(found.select(south), "candidate")["recall"])


@pytest.mark.parametrize(
    "wrong", [{"at_least": 0.1}, {"at_most": 0.1, "slices": ["region"]}, {"no_worse_than": "champion", "margin": 0.1}]
)
def test_a_gap_without_its_bar_is_refused(wrong):
    with pytest.raises(ValueError, match="gap needs at_most"):
        ModelGate.model_validate({"metric": "recall", "gap": "region", **wrong})
