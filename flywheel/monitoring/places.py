"""Where rows lie, as points of few dimensions whose distances are those of what the model sees of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flywheel.transform.inputs import Input

Floats = NDArray[np.float32]

DIMENSIONS = 64
_LARGEST = 2**16  # indices with a direction of their own; larger ones share them


class Places:
    """Transformed rows as points, by random projection (Johnson & Lindenstrauss 1984): distances keep within some 20%.

    A number, and each place of an array, is a coordinate; an index (a category, a bucket, an element of a list) is a
    direction of its own, so that no two of them are nearer than others. Every input counts alike: it is scaled by how
    far the first rows are apart in it.

    Args:
        inputs: Of the model.
        seed: Of the directions.
    """

    def __init__(self, inputs: Sequence[Input], seed: int = 0) -> None:
        self._inputs, self._seed = inputs, seed
        self._directions: dict[str, Floats] = {}
        self._scales: dict[str, float] = {}

    def of(self, arrays: Mapping[str, NDArray[Any]]) -> Floats:
        """Return the points of rows, shape (rows, DIMENSIONS).

        Args:
            arrays: The rows as the model sees them, one array an input.
        """
        rows = len(next(iter(arrays.values())))
        points = np.zeros((rows, DIMENSIONS), np.float32)
        for number, each in enumerate(self._inputs):
            points += self._scaled(each.name, self._projected(each, number, arrays[each.name]))
        return points

    def _projected(self, each: Input, number: int, values: NDArray[Any]) -> Floats:
        if each.cardinality is not None and np.issubdtype(values.dtype, np.integer):
            directions = self._of_input(each.name, number, min(each.cardinality, _LARGEST))
            places: Floats = directions[values % len(directions)]
            if values.ndim == 1:
                return places
            there = (values != 0)[..., None]  # a list is padded with 0
            return np.asarray((places * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1))
        flat = values.reshape(len(values), -1).astype(np.float32)
        return np.asarray(flat @ self._of_input(each.name, number, flat.shape[1]))

    def _of_input(self, name: str, number: int, width: int) -> Floats:
        if name not in self._directions:
            chance = np.random.default_rng([self._seed, number])
            drawn = chance.standard_normal((width, DIMENSIONS), np.float32)
            self._directions[name] = drawn / np.float32(np.sqrt(DIMENSIONS))
        return self._directions[name]

    def _scaled(self, name: str, points: Floats) -> Floats:
        if name not in self._scales:
            apart = float(((points - points.mean(axis=0)) ** 2).sum(axis=1).mean())
            self._scales[name] = 1 / np.sqrt(apart) if apart > 0 else 1.0
        return points * np.float32(self._scales[name])
