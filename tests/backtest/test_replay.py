"""What would have been trained, promoted and served; models are real answers on disk, policies the project's own."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest

from flywheel import config
from flywheel.backtest import Line, replay
from flywheel.backtest.bench import Trial, spans_needed
from flywheel.backtest.data import DataGate
from flywheel.config import Retrain
from flywheel.retraining import weigh
from flywheel.spans import Span

DAYS = [Span.parse("2013-06-01").shift(number).name for number in range(60)]
ROWS = 300


@dataclass
class World:
    """Models that are what they are said to be: one of age `a` knows the label by `1.5 - decay * a`."""

    project: config.Project
    decay: float = 0.0
    broken: tuple[str, ...] = ()
    truth: str = ""
    asked: list = field(default_factory=list)

    def trial(self, span, window):
        self.asked.append((span, tuple(window)))
        return Trial(span, tuple(window), seconds=2.0)

    def prepare(self, wanted):
        pass

    def predictions(self, trial, spans, part="judge"):
        parts = [self._rows(trial, span) for span in spans]
        return pa.concat_tables(parts)

    def _rows(self, trial, span):
        rng = np.random.default_rng(int(span.replace("-", "")))
        labels = rng.integers(0, 2, ROWS)
        noise = rng.normal(0, 1, ROWS)
        age = DAYS.index(span) - DAYS.index(trial.span)
        skill = 0.0 if trial.span in self.broken else 1.5 - self.decay * max(age, 0)
        score = 1 / (1 + np.exp(-(skill * (labels - 0.5) + noise)))
        return pa.table({"span": [span] * ROWS, "label": labels, "candidate": score})


@pytest.fixture
def project():
    gates = [{"metric": "auc", "at_least": 0.6}, {"metric": "auc", "no_worse_than": "champion", "margin": 0.02}]
    return config.Project.model_validate(
        {
            "name": "demo",
            "source": {"warehouse": "duckdb:///w.duckdb", "query": "q.sql", "window": 7, "judge": 7},
            "label": "late",
            "features": [{"column": "x", "as": "numeric"}],
            "gates": {"model": gates},
        }
    )


@pytest.fixture
def run(project):
    def call(policy, *, gated=True, bad=None, empty=(), decide=weigh, **world):
        there = World(project, **world)
        rows = dict.fromkeys(DAYS, ROWS) | dict.fromkeys(empty, 0)
        data = None if bad is None else DataGate(bad, None, None, rows)
        line = Line(Retrain.parse(policy), 7, gated)
        return replay(line, DAYS[14:], there, data, decide), there

    return call


def test_a_span_is_served_by_the_model_that_stood_at_its_start(run):
    found, _ = run("never")

    assert found.trained == [DAYS[14]]
    assert found.spans == DAYS[15:]
    assert len(found.values) == len(found.spans)
    assert np.mean(found.values) == pytest.approx(0.85, abs=0.03)


def test_a_period_trains_that_often(run):
    found, _ = run("every=7d")

    assert found.trained == DAYS[14::7]
    assert found.seconds == 2.0 * len(found.trained)


def test_a_model_that_decays_is_worth_retraining(run):
    never, _ = run("never", decay=0.02)
    weekly, _ = run("every=7d", decay=0.02)

    assert np.mean(weekly.values) > np.mean(never.values) + 0.03


def test_decay_is_noticed_and_costs_fewer_trainings_than_every_day(run):
    found, _ = run("on_decay,cooldown=7d", decay=0.03)
    steady, _ = run("on_decay,cooldown=7d")

    assert 2 <= len(found.trained) <= 8
    assert len(steady.trained) <= 2


def test_cost_follows_what_trainings_gained(run):
    steady, _ = run("cost_aware=0.03")
    decaying, _ = run("cost_aware=0.03", decay=0.03)

    assert len(steady.trained) < len(decaying.trained)


def test_a_worse_model_is_kept_back_by_the_gates_alone(run):
    broken = tuple(DAYS[20:30])
    gated, _ = run("always", broken=broken)
    ungated, _ = run("always", broken=broken, gated=False)

    assert not set(broken) & set(gated.promoted)
    assert set(broken) <= set(ungated.promoted)
    assert np.mean(ungated.values) < np.mean(gated.values) - 0.05


def test_bad_spans_reject_their_run_and_are_left_out_of_later_windows(run):
    bad = {DAYS[20]: "half of it is missing"}
    found, world = run("always", bad=bad)

    assert found.rejected == [DAYS[20]]
    assert found.decisions[DAYS[20]] == "data-rejected: half of it is missing"
    assert DAYS[20] not in found.trained
    windows = dict(world.asked)
    assert windows[DAYS[30]] == (*DAYS[16:20], *DAYS[21:24])  # the 24th to the 30th judge


def test_without_gates_bad_spans_are_trained_on(run):
    found, world = run("always", gated=False, bad={DAYS[20]: "half of it is missing"})

    assert found.rejected == []
    assert DAYS[20] in dict(world.asked)[DAYS[30]]


def test_what_is_read_reaches_back_to_the_first_window():
    needed = spans_needed(Span.parse("2013-06-22"), Span.parse("2013-06-24"), 7, 14)

    assert (needed[0], needed[-1], len(needed)) == ("2013-06-02", "2013-06-24", 23)


def test_a_bad_week_costs_its_own_days_alone(run):
    week = DAYS[30:37]
    found, world = run("always", bad=dict.fromkeys(week, "half of it is missing"))

    assert found.rejected == week
    assert found.trained[-1] == DAYS[-1]
    assert all(len(window) == 7 and not set(window) & set(week) for _, window in world.asked)
    assert dict(world.asked)[DAYS[40]] == (*DAYS[20:27],)  # judged on the 27th to the 29th and the 37th to the 40th


def test_a_run_that_would_have_to_look_too_far_back_is_rejected_as_the_data_gate_would(run):
    bad = dict.fromkeys(DAYS[20:40], "half of it is missing")
    found, _ = run("always", bad=bad)

    why = f"only 1 of 7 spans to train on are left: 20 of the 28 up to {DAYS[44]} are bad"
    assert found.decisions[DAYS[44]] == f"data-rejected: {why}"
    assert found.decisions[DAYS[50]].startswith(("promoted", "kept-champion"))


def test_a_span_without_rows_is_not_ready_and_keeps_its_place(run):
    found, world = run("always", bad={}, empty=[DAYS[20]])

    assert (found.decisions[DAYS[20]], found.rejected) == ("not-ready: it has no rows", [])
    assert dict(world.asked)[DAYS[30]] == (*DAYS[17:24],)


def test_a_policy_sees_how_many_rows_are_new(run):
    seen = []

    def policy(retrain, evidence):
        seen.append((evidence.age, evidence.new_rows, evidence.window_rows))
        return weigh(retrain, evidence)

    run("every=7d", bad={}, decide=policy)

    assert all(new == age * ROWS and window == 7 * ROWS for age, new, window in seen)
