"""A small residual network on images (He et al. 2016), which may have a table's columns beside them."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from flywheel.errors import TrainerError
from flywheel.trainers.parameters import read
from flywheel.trainers.torch_answer import outputs_of
from flywheel.trainers.torch_loop import Recipe, fit
from flywheel.trainers.torch_tabular import Encoder
from flywheel.training.context import FeatureSpec, TrainContext


class Parameters(Recipe):
    """`train.parameters`."""

    batch: int = Field(128, ge=1, description="Rows a batch.")
    channels: tuple[int, ...] = Field((32, 64, 128), description="Channels of each stage; each halves the image.")
    depth: int = Field(1, ge=1, description="Residual blocks a stage.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of units that are left out in training.")
    width: int = Field(16, ge=1, description="Most numbers in an embedding of a further column.")
    flip: bool = Field(False, description="Show images mirrored left to right, at random: not where that matters.")
    shift: int = Field(0, ge=0, description="Show images moved by up to so many pixels, at random.")


def train(context: TrainContext) -> nn.Module:
    """Return the fitted network.

    Raises:
        TrainerError: No input is an image.
    """
    parameters = read(Parameters, context.parameters)
    images = [feature for feature in context.features if len(feature.shape) == 3]
    if not images:
        raise TrainerError(
            "no input is an image", "declare a feature `as: image`, or use flywheel.trainers.torch_tabular:train."
        )
    others = tuple(feature for feature in context.features if len(feature.shape) < 3)
    return fit(
        Residual(images, Encoder(others, parameters.width), parameters, outputs_of(context)), context, parameters
    )


class Residual(nn.Module):
    """A trunk of residual blocks for every image input, and one dense layer on all that they and the table give.

    Normalised by groups of channels, not over the batch: a row's answer does not depend on the rows beside it.
    """

    def __init__(self, images: list[FeatureSpec], others: Encoder, parameters: Parameters, outputs: int) -> None:
        super().__init__()
        self.names, self.others = [each.name for each in images], others
        self.flip, self.shift = parameters.flip, parameters.shift
        self.trunks = nn.ModuleList(_trunk(each.shape[2], parameters) for each in images)
        self.dropout = nn.Dropout(parameters.dropout)
        self.head = nn.Linear(len(images) * parameters.channels[-1] + others.width, outputs)

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return one row of outputs for each row."""
        parts = [
            trunk(self._seen(inputs[name])).mean((2, 3)) for name, trunk in zip(self.names, self.trunks, strict=True)
        ]
        if self.others.width:
            parts.append(self.others(inputs))
        found: torch.Tensor = self.head(self.dropout(torch.cat(parts, 1)))
        return found

    def _seen(self, images: torch.Tensor) -> torch.Tensor:
        """Return bytes (rows, height, width, channels) as numbers from -1 to 1 (rows, channels, height, width)."""
        pixels = images.permute(0, 3, 1, 2).float() / 127.5 - 1
        if self.training and self.flip:
            mirrored = torch.rand(len(pixels), 1, 1, 1, device=pixels.device) < 0.5
            pixels = torch.where(mirrored, pixels.flip(3), pixels)
        if self.training and self.shift:
            height, width = pixels.shape[2:]
            down, right = (int(by) for by in torch.randint(0, 2 * self.shift + 1, (2,)))
            padded = functional.pad(pixels, [self.shift] * 4, mode="replicate")
            pixels = padded[:, :, down : down + height, right : right + width]
        return pixels


class Block(nn.Module):
    """Two convolutions beside a way past them."""

    def __init__(self, given: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(given, channels, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.GroupNorm(_groups(channels), channels) for _ in range(2))
        same = stride == 1 and given == channels
        self.past = nn.Identity() if same else nn.Conv2d(given, channels, 1, stride, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the images with `channels` channels, smaller by `stride`."""
        hidden = torch.relu(self.norms[0](self.first(images)))
        return torch.relu(self.norms[1](self.second(hidden)) + self.past(images))


def _trunk(channels: int, parameters: Parameters) -> nn.Sequential:
    stem, *_ = parameters.channels
    layers: list[nn.Module] = [nn.Conv2d(channels, stem, 3, 1, 1)]
    given = stem
    for size in parameters.channels:
        for index in range(parameters.depth):
            layers.append(Block(given, size, 2 if index == 0 else 1))
            given = size
    return nn.Sequential(*layers)


def _groups(channels: int) -> int:
    return next(groups for groups in (8, 4, 2, 1) if channels % groups == 0)
