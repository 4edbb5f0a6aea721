"""What a trainer is given."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from flywheel.say import say
from flywheel.training.checkpoints import Checkpoints
from flywheel.training.rows import Rows
from flywheel.training.warm_start import OFF, Decision
from flywheel.transform.inputs import Input

_PROGRESS_SECONDS = 5.0


FeatureSpec = Input
"""One input of the model, as the transform stores it and a trainer builds a layer for it."""


def _no_log(metrics: dict[str, float], step: int) -> None:
    """Log nowhere: what a context made by hand, in a notebook or a test, does."""


@dataclass
class TrainContext:
    """Everything that a trainer needs; a trainer returns its fitted model.

    Attributes:
        train: Rows to train on.
        validation: Rows of other spans of the window, or those that `source.split` chose, to stop early and to compare
            on; never the judge's.
        features: The model's inputs, in the order of flywheel.yaml.
        label: Name of the label's column; of several labels all of them, as one text.
        task: `binary`: labels are float32, 0 or 1; `multiclass`: int64, the index of the class; `multilabel`: float32,
            (rows, labels), 0 or 1 each, NaN where a label is not known; `regression`: float32.
        classes: Values of the label in the order of their index, or the labels when there are several; none in a
            regression.
        parameters: `train.parameters` of flywheel.yaml.
        seed: Python, NumPy and the framework are seeded with it already.
        name: Name of the flywheel.
        checkpoints: Keeps what a retry of this step goes on from.
        deadline: When `train.time_budget` is over, in seconds of `clock`; infinite without one.
        device: Where to train: `cpu`, `cuda` or `cuda:1`.
        rank: Number of this process among those that train together; 0 logs and writes checkpoints.
        world: How many processes train together. Each is given its share of every batch.
        load_champion: Loads the model in service; `champion` calls it.
        start: Copies what fits of the model in service into another one; `warm_start` calls it.
        record: Called with metrics and a step; `log` calls it.
        clock: Gives seconds that only grow.
    """

    train: Rows
    validation: Rows
    features: tuple[FeatureSpec, ...]
    label: str
    task: str = "binary"
    classes: tuple[int | str, ...] = (0, 1)
    parameters: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    name: str = "flywheel"
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    deadline: float = math.inf
    device: str = "cpu"
    rank: int = 0
    world: int = 1
    load_champion: Callable[[], Any] = lambda: None
    start: Callable[[Any], Decision] = lambda model: OFF
    record: Callable[[dict[str, float], int], None] = _no_log
    clock: Callable[[], float] = time.monotonic
    _told: float = field(default=-math.inf, init=False, repr=False)

    @cached_property
    def champion(self) -> Any:
        """The model in service, as its trainer returned it, to start from; None when there is none.

        It is also None without `train.warm_start`: a training that asks for it says so by that.

        It is loaded when it is first asked for. Its inputs are those of *its* training window: vocabularies may differ.
        """
        return self.load_champion()

    def warm_start(self, model: Any) -> Decision:
        """Copy what fits of the model in service into `model`, freshly built, and return the decision.

        Nothing is copied unless `train.warm_start` is set. The decision is in the log, in MLflow and with the model.
        """
        decision = self.start(model)
        if self.rank == 0:
            say(str(decision))
        return decision

    @cached_property
    def class_weights(self) -> dict[int, float]:
        """Weight of each class by its index, so that all classes weigh the same together; none for regression.

        As scikit-learn's `balanced`: rows / (classes * rows of the class); 1 for a class without rows. None for several
        labels, of which each is a task of its own.
        """
        if self.task in ("regression", "multilabel"):
            return {}
        counts = self.train.counts(len(self.classes))
        return {
            index: float(sum(counts) / (len(counts) * count)) if count else 1.0 for index, count in enumerate(counts)
        }

    def time_left(self) -> float:
        """Return the seconds until the time budget is over; infinite without one, below 0 when it is."""
        return self.deadline - self.clock()

    def progress(self, done: int, total: int, **figures: float) -> None:
        """Say in the step's log how far training is, at most every few seconds.

        Args:
            done: Steps, or whatever is counted, that are done.
            total: How many there are to do.
            figures: What else to say, as `loss=0.31`.
        """
        now = self.clock()
        if self.rank or (now - self._told < _PROGRESS_SECONDS and done < total):
            return
        self._told = now
        rest = "".join(f", {name} {value:.4g}" for name, value in figures.items())
        say(f"{done:,} of {total:,}{rest}")

    def log(self, metric: str, value: float, step: int = 0) -> None:
        """Log one figure of one step to MLflow."""
        self.log_all({metric: value}, step)

    def log_all(self, metrics: dict[str, float], step: int = 0) -> None:
        """Log several figures of one step to MLflow, at once; of several processes only the first does."""
        if self.rank == 0:
            self.record(metrics, step)
