"""How well each column follows from the others: one small model a column, learnt from earlier spans.

A label that was shuffled, degrees in another unit, a plane joined to another flight: every column alone looks as on any
day, and no longer fits the others. So each column is predicted from all others by a ridge regression on indicators of
bins and words (Hoerl and Kennard 1970); all of them share one Gram matrix, which makes it cheap. What is usual for the
errors, their own history says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flywheel.profiles.compare import Measure, share_change
from flywheel.profiles.measure import Rows
from flywheel.profiles.order import Order
from flywheel.profiles.pairs import Pairs
from flywheel.profiles.profile import Floats
from flywheel.profiles.series import Series

if TYPE_CHECKING:
    import pandas as pd

_BINS = 10
_WORDS = 20
_RIDGE = 3.0
_LEAST_ERROR = 0.02
_LEAST_ROWS = 200
_LEAST_VARIANCE = 1e-6
_ODD = 0.005
_HOUR = 3600
_FOLDS = 4
_RIDGE_WITHIN = 10.0
_MORE_NULLS = 1.25


@dataclass(frozen=True)
class _Code:
    """How a column becomes indicators: edges of bins, or words; one more for the rest, and one for nulls."""

    edges: Floats | None
    words: pd.Index
    ranks: Floats

    @property
    def size(self) -> int:
        return (len(self.words) + 1 if self.edges is None else len(self.edges) + 1) + 1

    def codes(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Return which indicator each value has; the last is that of nulls."""
        from pandas import isna

        if self.edges is None:
            found = self.words.get_indexer(values)
            found = np.where(found < 0, len(self.words), found)
            return np.where(isna(values), self.size - 1, found).astype(np.int64)
        numbers = np.asarray(values, float)
        return np.where(np.isnan(numbers), self.size - 1, np.searchsorted(self.edges, numbers)).astype(np.int64)

    def rank(self, values: Floats) -> Floats:
        """Return the share of earlier numbers below each, 0 to 1; NaN for nulls."""
        below, upto = (np.searchsorted(self.ranks, values, side) for side in ("left", "right"))
        return np.where(np.isnan(values), np.nan, (below + upto) / (2 * max(len(self.ranks), 1)))


@dataclass(frozen=True)
class _Model:
    """How a column follows from the others, its mean error there as a share of its variance, and what few rows pass."""

    weights: Floats
    error: float
    variance: float
    odd: float


class Relations:
    """What earlier rows say of how columns hang together.

    Args:
        samples: Rows of earlier spans; of each the same columns.
        label: Column to predict.
    """

    def __init__(self, samples: Sequence[Rows], label: str = "") -> None:
        self._label = label
        self._names = [name for name in samples[-1].columns if all(name in each.columns for each in samples)]
        columns = {name: np.concatenate([each.columns[name] for each in samples]) for name in self._names}
        self._codes = {name: _coded(values) for name, values in columns.items()}
        self._models: dict[str, _Model] = {}
        design, self._starts = self._design(columns)
        whole = design.T @ design
        inverses: dict[bytes, Floats] = {}
        for name in self._names:
            present, target = self._target(name, columns[name])
            variance = float(target.var(0).sum()) if present.sum() >= _LEAST_ROWS else 0.0
            if variance <= _LEAST_VARIANCE:
                continue
            mask = np.packbits(present).tobytes()
            if mask not in inverses:
                missing = design[~present]
                inverses[mask] = _inverse(whole - missing.T @ missing)
            chosen = design if present.all() else design[present]
            weights = _without(inverses[mask], chosen.T @ target, self._own(name))
            errors = ((target - chosen @ weights) ** 2).sum(1)
            odd = float(np.quantile(errors, 1 - _ODD))
            self._models[name] = _Model(weights, float(errors.mean() / variance), variance, odd)
        self._pairs = Pairs(samples, self._names)
        numbers = [name for name in self._names if self._codes[name].edges is not None]
        self._order, self._series = Order(samples, numbers), Series(samples, numbers)
        self._nulls = self._patterns(columns).value_counts(normalize=True)

    def measures(self, rows: Rows, before: Rows | None = None) -> dict[str, Measure]:
        """Return how much worse each column follows from the others than it did, and to which side a number is off."""
        if not set(self._names) <= set(rows.columns):
            return {}
        rows, before = self._set(rows), self._set(before) if before is not None else None
        found = self._pairs.measures(rows) | self._order.measures(rows, before) | self._series.measures(rows, before)
        rows = self._with_usual_nulls(rows)
        design, _ = self._design({name: rows.columns[name] for name in self._names})
        for name, model in self._models.items():
            present, target = self._target(name, rows.columns[name])
            if not present.any():
                continue
            off = target - design[present] @ model.weights
            alone = off - off.mean(0) if off.shape[1] == 1 else off  # a warm day is no surprise, a warm hour in it is
            error = float((alone**2).sum(1).mean() / model.variance)
            ratio = np.log((error + _LEAST_ERROR) / (model.error + _LEAST_ERROR))
            found[f"surprise of {name}"] = Measure(float(ratio), error, model.error, "log")
            found[f"odd of {name}"] = share_change(float(np.mean((off**2).sum(1) > model.odd)), _ODD)
            if target.shape[1] == 1:
                bias, fit = float(off.mean()), _fit(target[:, 0], target[:, 0] - off[:, 0])
                found[f"bias of {name}"] = Measure(bias, bias, 0.0, "plain")
                if name == self._label:
                    found |= self._signals(design[present], target[:, 0], target[:, 0] - off[:, 0])
                if fit is not None:
                    found[f"fit of {name}"] = Measure(fit, fit, 0.0, "plain")
        return found

    def _patterns(self, columns: Mapping[str, NDArray[Any]]) -> pd.Series:
        """Return which columns have no value in each row, as one word a row."""
        from pandas import Series as Words
        from pandas import isna

        marks = np.packbits([isna(columns[name]) for name in self._names], axis=0)
        return Words([mark.tobytes() for mark in marks.T])

    def _with_usual_nulls(self, rows: Rows) -> Rows:
        """Return the rows with no more of each pattern of nulls than was usual.

        From a plane that is not found nothing follows, so that everything else would be a surprise, and a join that
        failed would be named by other columns than its own. That there are more nulls is told by the nulls.
        """
        patterns = self._patterns(rows.columns)
        first = self._nulls.index[0]  # the most usual one, as a rule that nothing is missing
        like_ever = min(len(patterns), float((patterns == first).sum()) / self._nulls.iloc[0])
        most = np.ceil(patterns.map(self._nulls).fillna(0.0) * _MORE_NULLS * like_ever)
        kept = np.asarray(patterns.groupby(patterns).cumcount() < most)
        return Rows({name: rows.columns[name][kept] for name in self._names}, rows.time)

    def _signals(self, design: NDArray[np.float32], target: Floats, predicted: Floats) -> dict[str, Measure]:
        """Return how surely the label follows from the other columns, in standard errors of the area under ROC.

        Labels that were shuffled follow neither from what was learnt before nor from other rows of the span; labels
        that are the wrong way round go against what was learnt.
        """
        learnt = _sureness(target, predicted)
        if learnt is None:
            return {}
        others = np.ones(design.shape[1], bool)
        others[self._own(self._label)] = False
        within = _sureness(target, _across(design[:, others], target)) or 0.0
        signal, against = max(learnt, within), max(-learnt - 1.0, 0.0)
        return {
            f"signal of {self._label}": Measure(float(np.log1p(max(signal, 0.0))), signal, 0.0, "plain"),
            f"against of {self._label}": Measure(against, against, 0.0, "plain"),
        }

    def _set(self, rows: Rows) -> Rows:
        """Return the rows with their clock an hour on or back where that fits better: it changes twice a year."""
        if rows.time not in self._models:
            return rows
        weights = self._models[rows.time].weights
        errors = {}
        for moved in (0, -_HOUR, _HOUR):
            columns = {name: rows.columns[name] for name in self._names}
            columns[rows.time] = rows.columns[rows.time] + moved
            present, target = self._target(rows.time, columns[rows.time])
            design, _ = self._design(columns)
            errors[moved] = float(((target - design[present] @ weights) ** 2).mean()) if present.any() else 0.0
        best = min(errors, key=lambda moved: (errors[moved], abs(moved)))
        return Rows({**rows.columns, rows.time: rows.columns[rows.time] + best}, rows.time)

    def _design(self, columns: Mapping[str, Floats]) -> tuple[NDArray[np.float32], dict[str, int]]:
        """Return the indicators of all rows, shape (rows, indicators), and where those of each column begin."""
        sizes = [self._codes[name].size for name in self._names]
        starts = dict(zip(self._names, np.concatenate([[0], np.cumsum(sizes)[:-1]]).tolist(), strict=True))
        rows = len(next(iter(columns.values())))
        design = np.zeros((rows, sum(sizes)), np.float32)
        for name in self._names:
            design[np.arange(rows), starts[name] + self._codes[name].codes(columns[name])] = 1.0
        return design, starts

    def _own(self, name: str) -> slice:
        return slice(self._starts[name], self._starts[name] + self._codes[name].size)

    def _target(self, name: str, values: Floats) -> tuple[NDArray[np.bool_], Any]:
        """Return which rows have a value, and what is to be predicted: ranks of numbers, indicators of words."""
        code = self._codes[name]
        if code.edges is None:
            codes = code.codes(values)
            present = codes < code.size - 1
            return present, np.eye(code.size - 1, dtype=np.float32)[codes[present]]
        present = ~np.isnan(values)
        return present, code.rank(values[present]).astype(np.float32)[:, None]


def _fit(came: Floats, predicted: Floats) -> float | None:
    """Return the rank correlation of what was predicted with what came; of two values, twice the area under ROC less 1.

    None where one of them does not vary.
    """
    from scipy.stats import rankdata

    if len(came) < 3 or np.ptp(came) < 1e-6 or np.ptp(predicted) < 1e-6:
        return None
    ranks = rankdata(predicted)
    high = came > came.min()
    if np.ptp(came[high]) > 0:
        return float(np.corrcoef(rankdata(came), ranks)[0, 1])
    ones, zeros = int(high.sum()), int((~high).sum())
    area = (ranks[high].sum() - ones * (ones + 1) / 2) / (ones * zeros)
    return float(2 * area - 1)


def _sureness(came: Floats, predicted: Floats) -> float | None:
    """Return by how many standard errors two classes are ranked right; None when there is only one."""
    fit, high = _fit(came, predicted), came > came.min()
    ones, zeros = int(high.sum()), int((~high).sum())
    if fit is None or min(ones, zeros) < 10:
        return None
    error = np.sqrt((ones + zeros + 1) / (12 * ones * zeros))  # of ranks of no meaning: Mann and Whitney 1947
    return float(fit / 2 / error)


def _across(design: NDArray[np.float32], target: Floats) -> Floats:
    """Return predictions of each fourth of some rows by a ridge regression on the others."""
    from scipy.linalg import solve

    predicted, folds = np.zeros(len(target)), np.arange(len(target)) % _FOLDS
    gram, right = design.T @ design, design.T @ (target - target.mean())
    for fold in range(_FOLDS):
        here = design[folds == fold]
        matrix = (gram - here.T @ here).astype(float)
        matrix[np.diag_indices_from(matrix)] += _RIDGE_WITHIN
        others = right - here.T @ (target[folds == fold] - target.mean())
        predicted[folds == fold] = here @ solve(matrix, others.astype(float), assume_a="pos")
    return predicted


def _coded(values: NDArray[Any]) -> _Code:
    from pandas import Index, factorize

    if values.dtype == object:
        codes, words = factorize(values, sort=True)
        counts = np.bincount(codes[codes >= 0], minlength=len(words))
        return _Code(None, Index(words[np.argsort(-counts, kind="stable")][:_WORDS], dtype=object), np.empty(0))
    ranks = np.sort(values[~np.isnan(values)])
    edges = np.unique(np.quantile(ranks, np.arange(1, _BINS) / _BINS)) if len(ranks) else np.empty(0)
    return _Code(edges, Index([]), ranks)


def _inverse(gram: Floats) -> Floats:
    matrix = gram.astype(float)
    matrix[np.diag_indices_from(matrix)] += _RIDGE
    return np.asarray(np.linalg.inv(matrix))


def _without(inverse: Floats, right: Floats, own: slice) -> Floats:
    """Return the ridge regression on all indicators but `own`, whose weights are 0, from the inverse with them.

    What is left out of an inverse is its Schur complement: one inverse does for every column.
    """
    others = right.astype(float)
    others[own] = 0.0
    weights = inverse @ others
    weights -= inverse[:, own] @ np.linalg.solve(inverse[own, own], weights[own])
    weights[own] = 0.0
    return np.asarray(weights, np.float32)
