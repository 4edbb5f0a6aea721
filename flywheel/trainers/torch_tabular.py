"""A network on tables: an embedding for every index, the numbers beside them, dense layers."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import nn

from flywheel.errors import TrainerError
from flywheel.trainers.parameters import read
from flywheel.trainers.torch_answer import outputs_of
from flywheel.trainers.torch_loop import Recipe, fit
from flywheel.training.context import FeatureSpec, TrainContext


class Parameters(Recipe):
    """`train.parameters`."""

    hidden: tuple[int, ...] = Field((256, 128), description="Units of each dense layer.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of units that are left out in training.")
    width: int = Field(16, ge=1, description="Most numbers in an embedding.")


def train(context: TrainContext) -> nn.Module:
    """Return the fitted network."""
    parameters = read(Parameters, context.parameters)
    encoder = Encoder(context.features, parameters.width)
    return fit(Tabular(encoder, parameters.hidden, parameters.dropout, outputs_of(context)), context, parameters)


class Tabular(nn.Module):
    """Dense layers on what an encoder makes of the inputs."""

    def __init__(self, encoder: Encoder, hidden: tuple[int, ...], dropout: float, outputs: int) -> None:
        super().__init__()
        self.encoder = encoder
        sizes = (encoder.width, *hidden)
        layers = [
            layer
            for size, units in zip(sizes, hidden, strict=False)
            for layer in (nn.Linear(size, units), nn.ReLU(), nn.Dropout(dropout))
        ]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return one row of outputs for each row."""
        found: torch.Tensor = self.layers(self.encoder(inputs))
        return found


class Encoder(nn.Module):
    """All inputs of a row side by side: an index as its embedding, several as the mean of theirs, numbers as they are.

    Args:
        features: The inputs.
        width: Most numbers in an embedding.

    Attributes:
        width: How many numbers come out.
    """

    def __init__(self, features: tuple[FeatureSpec, ...], width: int) -> None:
        super().__init__()
        self.indices = [each for each in features if each.cardinality is not None]
        self.numbers = [each for each in features if each.cardinality is None]
        for each in features:
            if len(each.shape) > 1:
                raise TrainerError(
                    f"input {each.name!r} has rows of shape {each.shape!r}",
                    "use flywheel.trainers.torch_image:train for images.",
                )
        sizes = [min(width, math.ceil(math.sqrt(each.cardinality or 0))) for each in self.indices]
        self.tables = nn.ModuleList(
            nn.Embedding(each.cardinality or 0, size) for each, size in zip(self.indices, sizes, strict=True)
        )
        self.width = sum(sizes) + sum(math.prod(each.shape) for each in self.numbers)

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return (rows, width)."""
        parts = [_embedded(table, inputs[each.name]) for each, table in zip(self.indices, self.tables, strict=True)]
        for each in self.numbers:
            values = inputs[each.name].float()
            parts.append(values if each.shape else values.unsqueeze(1))
        return torch.cat(parts, 1)


def _embedded(table: nn.Module, index: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = table(index)
    if index.ndim == 1:
        return found
    there = (index > 0).unsqueeze(2).to(found.dtype)  # 0 fills rows of fewer indices
    return (found * there).sum(1) / there.sum(1).clamp_min(1)
