"""How well each column follows from the others: one small model a column, learnt from earlier spans.

A label that was shuffled, degrees in another unit, a plane joined to another flight: every column alone looks as on any
day, and no longer fits the others. So each column is predicted from all others by a ridge regression on indicators of
bins and words (Hoerl and Kennard 1970); all of them share one Gram matrix, which makes it cheap. What is usual for the
errors, their own history says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flywheel.profiles.compare import Measure
from flywheel.profiles.measure import Rows
from flywheel.profiles.profile import Floats

_BINS = 10
_WORDS = 20
_RIDGE = 3.0
_LEAST_ERROR = 0.02
_LEAST_ROWS = 200


@dataclass(frozen=True)
class _Code:
    """How a column becomes indicators: edges of bins, or words; one more for the rest, and one for nulls."""

    edges: Floats | None
    words: Mapping[object, int]
    ranks: Floats

    @property
    def size(self) -> int:
        return (len(self.words) + 1 if self.edges is None else len(self.edges) + 1) + 1

    def codes(self, values: NDArray[np.object_] | Floats) -> NDArray[np.int64]:
        """Return which indicator each value has; the last is that of nulls."""
        if self.edges is None:
            rest = len(self.words)
            return np.array([rest + 1 if value is None else self.words.get(value, rest) for value in values], np.int64)
        numbers = np.asarray(values, float)
        return np.where(np.isnan(numbers), self.size - 1, np.searchsorted(self.edges, numbers)).astype(np.int64)


class Relations:
    """What earlier rows say of how columns hang together.

    Args:
        samples: Rows of earlier spans; of each the same columns.
    """

    def __init__(self, samples: Sequence[Rows]) -> None:
        self._names = [name for name in samples[-1].columns if all(name in each.columns for each in samples)]
        columns = {name: np.concatenate([each.columns[name] for each in samples]) for name in self._names}
        self._codes = {name: _coded(values) for name, values in columns.items()}
        self._models: dict[str, tuple[Floats, float, float]] = {}
        design, starts = self._design(columns)
        grams: dict[bytes, Floats] = {}
        for name in self._names:
            present, target = self._target(name, columns[name])
            if present.sum() < _LEAST_ROWS:
                continue
            mask = np.packbits(present).tobytes()
            chosen = design[present]
            if mask not in grams:
                grams[mask] = chosen.T @ chosen
            variance = float(target.var(0).sum())
            if variance > 1e-6:
                weights = _solved(grams[mask], chosen.T @ target, self._own(name, starts))
                error = float(((target - chosen @ weights) ** 2).sum(1).mean() / variance)
                self._models[name] = weights, error, variance

    def measures(self, rows: Rows) -> dict[str, Measure]:
        """Return how much worse each column follows from the others than it did, and to which side a number is off."""
        if not set(self._names) <= set(rows.columns):
            return {}
        found = {}
        design, _ = self._design({name: rows.columns[name] for name in self._names})
        for name, (weights, usual, variance) in self._models.items():
            present, target = self._target(name, rows.columns[name])
            if not present.any():
                continue
            off = target - design[present] @ weights
            alone = off - off.mean(0) if off.shape[1] == 1 else off  # a warm day is no surprise, a warm hour in it is
            error = float((alone**2).sum(1).mean() / variance)
            ratio = np.log((error + _LEAST_ERROR) / (usual + _LEAST_ERROR))
            found[f"surprise of {name}"] = Measure(float(ratio), error, usual, "log")
            if target.shape[1] == 1:
                bias, fit = float(off.mean()), _correlation(target[:, 0], target[:, 0] - off[:, 0])
                found[f"bias of {name}"] = Measure(bias, bias, 0.0, "plain")
                if fit is not None:
                    found[f"fit of {name}"] = Measure(fit, fit, 0.0, "plain")
        return found

    def _design(self, columns: Mapping[str, Floats]) -> tuple[NDArray[np.float32], dict[str, int]]:
        """Return the indicators of all rows, shape (rows, indicators), and where those of each column begin."""
        sizes = [self._codes[name].size for name in self._names]
        starts = dict(zip(self._names, np.concatenate([[0], np.cumsum(sizes)[:-1]]).tolist(), strict=True))
        rows = len(next(iter(columns.values())))
        design = np.zeros((rows, sum(sizes)), np.float32)
        for name in self._names:
            design[np.arange(rows), starts[name] + self._codes[name].codes(columns[name])] = 1.0
        return design, starts

    def _own(self, name: str, starts: Mapping[str, int]) -> slice:
        return slice(starts[name], starts[name] + self._codes[name].size)

    def _target(self, name: str, values: Floats) -> tuple[NDArray[np.bool_], Floats]:
        """Return which rows have a value, and what is to be predicted: ranks of numbers, indicators of words."""
        code = self._codes[name]
        if code.edges is None:
            codes = code.codes(values)
            present = codes < code.size - 1
            return present, np.eye(code.size - 1, dtype=np.float32)[codes[present]]
        present = ~np.isnan(values)
        below, upto = (np.searchsorted(code.ranks, values[present], side) for side in ("left", "right"))
        return present, ((below + upto) / (2 * max(len(code.ranks), 1))).astype(np.float32)[:, None]


def _correlation(left: Floats, right: Floats) -> float | None:
    """Return the correlation of what was predicted with what came; None where one of them does not vary."""
    if len(left) < 3 or np.ptp(left) < 1e-6 or np.ptp(right) < 1e-6:
        return None
    return float(np.corrcoef(left, right)[0, 1])


def _coded(values: Floats) -> _Code:
    if values.dtype == object:
        words, counts = np.unique([value for value in values if value is not None], return_counts=True)
        kept = words[np.argsort(-counts, kind="stable")][:_WORDS]
        return _Code(None, {word: index for index, word in enumerate(kept.tolist())}, np.empty(0))
    ranks = np.sort(values[~np.isnan(values)])
    edges = np.unique(np.quantile(ranks, np.arange(1, _BINS) / _BINS)) if len(ranks) else np.empty(0)
    return _Code(edges, {}, ranks)


def _solved(gram: Floats, right: Floats, own: slice) -> Floats:
    """Return the ridge regression on all indicators but `own`, whose weights are 0."""
    from scipy.linalg import solve

    others = np.ones(len(gram), bool)
    others[own] = False
    matrix = gram[np.ix_(others, others)].astype(float)
    matrix[np.diag_indices_from(matrix)] += _RIDGE
    weights = np.zeros_like(right)
    weights[others] = solve(matrix, right[others].astype(float), assume_a="pos")
    return weights
