"""What a trainer is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from flywheel.training.rows import Rows


@dataclass(frozen=True)
class FeatureSpec:
    """One input of the model.

    Attributes:
        name: Its name in the rows and in the model's inputs.
        kind: Of the feature that it is from, as in flywheel.yaml.
        cardinality: One more than the largest index, the size of an embedding's table; None for a number.
        shape: Of one row: () for a scalar, (dim,) for a vector, (height, width, channels) for an image.
        dtype: Of its values, as NumPy calls it.
    """

    name: str
    kind: str
    cardinality: int | None
    shape: tuple[int, ...] = ()
    dtype: str = "float32"


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
        label: Name of the label's column.
        task: `binary`: labels are float32, 0 or 1; `multiclass`: int64, the index of the class; `regression`: float32.
        classes: Values of the label in the order of their index; none in a regression.
        parameters: `train.parameters` of flywheel.yaml.
        seed: Python, NumPy and the framework are seeded with it already.
        name: Name of the flywheel.
        load_champion: Loads the model in service; `champion` calls it.
        record: Called with metrics and a step; `log` calls it.
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
    load_champion: Callable[[], Any] = lambda: None
    record: Callable[[dict[str, float], int], None] = _no_log

    @cached_property
    def champion(self) -> Any:
        """The model in service, as its trainer returned it, to start from; None when there is none.

        It is loaded when it is first asked for. Its inputs are those of *its* training window: vocabularies may differ.
        """
        return self.load_champion()

    def log(self, metric: str, value: float, step: int = 0) -> None:
        """Log one figure of one step to MLflow."""
        self.log_all({metric: value}, step)

    def log_all(self, metrics: dict[str, float], step: int = 0) -> None:
        """Log several figures of one step to MLflow, at once."""
        self.record(metrics, step)
