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
    def call(policy, *, gated=True, bad=None, decide=weigh, **world):
        there = World(project, **world)
        data = None if bad is None else DataGate(bad, None, None, dict.fromkeys(DAYS, ROWS))
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
    assert DAYS[20] not in windows[DAYS[30]]
    assert len(windows[DAYS[30]]) == 6


def test_without_gates_bad_spans_are_trained_on(run):
    found, world = run("always", gated=False, bad={DAYS[20]: "half of it is missing"})

    assert found.rejected == []
    assert DAYS[20] in dict(world.asked)[DAYS[30]]


def test_what_is_read_reaches_back_to_the_first_window():
    needed = spans_needed(Span.parse("2013-06-22"), Span.parse("2013-06-24"), 7, 14)

    assert (needed[0], needed[-1], len(needed)) == ("2013-06-02", "2013-06-24", 23)


def test_a_run_of_which_too_many_spans_are_bad_is_rejected_as_the_data_gate_would(run):
    bad = dict.fromkeys(DAYS[20:23], "half of it is missing")
    found, _ = run("always", bad=bad)

    assert found.decisions[DAYS[25]] == ("data-rejected: 3 of 7 spans of judge are bad; at most 25% may be left out")
    assert "spans of window are bad" in found.decisions[DAYS[31]]
    assert found.decisions[DAYS[40]].startswith(("promoted", "kept-champion"))


def test_a_policy_sees_how_many_rows_are_new(run):
    seen = []

    def policy(retrain, evidence):
        seen.append((evidence.age, evidence.new_rows, evidence.window_rows))
        return weigh(retrain, evidence)

    run("every=7d", bad={}, decide=policy)

    assert all(new == age * ROWS and window == 7 * ROWS for age, new, window in seen)
