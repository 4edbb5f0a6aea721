"""Minibatches as a dataset of PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from flywheel.training.rows import Share
from flywheel.training.torch import tensors


class Stream(IterableDataset[Any]):
    """Yields minibatches as tensors; of several workers each loads its part of them.

    Args:
        minibatches: Gives the minibatches of a share.
        share: What this process gets of them.
    """

    def __init__(self, minibatches: Callable[[Share], Iterator[tuple[Any, ...]]], share: Share) -> None:
        super().__init__()
        self._minibatches, self._share = minibatches, share

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        info = get_worker_info()
        share = replace(self._share, worker=info.id, workers=info.num_workers) if info else self._share
        for columns, *rest in self._minibatches(share):
            yield tensors(columns), *(torch.from_numpy(values) for values in rest)


def as_it_is(batch: Any) -> Any:
    """Return a batch, which is one already: PyTorch would look at each tensor of it again."""
    return batch
