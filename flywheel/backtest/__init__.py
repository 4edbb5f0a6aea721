"""Replays a project's history under several retraining policies: which model would have served, and at what cost.

Models are real: each is extracted, transformed, trained and asked by the project's own steps, once for each span and
window that any policy wants, whatever policy wants it. What differs between policies is replayed.
"""

from flywheel.backtest.bench import Bench, Trial
from flywheel.backtest.compare import Comparison, compared
from flywheel.backtest.replay import Line, Replayed, replay

__all__ = ["Bench", "Comparison", "Line", "Replayed", "Trial", "compared", "replay"]
