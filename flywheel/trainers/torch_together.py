"""What processes that train together have to agree on; alone there is nothing to ask."""

from __future__ import annotations

import importlib.util

import torch
from torch import distributed, nn

from flywheel.training.context import TrainContext


class Together:
    """The processes that train together.

    Args:
        context: Knows how many they are.
        device: What this one computes on.
    """

    def __init__(self, context: TrainContext, device: torch.device) -> None:
        self._alone, self._device = context.world == 1, device

    @property
    def devices(self) -> list[int] | None:
        """The GPU of this process, as DistributedDataParallel wants it."""
        return [self._device.index or 0] if self._device.type == "cuda" else None

    def summed(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sums over all processes."""
        if not self._alone:
            distributed.all_reduce(values)
        return values

    def norm(self, gradients: list[torch.Tensor], *, sharded: bool) -> torch.Tensor:
        """Return the norm of all gradients; when they are sharded, of all shares."""
        norm = nn.utils.get_total_norm(gradients)
        return self.summed(norm.double().square()).sqrt().float() if sharded else norm

    def agreed(self, weight: torch.Tensor, wanted: tuple[bool, ...]) -> tuple[torch.Tensor, tuple[bool, ...]]:
        """Return the sum of `weight` over all processes, and what at least one of them wants: all do the same."""
        if self._alone:
            return weight, wanted
        flags = torch.tensor([float(each) for each in wanted], device=self._device, dtype=weight.dtype)
        total = self.summed(torch.cat([weight.reshape(1), flags]))
        return total[0], tuple(bool(flag > 0) for flag in total[1:])

    def gpu(self) -> dict[str, float]:
        """Return how busy the GPU is and the most of its memory that was taken; nothing without one."""
        if self._device.type != "cuda":
            return {}
        figures = {"gpu_memory_gib": torch.cuda.max_memory_allocated(self._device) / 2**30}
        if importlib.util.find_spec("pynvml"):
            figures["gpu_utilisation"] = torch.cuda.utilization(self._device) / 100
        return figures
