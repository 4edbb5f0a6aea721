"""The last part of a PyTorch model: its loss in training, and what it answers with once it is fitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from flywheel.errors import ConfigError, meant
from flywheel.labels import MULTILABEL
from flywheel.trainers import losses, weighting
from flywheel.training.context import TrainContext

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Gives the loss of each row of (outputs, labels)."""


def cross_entropy(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of each row, of one logit or of one for each class."""
    if outputs.ndim == 1:
        return functional.binary_cross_entropy_with_logits(outputs, labels, reduction="none")
    return functional.cross_entropy(outputs, labels, reduction="none")


def squared(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the squared error of each row."""
    return (outputs - labels) ** 2


def absolute(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the absolute error of each row, smooth near 0 (Huber 1964)."""
    return functional.smooth_l1_loss(outputs, labels, reduction="none")


def robust(name: losses.Loss, gamma: float = 2.0, q: float = 0.7) -> Loss:
    """Return one of `flywheel.trainers.losses`, of outputs and labels."""
    loss = losses.torch(name, gamma, q)
    return lambda outputs, labels: loss(labels, outputs)


ROBUST: tuple[losses.Loss, ...] = ("focal", "generalised_cross_entropy")
CLASSES: dict[str, Loss] = {"cross_entropy": cross_entropy} | {name: robust(name) for name in ROBUST}
VALUES: dict[str, Loss] = {"squared": squared, "absolute": absolute}


class Answer(nn.Module):
    """A module whose outputs become what the task wants: probabilities, or values.

    A regression's module gives values of mean 0 and deviation 1, whatever the label's are.

    Args:
        module: Takes a dict of named tensors and gives (rows, outputs).
        context: Knows the task.
        loss: Name of the loss, or what gives that of each row; by the task when None.
        class_weights: `balanced`, or {value of the label: weight}.
    """

    mean: torch.Tensor
    deviation: torch.Tensor
    class_weights: torch.Tensor | None

    def __init__(
        self,
        module: nn.Module,
        context: TrainContext,
        loss: str | Loss | None = None,
        class_weights: Any = None,
    ) -> None:
        super().__init__()
        self.module, self.task = module, context.task
        self._loss = _named(loss, context.task) if loss is None or isinstance(loss, str) else loss
        mean, deviation = context.train.moments() if self.task == "regression" else (0.0, 1.0)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("deviation", torch.tensor(deviation or 1.0, dtype=torch.float32))
        weights = weighting.of_classes(context, class_weights)
        self.register_buffer("class_weights", None if weights is None else torch.tensor(weights), persistent=False)

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return probabilities or values."""
        outputs = self._arranged(self.module(inputs))
        if self.task == "binary":
            return torch.sigmoid(outputs)
        return torch.softmax(outputs, 1) if self.task == "multiclass" else outputs * self.deviation + self.mean

    def loss(
        self, outputs: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sums, over all rows, of loss by weight and of weight."""
        if self.task == "regression":
            labels = (labels - self.mean) / self.deviation
        rows = self._loss(self._arranged(outputs), labels)
        if self.class_weights is not None:
            own = self.class_weights[labels.long()]
            weights = own if weights is None else own * weights
        if weights is None:
            return rows.sum(), torch.tensor(float(len(rows)), device=rows.device)
        return (rows * weights).sum(), weights.sum()

    def _arranged(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs.float() if self.task == "multiclass" else outputs.float().reshape(outputs.shape[0])


def outputs_of(context: TrainContext) -> int:
    """Return how many outputs a module needs."""
    if context.task == MULTILABEL:
        raise ConfigError(
            "the PyTorch trainers that come along know one label a row, and there are several",
            "take flywheel.trainers.boosting:train or keras_tabular:train, or a trainer of your own.",
        )
    return len(context.classes) if context.task == "multiclass" else 1


def _named(name: str | None, task: str) -> Loss:
    known = VALUES if task == "regression" else CLASSES
    if name is None:
        return next(iter(known.values()))
    if name not in known:
        raise ConfigError(
            f"parameters.loss is {name!r}, which is no loss of {task}",
            f"{meant(name, known)}known here: {', '.join(known)}.",
        )
    return known[name]
